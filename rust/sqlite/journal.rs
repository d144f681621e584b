//! The journal that a process which died in a transaction has left behind.
//!
//! Owns the little that has to be known of its format: which page 1 it would put back.
//! Thread: any; reads files, keeps nothing.
//! Invariant: writes neither to the database nor to the journal.
//! Must not know: handles, keys.
//!
//! SQLite rolls such a journal back when the file is next read, and checks each page by a sum of its
//! plain text. With a wrong key the sums are wrong, so that it takes the journal for empty and
//! deletes it: the half of a transaction that is in the file stays. The key has to be tried before.

use std::fs::File;
use std::io::{ErrorKind, Read, Result, Seek, SeekFrom};
use std::path::Path;

const MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
/// `nRec` when the records go on to the end of the file.
const TO_THE_END: u32 = u32::MAX;

/// The page that a rollback would put at the beginning of the file; `None`: no rollback is due, or
/// it leaves an empty file.
pub(super) fn first_page(database: &Path) -> Result<Option<Vec<u8>>> {
    let mut name = database.as_os_str().to_owned();
    name.push("-journal");
    let mut journal = match File::open(&name) {
        Ok(journal) => journal,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(first) = Header::read(&mut journal, 0)? else {
        return Ok(None);
    };
    if first.pages_before == 0 {
        return Ok(None);
    }
    if let Some(page) = recorded_first_page(&mut journal, first)? {
        return Ok(Some(page));
    }
    // The transaction has not come to it: it is as it was.
    let mut page = Vec::new();
    File::open(database)?
        .take(u64::from(first.page_size))
        .read_to_end(&mut page)?;
    Ok(Some(page).filter(|page| !page.is_empty()))
}

#[derive(Clone, Copy)]
struct Header {
    records: u32,
    pages_before: u32,
    sector_size: u32,
    page_size: u32,
}

impl Header {
    fn read(journal: &mut File, offset: u64) -> Result<Option<Self>> {
        let mut bytes = [0; 28];
        journal.seek(SeekFrom::Start(offset))?;
        match journal.read_exact(&mut bytes) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let number = |at: usize| {
            u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let header = Self {
            records: number(8),
            pages_before: number(16),
            sector_size: number(20),
            page_size: number(24),
        };
        let sizes = [(header.sector_size, 32), (header.page_size, 512)];
        let is_sound = sizes
            .iter()
            .all(|(size, least)| size.is_power_of_two() && (*least..=65536).contains(size));
        Ok((bytes[..8] == MAGIC && is_sound).then_some(header))
    }
}

/// Looks through the segments that a rollback would play.
fn recorded_first_page(journal: &mut File, first: Header) -> Result<Option<Vec<u8>>> {
    let sector = u64::from(first.sector_size);
    let record = u64::from(first.page_size) + 8;
    let end = journal.metadata()?.len();
    let mut start = 0;
    let mut header = Some(first);
    while let Some(Header { records, .. }) = header {
        let there = end.saturating_sub(start + sector) / record;
        let records = if records == TO_THE_END {
            there
        } else {
            there.min(u64::from(records))
        };
        for index in 0..records {
            let mut number = [0; 4];
            journal.seek(SeekFrom::Start(start + sector + index * record))?;
            journal.read_exact(&mut number)?;
            if u32::from_be_bytes(number) == 1 {
                let mut page = vec![0; first.page_size as usize];
                journal.read_exact(&mut page)?;
                return Ok(Some(page));
            }
        }
        start = (start + sector + records * record).next_multiple_of(sector);
        header = Header::read(journal, start)?;
    }
    Ok(None)
}
