//! Pace: how many statements share a request over HTTP, where all answers come at the end.
//!
//! A statement whose neighbour is slow waits for it, and one that goes alone has those behind it wait. So few go
//! together at first, more while that costs little, and one by one after it cost much.
//! Owns what was learnt of one server. Thread: whoever has the session.
//! Must not know: statements.

use std::time::Duration;

/// What sharing may cost: as much as a request takes at all, or this.
const LITTLE: Duration = Duration::from_millis(5);

/// So many times that is much.
const MUCH: u32 = 4;

/// What was learnt.
#[derive(Debug)]
pub struct Pace {
    most: usize,
    /// Statements that share the next request, at most.
    now: usize,
    /// What a request with one quick statement takes.
    alone: Option<Duration>,
}

impl Pace {
    pub const fn new(most: usize) -> Self {
        Self {
            most,
            now: 1,
            alone: None,
        }
    }

    pub const fn now(&self) -> usize {
        self.now
    }

    /// A request with so many statements took so long.
    pub fn learn(&mut self, statements: usize, taken: Duration) {
        let alone = self.alone.unwrap_or(taken);
        let more = taken.saturating_sub(alone);
        self.alone = Some(match taken {
            _ if taken < alone => taken,
            // The way to the server may have become longer.
            _ if statements == 1 => alone + more / 16,
            _ => alone,
        });
        let little = alone.max(LITTLE);
        if more > little * MUCH {
            self.now = 1;
        } else if more > little {
            // The machine may have been busy.
            self.now = (self.now / 2).max(1);
        } else if statements >= self.now || statements == 1 {
            self.now = (self.now * 2).min(self.most);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Pace;

    const QUICK: Duration = Duration::from_micros(200);
    const SLOW: Duration = Duration::from_secs(1);

    fn quick_ones(pace: &mut Pace) {
        for _ in 0..10 {
            let statements = pace.now();
            pace.learn(statements, QUICK * 2);
        }
    }

    #[test]
    fn quick_statements_go_together_more_and_more() {
        let mut pace = Pace::new(64);
        assert_eq!(pace.now(), 1);
        pace.learn(1, QUICK);
        assert_eq!(pace.now(), 2);
        quick_ones(&mut pace);
        assert_eq!(pace.now(), 64);
    }

    #[test]
    fn after_a_slow_one_they_go_alone() {
        let mut pace = Pace::new(64);
        pace.learn(1, QUICK);
        quick_ones(&mut pace);
        pace.learn(64, SLOW);
        assert_eq!(pace.now(), 1);
        for _ in 0..3 {
            pace.learn(1, SLOW);
            assert_eq!(pace.now(), 1);
        }
        pace.learn(1, QUICK);
        assert_eq!(pace.now(), 2);
    }

    #[test]
    fn far_servers_may_be_asked_for_more_at_a_time() {
        let mut pace = Pace::new(64);
        let far = Duration::from_millis(100);
        pace.learn(1, far);
        pace.learn(2, far * 3 / 2);
        assert_eq!(pace.now(), 4);
        pace.learn(4, far * 3);
        assert_eq!(pace.now(), 2);
        pace.learn(2, far * 6);
        assert_eq!(pace.now(), 1);
    }

    #[test]
    fn a_way_that_became_longer_is_learnt() {
        let mut pace = Pace::new(64);
        pace.learn(1, QUICK);
        for _ in 0..60 {
            pace.learn(1, Duration::from_millis(30));
        }
        assert!(pace.now() > 1);
    }
}
