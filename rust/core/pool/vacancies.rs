//! Vacancies: how a queue's places get connections, and lose them.
//!
//! Owns no state; these are the queue's methods about places. Those who wait are asked, the first first, to open
//! connections, as many as there are vacant places; what becomes of that is told here.
//! Thread: any. Invariant: whoever was asked has a place, until he declines, or waits no more.
//! Must not know: Python, how connections are opened.

use std::sync::Arc;

use super::super::command::Shared;
use super::super::error::Error;
use super::queue::{PoolQueue, tell};
use super::waiting::{Part, State};

impl State {
    /// Gives vacant places to those who wait, and will not be served by whoever is idle or awake. They are to be told.
    pub(super) fn ask(&mut self) -> Vec<Shared> {
        let mut asked = Vec::new();
        if self.waiting.is_empty() || self.is_anybody_idle() || self.refuses.is_some() {
            return asked;
        }
        while self.places.vacant() > 0 {
            let waiting = self.waiting.iter_mut();
            let mut unserved = waiting.filter(|it| it.part == Part::Waits && it.is_alive());
            let Some(next) = unserved.nth(self.arriving.len()) else {
                break;
            };
            let Some(place) = self.places.take() else {
                break;
            };
            next.part = Part::Asked(place);
            asked.push(Arc::clone(&next.command.operation));
            self.asked += 1;
        }
        asked
    }

    /// A place that was given to somebody who has not begun is vacant again.
    pub(super) fn unask(&mut self, part: Part) {
        if let Part::Asked(place) = part {
            self.asked -= 1;
            self.places.give_up(place);
        }
    }

    /// Somebody opens no connection any more, and may be asked again.
    fn relieve(&mut self, caller: Option<&Shared>) {
        let Some(caller) = caller else { return };
        let mut waiting = self.waiting.iter_mut();
        if let Some(waiting) = waiting.find(|it| Arc::ptr_eq(&it.command.operation, caller)) {
            waiting.part = Part::Waits;
        }
    }
}

impl PoolQueue {
    /// The place for a connection that this caller was asked to open.
    pub(super) fn answer(&self, caller: &Shared) -> Option<u32> {
        if self.birth().is_inherited() {
            return None;
        }
        let mut state = self.lock();
        if state.asked == 0 {
            return None;
        }
        let mut waiting = state.waiting.iter_mut();
        let own = waiting.find(|it| Arc::ptr_eq(&it.command.operation, caller))?;
        let Part::Asked(place) = own.part else {
            return None;
        };
        own.part = Part::Opens;
        state.asked -= 1;
        Some(place)
    }

    /// This caller waits no more: if he was asked for something, another one is.
    pub(super) fn decline(&self, caller: &Shared) {
        if self.birth().is_inherited() {
            return;
        }
        let mut state = self.lock();
        if state.asked == 0 {
            return;
        }
        let mut waiting = state.waiting.iter();
        let place = waiting.position(|it| Arc::ptr_eq(&it.command.operation, caller));
        if let Some(own) = place.and_then(|place| state.waiting.remove(place)) {
            state.unask(own.part);
            let asked = state.ask();
            drop(state);
            tell(asked);
        }
    }

    /// A place for a connection that is to be kept; `None`: as many are open.
    pub(super) fn take_place(&self) -> Option<u32> {
        let mut state = self.lock();
        if state.refuses.is_some() || !state.places.are_few() {
            return None;
        }
        state.places.take()
    }

    /// A connection serves from now on. `false`: it must not.
    pub(super) fn opened(&self, place: u32, caller: Option<&Shared>) -> bool {
        if self.birth().is_inherited() {
            return false;
        }
        let mut state = self.lock();
        if state.refuses.is_some() {
            return false;
        }
        state.places.fill();
        state.arriving.push(place);
        state.counts.opened += 1;
        state.relieve(caller);
        true
    }

    /// A connection is not opened after all.
    pub(super) fn given_up(&self, place: u32, caller: Option<&Shared>) {
        if self.birth().is_inherited() {
            return;
        }
        let mut state = self.lock();
        state.forget_member(place);
        state.places.give_up(place);
        state.relieve(caller);
        let asked = state.ask();
        drop(state);
        tell(asked);
    }

    /// A connection could not be opened; the place is given up next. If there is no other one, nobody need wait.
    /// The caller who tried has an error of his own.
    pub(super) fn failed(&self, error: &Error, caller: Option<&Shared>) {
        if self.birth().is_inherited() {
            return;
        }
        let mut state = self.lock();
        state.counts.failed += 1;
        if state.places.fail() {
            let is_own = |own: &Shared| caller.is_some_and(|caller| Arc::ptr_eq(own, caller));
            state.waiting.retain(|it| !is_own(&it.command.operation));
            drop(state);
            self.refuse(error);
        }
    }

    /// A connection is closed, as `was_announced`, or for a reason of its own.
    pub(super) fn left(&self, place: u32, was_announced: bool, was_lost: bool) {
        if self.birth().is_inherited() {
            return;
        }
        let mut state = self.lock();
        state.forget_member(place);
        state.places.leave(place, was_announced);
        state.counts.closed += 1;
        if was_lost {
            state.counts.lost += 1;
        }
        let asked = state.ask();
        drop(state);
        tell(asked);
    }

    /// From now on there may be so many, and so few, connections.
    pub(super) fn resize(&self, size: usize, least: usize) {
        if self.birth().is_inherited() {
            return;
        }
        let mut state = self.lock();
        state.places.resize(size, least);
        self.set_elastic(least < size);
        let asked = state.ask();
        drop(state);
        tell(asked);
        self.kick_idle();
    }

    /// Refuses what waits, and what comes, unless it does already.
    pub(super) fn close_if_open(&self, why: &Error) {
        let is_open = self.lock().refuses.is_none();
        if is_open {
            self.close(why);
        }
    }

    /// Commands are taken from now on.
    pub(super) fn admit(&self) {
        self.birth().mark();
        self.lock().refuses = None;
    }
}
