//! Walks sorted batches group by group.

use super::batch::{RecordBatches, RecordRef};
use super::record_batch::RecordBatch;
use super::values::Values;
use crate::error::{Error, Result};
use crate::failure::{FailureCause, Place};
use crate::key::Key;
use crate::text;
use crate::value::Value;

/// The groups of a sorted source: runs of pairs with equal keys.
pub(crate) struct Groups<'s> {
    source: &'s mut dyn RecordBatches,
    window: Window,
    /// Of the current group. A copy, since the batch that it came in may be gone before the group ends.
    key: Vec<u8>,
    count: u64,
}

/// The batch that is being read, and how far.
#[derive(Default)]
pub(super) struct Window {
    batch: RecordBatch,
    next: usize,
    at_end: bool,
    records: u64,
    failure: Option<FailureCause>,
}

impl<'s> Groups<'s> {
    pub(crate) fn new(source: &'s mut dyn RecordBatches) -> Self {
        Self { source, window: Window::default(), key: Vec::new(), count: 0 }
    }

    /// Goes on to the next group, over all values of the current one that were not read. `false` at the end.
    pub(crate) fn next_group(&mut self) -> Result<bool> {
        while self.count > 0 && self.window.peek(self.source)?.is_some_and(|r| r.key == self.key) {
            self.window.advance();
        }
        let Some(first) = self.window.peek(self.source)? else { return Ok(false) };
        self.key.clear();
        self.key.extend_from_slice(first.key);
        self.count += 1;
        Ok(true)
    }

    /// Key and values of the current group.
    #[inline]
    pub(crate) fn current<V: Value + ?Sized>(&mut self) -> (&[u8], Values<'_, V>) {
        (&self.key, Values::new(self.source, &mut self.window, &self.key))
    }

    /// Groups seen so far.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Pairs read so far.
    pub(super) fn records(&self) -> u64 {
        self.window.records
    }

    /// What the source failed with. It goes before anything that user code made of it.
    pub(super) fn take_failure(&mut self) -> Option<FailureCause> {
        self.window.failure.take()
    }

    /// The current group's place, for a failure.
    pub(super) fn place<K: Key + ?Sized>(&self) -> Place {
        let key = (self.count > 0).then(|| {
            let mut text = Vec::new();
            match K::decode(&self.key) {
                Ok(key) => K::write_text(K::view(&key), &mut text),
                Err(_) => text.extend_from_slice(&self.key),
            }
            text::shown(&text)
        });
        Place { key, ..Place::default() }
    }
}

impl Window {
    /// The next pair, which is not consumed; `None` at the end.
    #[inline]
    pub(super) fn peek(&mut self, source: &mut dyn RecordBatches) -> Result<Option<RecordRef<'_>>> {
        if self.next == self.batch.len() && !self.refill(source)? {
            return Ok(None);
        }
        Ok(Some(self.batch.get(self.next)))
    }

    /// Consumes the pair that [`peek`](Self::peek) has shown.
    #[inline]
    pub(super) fn advance(&mut self) -> RecordRef<'_> {
        self.next += 1;
        self.records += 1;
        self.batch.get(self.next - 1)
    }

    fn refill(&mut self, source: &mut dyn RecordBatches) -> Result<bool> {
        // A source that has ended or failed is not asked again, even if user code goes on after the error.
        if self.at_end {
            return self.failure.as_ref().map_or(Ok(false), |cause| Err(hidden(cause)));
        }
        self.next = 0;
        self.batch.clear();
        match source.next_batch() {
            Ok(Some(records)) => {
                records.iter().for_each(|record| self.batch.push(*record));
                Ok(true)
            }
            Ok(None) => {
                self.at_end = true;
                Ok(false)
            }
            Err(cause) => {
                self.at_end = true;
                Err(hidden(self.failure.insert(cause)))
            }
        }
    }
}

/// What user code sees of a failure of the engine.
#[cold]
pub(super) fn hidden(cause: &FailureCause) -> Error {
    Error::new(cause.to_string())
}
