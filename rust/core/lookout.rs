//! Lookout: a short wait that does not give the processor away, for what is about to happen on another one.
//!
//! To sleep and to be woken costs microseconds, and tens of them where the idle processors are virtual ones. A task that
//! awaits one quick statement after the other would pay that twice for each. So its thread looks out for the end, and
//! after it the worker for the next command.
//! Owns nothing. Whether it pays off is learnt by the caller's side; a worker lingers for one that looks out only.
//! Must not know: Python, commands.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The next command of a caller that looked out comes within this, or not soon.
const LINGER: Duration = Duration::from_micros(30);

/// Looks before the processor is offered to others between them, if there are several.
const EAGER_LOOKS: u32 = 64;

/// Looks until it has happened, for at most so long. Tells how long it took, and whether it has happened.
pub fn look_out(limit: Duration, has_happened: impl Fn() -> bool) -> (Duration, bool) {
    let started = Instant::now();
    let eager = if has_several_processors() {
        EAGER_LOOKS
    } else {
        0
    };
    for _ in 0..eager {
        if has_happened() {
            return (started.elapsed(), true);
        }
        std::hint::spin_loop();
    }
    loop {
        let now = has_happened();
        let taken = started.elapsed();
        if now || taken > limit {
            return (taken, now);
        }
        std::thread::yield_now();
    }
}

/// A worker looks out for the next command of a caller that looked out for the last one, on `processor`.
pub(super) fn linger(processor: u32, has_come: impl Fn() -> bool) {
    // On the same processor it would only be in the way.
    if this_processor() != Some(processor) {
        look_out(LINGER, has_come);
    }
}

/// The processor that runs this now; `None` on systems where looking out was not measured.
pub fn this_processor() -> Option<u32> {
    #[cfg(target_os = "linux")]
    {
        Some(u32::try_from(rustix::thread::sched_getcpu()).unwrap_or(0))
    }
    #[cfg(not(target_os = "linux"))]
    {
        None
    }
}

fn has_several_processors() -> bool {
    static HAS_SEVERAL: OnceLock<bool> = OnceLock::new();
    *HAS_SEVERAL
        .get_or_init(|| std::thread::available_parallelism().is_ok_and(|count| count.get() > 1))
}
