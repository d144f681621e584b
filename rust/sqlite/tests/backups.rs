//! Tests of backups: what a target holds, and who has it when.

use std::sync::mpsc::{Sender, channel};

use super::super::{BackupTarget, Handle, code};
use super::{assert_healthy, integer, memory, run};

/// A target that comes back when it is dropped.
struct Lent(Option<Handle>, Sender<Handle>);

impl BackupTarget for Lent {
    fn handle(&mut self) -> &mut Handle {
        self.0.as_mut().unwrap()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let handle = self.0.take().unwrap();
        self.1.send(handle).unwrap();
    }
}

fn filled() -> Handle {
    let mut handle = memory();
    run(&mut handle, "CREATE TABLE t(a)").unwrap();
    run(
        &mut handle,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000) \
         INSERT INTO t SELECT zeroblob(3500) FROM n",
    )
    .unwrap();
    handle
}

#[test]
fn target_gets_what_is_written_between_two_steps() {
    let (back, target) = channel();
    let mut source = filled();
    let id = source
        .start_backup(c"main", Box::new(Lent(Some(memory()), back)))
        .unwrap();
    assert!(source.is_in_backup());
    let step = source.step_backup(id, Some(600), || false).unwrap();
    assert_eq!((step.code, step.total - step.remaining), (code::OK, 600));
    run(&mut source, "DELETE FROM t WHERE rowid <= 10").unwrap();
    let step = source.step_backup(id, None, || false).unwrap();
    assert_eq!((step.code, step.remaining), (code::DONE, 0));
    assert!(source.finish_backup(id).unwrap().is_some());
    assert!(!source.is_in_backup());
    let mut target = target.recv().unwrap();
    assert_eq!(integer(&mut target, "SELECT count(*) FROM t"), 990);
    assert_healthy(&mut target);
    assert_healthy(&mut source);
    let ended = source.step_backup(id, None, || false).unwrap_err();
    assert_eq!(ended.code, code::MISUSE);
}

#[test]
fn step_that_is_stopped_leaves_the_rest() {
    let (back, target) = channel();
    let mut source = filled();
    let id = source
        .start_backup(c"main", Box::new(Lent(Some(memory()), back)))
        .unwrap();
    let step = source.step_backup(id, None, || true).unwrap();
    assert_eq!(step.code, code::OK);
    assert!(step.remaining > 0);
    source.finish_backup(id).unwrap();
    let mut target = target.recv().unwrap();
    assert_eq!(
        integer(&mut target, "SELECT count(*) FROM sqlite_schema"),
        0
    );
    assert_healthy(&mut target);
}

#[test]
fn closed_source_gives_the_target_back() {
    let (back, target) = channel();
    let mut source = filled();
    let id = source
        .start_backup(c"main", Box::new(Lent(Some(memory()), back)))
        .unwrap();
    source.step_backup(id, Some(3), || false).unwrap();
    source.close().unwrap();
    assert_healthy(&mut target.recv().unwrap());
}

#[test]
fn refused_backup_gives_the_target_back() {
    let (back, target) = channel();
    let mut source = memory();
    let refused = source.start_backup(c"nowhere", Box::new(Lent(Some(memory()), back)));
    assert_eq!(refused.unwrap_err().message, "unknown database nowhere");
    assert_healthy(&mut target.recv().unwrap());
}
