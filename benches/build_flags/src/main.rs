//! Prints what SQLite was compiled with, what that does to SQL, and whether two readers scale.
//!
//! Each workload runs on one thread and then, twice the work, on two threads with a connection
//! each: a ratio of 1 is perfect scaling, 2 is none. Needs two idle cores. The argument names the
//! database file to make, or to use again.

use std::ffi::{CStr, CString};
use std::ptr::{null, null_mut};
use std::time::Instant;

use libsql_ffi::{
    SQLITE_DONE, SQLITE_OK, SQLITE_OPEN_CREATE, SQLITE_OPEN_NOMUTEX, SQLITE_OPEN_READWRITE,
    SQLITE_ROW, sqlite3, sqlite3_bind_int64, sqlite3_close, sqlite3_column_text, sqlite3_errmsg,
    sqlite3_finalize, sqlite3_open_v2, sqlite3_prepare_v2, sqlite3_reset, sqlite3_step,
    sqlite3_stmt,
};

const ROWS: i64 = 100_000;
const ROUNDS: usize = 5;

const FILL: &str = "
    INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
    SELECT i, printf('row %d of the table with some text', i) FROM n";

const BEHAVIOUR: &[&str] = &[
    "SELECT sqlite_version()",
    "SELECT readfile('/dev/null') IS NULL",
    "SELECT count(*) > 0 FROM fsdir('.')",
    "CREATE VIRTUAL TABLE temp.c USING csv(filename = '/dev/null')",
    "SELECT \"x\"",
    "SELECT sqrt(4)",
    "PRAGMA foreign_keys",
    "PRAGMA recursive_triggers",
];

struct Database(*mut sqlite3);

impl Database {
    fn open(path: &str) -> Self {
        let path = CString::new(path).expect("a path without NUL");
        let flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
        let mut handle = null_mut();
        // SAFETY: the path ends with NUL, and the handle's place is ours.
        let code = unsafe { sqlite3_open_v2(path.as_ptr(), &raw mut handle, flags, null()) };
        assert_eq!(code, SQLITE_OK);
        Self(handle)
    }

    fn error(&self) -> String {
        // SAFETY: the handle is open, and the text is copied before the next call.
        let text = unsafe { CStr::from_ptr(sqlite3_errmsg(self.0)) };
        text.to_string_lossy().into_owned()
    }

    fn prepare(&self, sql: &str) -> Result<*mut sqlite3_stmt, String> {
        let sql = CString::new(sql).expect("SQL without NUL");
        let mut statement = null_mut();
        // SAFETY: the handle is open, the SQL ends with NUL.
        let code =
            unsafe { sqlite3_prepare_v2(self.0, sql.as_ptr(), -1, &raw mut statement, null_mut()) };
        if code == SQLITE_OK {
            Ok(statement)
        } else {
            Err(self.error())
        }
    }

    /// Returns the first column of every row.
    fn query(&self, sql: &str) -> Result<Vec<String>, String> {
        let statement = self.prepare(sql)?;
        let mut rows = Vec::new();
        let outcome = loop {
            // SAFETY: the statement is prepared.
            match unsafe { sqlite3_step(statement) } {
                SQLITE_ROW => {
                    // SAFETY: there is a row; the text lives until the next step.
                    let text = unsafe { sqlite3_column_text(statement, 0) };
                    rows.push(if text.is_null() {
                        "NULL".to_owned()
                    } else {
                        // SAFETY: SQLite ends its text with NUL.
                        unsafe { CStr::from_ptr(text.cast()) }
                            .to_string_lossy()
                            .into_owned()
                    });
                }
                SQLITE_DONE => break Ok(rows),
                _ => break Err(self.error()),
            }
        };
        // SAFETY: nobody uses the statement any more.
        unsafe { sqlite3_finalize(statement) };
        outcome
    }

    fn run(&self, sql: &str) -> Vec<String> {
        self.query(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Selects rows one by one, all over the table.
    fn select_points(&self, count: usize) {
        let statement = self
            .prepare("SELECT b FROM t WHERE a = ?")
            .expect("a table t");
        let mut key = 1;
        for _ in 0..count {
            key = key * 48_271 % ROWS;
            // SAFETY: the statement is prepared, has one parameter and is reset after each row.
            unsafe {
                sqlite3_bind_int64(statement, 1, key + 1);
                assert_eq!(sqlite3_step(statement), SQLITE_ROW);
                sqlite3_reset(statement);
            }
        }
        // SAFETY: nobody uses the statement any more.
        unsafe { sqlite3_finalize(statement) };
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // SAFETY: every statement was finalised where it was used.
        unsafe { sqlite3_close(self.0) };
    }
}

fn scan(path: &str) {
    let database = Database::open(path);
    for _ in 0..30 {
        database.run("SELECT sum(length(b)) FROM t WHERE a % 7 = 1");
    }
}

fn group(path: &str) {
    let database = Database::open(path);
    for _ in 0..20 {
        database.run(
            "SELECT substr(b, 1, 7) AS g, count(*) FROM t WHERE a < 20000 GROUP BY g ORDER BY 2",
        );
    }
}

fn points(path: &str) {
    Database::open(path).select_points(200_000);
}

fn points_in_one_transaction(path: &str) {
    let database = Database::open(path);
    database.run("BEGIN");
    database.select_points(400_000);
}

/// Returns the median milliseconds of a workload on so many threads at once.
fn median(work: fn(&str), path: &str, threads: usize) -> f64 {
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| work(path));
                }
            });
            start.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[ROUNDS / 2]
}

fn main() {
    let path = std::env::args()
        .nth(1)
        .expect("the path of a database file");
    let database = Database::open(&path);
    println!(
        "compiled with: {}",
        database.run("PRAGMA compile_options").join(" ")
    );
    for sql in BEHAVIOUR {
        println!(
            "{sql}: {}",
            database
                .query(sql)
                .map_or_else(|e| e, |rows| rows.join(", "))
        );
    }
    if database.query("SELECT 1 FROM t LIMIT 1").is_err() {
        database.run("PRAGMA journal_mode = WAL");
        database.run("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)");
        database.run(FILL);
        database.run("PRAGMA wal_checkpoint(TRUNCATE)");
    }
    let workloads: [(&str, fn(&str)); 4] = [
        ("full scans", scan),
        ("grouping and sorting", group),
        ("point selects", points),
        (
            "point selects in one transaction",
            points_in_one_transaction,
        ),
    ];
    for (name, work) in workloads {
        let one = median(work, &path, 1);
        let two = median(work, &path, 2);
        println!(
            "{name}: {one:.0} ms on 1 thread, twice that on 2 in {two:.0} ms, ratio {:.2}",
            two / one
        );
    }
}
