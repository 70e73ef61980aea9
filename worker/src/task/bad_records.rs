//! The bad records that an attempt skips: counted, and written to a file of their own in input
//! order, whichever thread has found them.
//!
//! Whether a record is bad is decided where user code runs, in `jobs`. The scheduler decides how
//! many a whole job may skip; an attempt only stops when it exceeds the budget by itself.

use std::sync::Mutex;

use windrow_jobs::collect::Sections;
use windrow_jobs::program::NoFrame;
use windrow_jobs::{BadRecord, BadRecordBudget, FailureCause, PartKind};

use super::ordered::{OrderedPart, Text};
use super::{Attempt, Outcome};
use crate::memory::Account;
use crate::parts::WrittenPart;
use crate::sync::{into_inner, lock};

/// Collects the bad records of an attempt. Dropped before [`finish`](Self::finish), it leaves no
/// file.
pub struct BadRecordsFile {
    file: OrderedPart,
    budget: BadRecordBudget,
    memory: Account,
    skipped: Mutex<Skipped>,
}

#[derive(Default)]
struct Skipped {
    records: u64,
    /// The failure of the first one in input order, and its chunk.
    first: Option<(usize, FailureCause)>,
}

impl BadRecordsFile {
    /// A file for an attempt whose job skips bad records.
    pub fn of(attempt: &Attempt) -> Result<Option<Self>, FailureCause> {
        let Some(budget) = attempt.context.skip_bad_records else { return Ok(None) };
        let writer = attempt.create(PartKind::BadRecords)?;
        let file = OrderedPart::new(writer, Box::new(NoFrame), attempt.threads, &attempt.memory);
        Ok(Some(Self { file, budget, memory: attempt.memory.clone(), skipped: Mutex::default() }))
    }

    /// Takes the bad records of a chunk, perhaps none; to be called once for each chunk. May wait
    /// for earlier chunks, until `stop` is set.
    pub fn put(
        &self,
        chunk: usize,
        bad: Vec<BadRecord>,
        stop: impl Fn() -> Result<(), FailureCause>,
    ) -> Result<(), FailureCause> {
        let mut bytes = Vec::new();
        bad.iter().for_each(|record| record.write_line(&mut bytes));
        debug_assert_eq!(bad.is_empty(), bytes.is_empty(), "each bad record has its line");
        let records = bad.len() as u64;
        self.count(chunk, bad)?;
        let _reservation = self.memory.reserve(bytes.capacity() as u64);
        let sections = Sections::none();
        let text = Text { on_disk: None, bytes, records, sections, _reservation };
        self.file.submit(chunk, text, stop)
    }

    fn count(&self, chunk: usize, bad: Vec<BadRecord>) -> Result<(), FailureCause> {
        let mut skipped = lock(&self.skipped);
        skipped.records += bad.len() as u64;
        let too_many = self.budget.records().is_some_and(|most| skipped.records > most);
        if too_many && let Some(last) = bad.last() {
            let (place, message) = (last.place.clone(), last.message.clone());
            return Err(FailureCause::BadRecords { skipped: skipped.records, place, message });
        }
        let is_earlier = skipped.first.as_ref().is_none_or(|(of, _)| chunk < *of);
        if is_earlier && let Some(first) = bad.into_iter().next() {
            skipped.first = Some((chunk, first.into_cause()));
        }
        Ok(())
    }

    /// Adds the file, unless it is empty, and the counts to the attempt's outcome.
    pub fn finish(self, outcome: &mut Outcome) -> Result<(), FailureCause> {
        let (writer, records) = self.file.finish()?;
        debug_assert_eq!(
            records,
            lock(&self.skipped).records,
            "all counted records are in the file"
        );
        if records > 0 {
            let WrittenPart { handle, unreported } = writer.finish(records)?;
            outcome.finished.bad_records = Some(handle);
            outcome.bad_records = Some(unreported);
        }
        let stats = &mut outcome.finished.stats;
        debug_assert_eq!(stats.skipped_records, 0, "an attempt counts skipped records once");
        stats.skipped_records = records;
        stats.skipped_example = into_inner(self.skipped).first.map(|(_, cause)| cause);
        Ok(())
    }
}
