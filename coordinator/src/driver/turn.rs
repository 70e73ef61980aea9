//! The order in which a driver handles what has happened.
//!
//! ```text
//!  the time: has the coordinator slept?  -->  answers of the store  -->  commands that wait
//!                                        -->  deadlines             -->  effects
//! ```
//!
//! Messages that have arrived go before a deadline: the heartbeat that renews a lease may be among
//! them.

use std::collections::VecDeque;
use std::time::Duration;

use windrow_scheduler::Event;
use windrow_scheduler::journal::{Answer, CallId, JournalError};

use super::action::Action;
use super::command::Command;
use super::{Driver, DriverAttachment, DriverRecord, DriverState};

/// The capacity of the driver's command queue; further senders wait.
pub(super) const COMMANDS_MAX: usize = 1_024;
/// Commands in one turn. Their effects fill outboxes, which are emptied between turns.
const COMMANDS_PER_TURN: usize = 128;
/// A coordinator that has appended nothing between two beats checks that it is still in charge. A
/// fenced one learns it after half a lease, and its workers have the other half to find the new
/// coordinator, which waits for them that long.
const BEATS_PER_LEASE: u32 = 4;

/// The state of the turns.
pub(super) struct Turns {
    commands: VecDeque<Command>,
    /// Commands that were handled since a deadline was found to have passed.
    before_deadline: Option<usize>,
    /// Time between two checks whether this coordinator is still in charge.
    beat: Duration,
    next_beat: Duration,
    /// Whether the store was called since the last beat.
    asked: bool,
}

impl Turns {
    pub(super) fn new(lease: Duration) -> Self {
        let beat = (lease / BEATS_PER_LEASE).max(Duration::from_millis(1));
        let (commands, before_deadline) = (VecDeque::new(), None);
        Self { commands, before_deadline, beat, next_beat: beat, asked: false }
    }
}

impl Driver {
    /// Whether the driver accepts commands: not while time stands still, its queue is full, or the
    /// journal lags behind.
    pub(crate) fn has_room(&self) -> bool {
        self.may_obey() && self.turns.commands.len() < COMMANDS_MAX
    }

    fn may_obey(&self) -> bool {
        !self.clock.stands_still() && !self.decider.is_full()
    }

    /// Queues a command for one of the next turns.
    pub(crate) fn arrived(&mut self, command: Command) {
        self.turns.commands.push_back(command);
    }

    /// Handles an answer of the store, at the time `real` since the start. True if more is durable
    /// now.
    ///
    /// # Errors
    /// When this coordinator must not continue. Then no caller or worker is told anything more.
    pub(crate) fn answered(
        &mut self,
        real: Duration,
        call: CallId,
        answer: Answer<DriverRecord, DriverState, DriverAttachment>,
    ) -> Result<bool, JournalError> {
        self.real = self.real.max(real);
        if !self.decider.answer(call, answer)? {
            return Ok(false);
        }
        if let Some(stood) = self.clock.store_done(self.real) {
            tracing::info!("the journal answers again, after {stood:.1?}; decisions are resumed");
        }
        Ok(true)
    }

    /// Handles what has arrived and what is due, at the time `real` since the start.
    pub(crate) fn turn(&mut self, real: Duration) {
        self.real = self.real.max(real);
        self.look_at_clock();
        if !self.clock.stands_still() {
            self.take_commands();
            self.take_deadline();
            self.append_if_idle();
            self.publish_overdue();
        }
        self.advance();
        self.jobs.tell_watchers();
        self.stop_if_settled();
    }

    /// When the next turn is due even if nothing arrives, as time since the start.
    pub(crate) fn wakes_at(&self) -> Option<Duration> {
        if self.clock.stands_still() {
            return None;
        }
        let waits = (!self.turns.commands.is_empty() && self.may_obey()).then_some(self.real);
        let deadline = self.decider.next_deadline().and_then(|at| self.clock.when(at));
        let beat = self.is_shared.then_some(self.turns.next_beat);
        let released = self.releases.next_deadline().and_then(|at| self.clock.when(at));
        let clock = [self.clock.stops_at(), self.clock.looks_at()];
        clock.into_iter().chain([waits, deadline, beat, released]).flatten().min()
    }

    /// The next action.
    pub(crate) fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// After a stop of the process, the coordinator cannot know whether it is fenced until its
    /// journal has accepted a record.
    fn look_at_clock(&mut self) {
        if let Some(stopped) = self.clock.look(self.real) {
            tracing::warn!("the coordinator was suspended for {stopped:.1?}, as were all leases");
            if self.is_shared {
                self.handle(Event::Beat);
            } else {
                self.clock.store_done(self.real);
            }
        }
        if self.clock.stop_if_due(self.real) {
            tracing::error!(
                "the journal has accepted nothing for half a lease; the coordinator decides nothing and acknowledges no worker until it does"
            );
        }
    }

    fn take_commands(&mut self) {
        if self.decider.is_full() {
            return;
        }
        let count = self.turns.commands.len().min(COMMANDS_PER_TURN);
        for command in self.turns.commands.drain(..count).collect::<Vec<_>>() {
            self.obey(command);
        }
        if let Some(before) = &mut self.turns.before_deadline {
            *before += count;
        }
    }

    /// A deadline waits for the commands that are queued already, but not for all that arrive
    /// meanwhile.
    fn take_deadline(&mut self) {
        let now = self.now();
        if self.decider.next_deadline().is_none_or(|at| now < at) {
            self.turns.before_deadline = None;
            return;
        }
        let before = *self.turns.before_deadline.get_or_insert(0);
        if self.turns.commands.is_empty() || before >= 2 * COMMANDS_MAX {
            self.turns.before_deadline = None;
            self.decider.handle_deadline(now);
        }
    }

    /// A fenced coordinator learns it only by appending, so an idle one appends a beat.
    fn append_if_idle(&mut self) {
        if !self.is_shared || self.real < self.turns.next_beat {
            return;
        }
        self.turns.next_beat = self.real + self.turns.beat;
        if !std::mem::take(&mut self.turns.asked) {
            self.handle(Event::Beat);
        }
    }

    /// Carries out the effects that are durable, and keeps the journal busy.
    fn advance(&mut self) {
        let mut idle = false;
        while !idle {
            idle = true;
            self.take_charge();
            while let Some(effect) = self.decider.next_effect() {
                self.carry_out(effect);
            }
            while let Some((worker, reason)) = self.sessions.next_unreachable() {
                self.disconnect(worker, reason);
                idle = false;
            }
            // While time stands still, no job is submitted either.
            while !self.clock.stands_still()
                && let Some(plan) = self.decider.next_written()
            {
                self.plan_written(plan);
                idle = false;
            }
            self.ask_store();
        }
    }

    /// Several calls are in flight at once. Only calls that something waits for make time stand
    /// still: a snapshot or a sweep may take as long as it likes.
    fn ask_store(&mut self) {
        debug_assert!(
            self.is_shared || !self.decider.is_waiting(),
            "a journal in memory answers at once"
        );
        while let Some((id, call)) = self.decider.next_call() {
            self.actions.push_back(Action::Store(id, call));
        }
        if self.decider.is_waiting() {
            self.turns.asked = true;
            self.clock.store_asked(self.real);
        }
    }
}
