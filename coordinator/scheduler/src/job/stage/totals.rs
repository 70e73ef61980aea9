//! Sums over the tasks of a stage, kept up to date so that a view needs no pass over the tasks.

use serde::{Deserialize, Serialize};

use crate::job::stage::{Counted, Running};

/// Sums over winners and running attempts, backups excepted.
///
/// Counts come from workers: they saturate, so that wrong ones cannot panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Totals {
    unit: WorkUnit,
    /// Records read by winners and running attempts.
    pub(crate) input_records: u64,
    /// Bytes read by winners and running attempts.
    pub(crate) input_bytes: u64,
    /// Bad records that winners have skipped.
    pub(crate) skipped_records: u64,
    /// Records written by winners.
    pub(crate) output_records: u64,
    /// Bytes written by winners.
    pub(crate) output_bytes: u64,
    /// Work of winners.
    pub(crate) work_done: u64,
    /// Time of winners.
    pub(crate) elapsed_us: u64,
}

/// The measure of a stage's speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum WorkUnit {
    /// Bytes read: the size of each task is known before it runs, as with splits.
    Bytes,
    /// Records read.
    Records,
}

impl Totals {
    /// Sums over no task.
    pub(crate) fn new(unit: WorkUnit) -> Self {
        Self {
            unit,
            input_records: 0,
            input_bytes: 0,
            skipped_records: 0,
            output_records: 0,
            output_bytes: 0,
            work_done: 0,
            elapsed_us: 0,
        }
    }

    /// The measure of the stage's speed.
    pub(crate) fn unit(&self) -> WorkUnit {
        self.unit
    }

    /// Adds a winner.
    pub(crate) fn add(&mut self, counted: &Counted) {
        let work = self.unit.of(counted.input_bytes, counted.input_records);
        self.input_records = self.input_records.saturating_add(counted.input_records);
        self.input_bytes = self.input_bytes.saturating_add(counted.input_bytes);
        self.skipped_records = self.skipped_records.saturating_add(counted.skipped_records);
        self.output_records = self.output_records.saturating_add(counted.output_records);
        self.output_bytes = self.output_bytes.saturating_add(counted.output_bytes);
        self.work_done = self.work_done.saturating_add(work);
        self.elapsed_us = self.elapsed_us.saturating_add(counted.elapsed_us);
    }

    /// Subtracts a winner that is lost.
    pub(super) fn subtract(&mut self, counted: &Counted) {
        let work = self.unit.of(counted.input_bytes, counted.input_records);
        self.input_records = self.input_records.saturating_sub(counted.input_records);
        self.input_bytes = self.input_bytes.saturating_sub(counted.input_bytes);
        self.skipped_records = self.skipped_records.saturating_sub(counted.skipped_records);
        self.output_records = self.output_records.saturating_sub(counted.output_records);
        self.output_bytes = self.output_bytes.saturating_sub(counted.output_bytes);
        self.work_done = self.work_done.saturating_sub(work);
        self.elapsed_us = self.elapsed_us.saturating_sub(counted.elapsed_us);
    }

    /// Adds what a running attempt has read.
    pub(crate) fn count(&mut self, running: &Running) {
        self.count_more(running.records, running.bytes);
    }

    /// Adds what a running attempt has read since it was counted.
    pub(super) fn count_more(&mut self, records: u64, bytes: u64) {
        self.input_records = self.input_records.saturating_add(records);
        self.input_bytes = self.input_bytes.saturating_add(bytes);
    }

    /// Subtracts what a running attempt has read.
    pub(super) fn uncount(&mut self, running: &Running) {
        self.input_records = self.input_records.saturating_sub(running.records);
        self.input_bytes = self.input_bytes.saturating_sub(running.bytes);
    }
}

impl WorkUnit {
    /// The work of an attempt that has read this much.
    pub(crate) fn of(self, bytes: u64, records: u64) -> u64 {
        match self {
            Self::Bytes => bytes,
            Self::Records => records,
        }
    }
}
