//! Times the Rust side alone: completion queue, operations, statements, batches of rows.
//!
//! `cargo bench --bench micro` prints nanoseconds, the median of several rounds. With
//! `-- --instructions` it runs itself under callgrind and prints instructions, which the machine's load
//! does not change. Rows become Python objects elsewhere: `benches/run.py` measures that.

mod subjects;

use std::process::{Command, ExitCode};
use std::time::Duration;

use subjects::{SUBJECTS, Subject};

const ROUNDS: usize = 7;
/// What a round takes.
const LONG_ENOUGH: Duration = Duration::from_millis(50);
/// Runs of two lengths: the difference has no set-up in it.
const FEW: usize = 100;
const MANY: usize = 1100;

fn nanoseconds(subject: &Subject) -> f64 {
    let mut count = 16;
    while (subject.run)(count) < LONG_ENOUGH {
        count *= 2;
    }
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let operations = u32::try_from(count).expect("fewer than 2³² operations in 50 ms");
            (subject.run)(count).as_secs_f64() * 1e9 / f64::from(operations)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

/// Returns the instructions of a process of this program that runs the subject so often.
fn instructions_of_run(subject: &Subject, count: usize) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let done = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["--run", subject.name, &count.to_string()])
        .output()
        .map_err(|error| error.to_string())?;
    let words = String::from_utf8_lossy(&done.stderr);
    words
        .lines()
        .find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok())
        .ok_or_else(|| format!("callgrind said: {words}"))
}

fn instructions(subject: &Subject) -> Result<u64, String> {
    let few = instructions_of_run(subject, FEW)?;
    let many = instructions_of_run(subject, MANY)?;
    let operations = u64::try_from(MANY - FEW).map_err(|error| error.to_string())?;
    Ok(many.saturating_sub(few) / operations)
}

fn has_valgrind() -> bool {
    Command::new("valgrind").arg("--version").output().is_ok()
}

fn main() -> ExitCode {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["--run", name, count] => {
            let subject = SUBJECTS.iter().find(|subject| subject.name == *name);
            let (Some(subject), Ok(count)) = (subject, count.parse()) else {
                eprintln!("--run wants a name and a number");
                return ExitCode::FAILURE;
            };
            (subject.run)(count);
        }
        ["--instructions"] if !has_valgrind() => {
            println!("valgrind is not installed, so instructions are not counted");
        }
        ["--instructions"] => {
            for subject in SUBJECTS {
                match instructions(subject) {
                    Ok(count) => println!("{count:>10} instructions  {}", subject.title),
                    Err(error) => {
                        eprintln!("{}: {error}", subject.name);
                        return ExitCode::FAILURE;
                    }
                }
            }
        }
        [] => {
            for subject in SUBJECTS {
                println!("{:>10.1} ns  {}", nanoseconds(subject), subject.title);
            }
        }
        _ => {
            eprintln!("known: --instructions");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
