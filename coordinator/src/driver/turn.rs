//! In which order a driver takes what has happened.
//!
//! ```text
//!  the time: has the coordinator slept?  -->  answers of the store  -->  commands that wait
//!                                        -->  deadlines             -->  effects
//! ```
//!
//! What has arrived before a deadline goes before it: the heartbeat that renews a lease may be
//! among it.

use std::collections::VecDeque;
use std::time::Duration;

use windrow_scheduler::Event;
use windrow_scheduler::journal::{Answer, CallId, JournalError};

use super::action::Action;
use super::command::Command;
use super::{Driver, DriverPart, DriverRecord, DriverState};

/// Commands that may wait for the driver before their senders do.
pub(super) const COMMANDS_MAX: usize = 1_024;
/// Commands in one turn. What they lead to lies in outboxes, which are emptied between turns.
const COMMANDS_PER_TURN: usize = 128;
/// A coordinator that has appended nothing between two beats makes sure that it is still in charge.
/// If it is not, it knows after half a lease, and its workers have the other half to find the one
/// that is, which waits for them that long.
const BEATS_PER_LEASE: u32 = 4;

/// What waits for its turn.
pub(super) struct Turns {
    commands: VecDeque<Command>,
    /// Commands that were taken since a deadline was found to have passed.
    before_deadline: Option<usize>,
    /// Between two looks at whether it is still in charge.
    beat: Duration,
    next_beat: Duration,
    /// Whether the store was asked for anything since the last beat.
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
    /// Whether it takes commands: not while it stands still, nor more than it can keep, nor what
    /// the journal cannot keep up with.
    pub(crate) fn has_room(&self) -> bool {
        self.may_obey() && self.turns.commands.len() < COMMANDS_MAX
    }

    fn may_obey(&self) -> bool {
        !self.clock.stands_still() && !self.decider.is_full()
    }

    /// A command has arrived. It is taken in one of the next turns.
    pub(crate) fn arrived(&mut self, command: Command) {
        self.turns.commands.push_back(command);
    }

    /// The store has answered, at the time `real` since the start. True if more is durable now.
    ///
    /// # Errors
    /// When this coordinator must not go on. Then nothing more is told to anybody.
    pub(crate) fn answered(
        &mut self,
        real: Duration,
        call: CallId,
        answer: Answer<DriverRecord, DriverState, DriverPart>,
    ) -> Result<bool, JournalError> {
        self.real = self.real.max(real);
        if !self.decider.answer(call, answer)? {
            return Ok(false);
        }
        if let Some(stood) = self.clock.store_done(self.real) {
            tracing::info!("the journal takes records again, and all goes on after {stood:.1?}");
        }
        Ok(true)
    }

    /// Takes what has arrived and what is due, at the time `real` since the start.
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

    /// When the next turn is due, since the start, even if nothing arrives.
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

    /// The next thing to be done outside.
    pub(crate) fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Whoever was stopped for a while cannot know whether it is still in charge before its journal
    /// has taken a record.
    fn look_at_clock(&mut self) {
        if let Some(stopped) = self.clock.look(self.real) {
            tracing::warn!("the coordinator was stopped for {stopped:.1?}: no lease ran meanwhile");
            if self.is_shared {
                self.handle(Event::Beat);
            } else {
                self.clock.store_done(self.real);
            }
        }
        if self.clock.stop_if_due(self.real) {
            tracing::error!(
                "the journal has taken nothing for half a lease: nothing is decided and no worker is acknowledged until it does"
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

    /// Deadlines wait for the commands that wait, but not for all that come meanwhile.
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

    /// A coordinator that was replaced learns it by appending. So an idle one appends a beat.
    fn append_if_idle(&mut self) {
        if !self.is_shared || self.real < self.turns.next_beat {
            return;
        }
        self.turns.next_beat = self.real + self.turns.beat;
        if !std::mem::take(&mut self.turns.asked) {
            self.handle(Event::Beat);
        }
    }

    /// Carries out what may be by now, and keeps the journal busy.
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
            // While time stands still, nothing is submitted either.
            while !self.clock.stands_still()
                && let Some(plan) = self.decider.next_written()
            {
                self.plan_written(plan);
                idle = false;
            }
            self.ask_store();
        }
    }

    /// Several calls are under way at once. Only those for which something waits make time stand
    /// still: a state that is written beside the log, or a sweep, may take as long as it likes.
    fn ask_store(&mut self) {
        debug_assert!(
            self.is_shared || !self.decider.is_waiting(),
            "a journal in memory is never waited for"
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
