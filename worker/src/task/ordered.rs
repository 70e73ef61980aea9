//! Puts the text of chunks, which are mapped side by side, back into input order.
//!
//! A thread that is too far ahead of the slowest one waits, so that little text is held back.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use windrow_jobs::FailureCause;
use windrow_jobs::program::PartSink;

use super::output::PartWriter;
use crate::memory::Reservation;
use crate::sync::lock;

/// How often a waiting thread looks whether it should give up.
const PATIENCE: Duration = Duration::from_millis(50);

/// The part of a map-only task, in the making.
pub struct OrderedPart {
    state: Mutex<State>,
    moved: Condvar,
    /// Texts of at most this many chunks are held back.
    window: usize,
}

struct State {
    writer: PartWriter,
    /// Number of the chunk whose text is written next.
    next: usize,
    pending: BTreeMap<usize, Text>,
    records: u64,
}

/// What was mapped from one chunk.
pub struct Text {
    /// Whole lines.
    pub bytes: Vec<u8>,
    /// Their number.
    pub records: u64,
    /// Counts the bytes.
    pub _reservation: Reservation,
}

impl OrderedPart {
    /// Starts with chunk 0.
    pub fn new(writer: PartWriter, window: usize) -> Self {
        let state = State { writer, next: 0, pending: BTreeMap::new(), records: 0 };
        Self { state: Mutex::new(state), moved: Condvar::new(), window: window.max(1) }
    }

    /// Takes the text of a chunk. Waits while the chunk is too far ahead, until `stop` says otherwise.
    pub fn submit(
        &self,
        chunk: usize,
        text: Text,
        stop: impl Fn() -> Result<(), FailureCause>,
    ) -> Result<(), FailureCause> {
        let mut state = lock(&self.state);
        // The thread that has the next chunk never waits, so somebody always moves on.
        while chunk - state.next >= self.window {
            stop()?;
            let waited = self.moved.wait_timeout(state, PATIENCE);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.pending.insert(chunk, text);
        state.write_ready()?;
        self.moved.notify_all();
        Ok(())
    }

    /// The part and its number of lines.
    pub fn finish(self) -> (PartWriter, u64) {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        (state.writer, state.records)
    }
}

impl State {
    fn write_ready(&mut self) -> Result<(), FailureCause> {
        while let Some(text) = self.pending.remove(&self.next) {
            self.writer.write(&text.bytes)?;
            self.records += text.records;
            self.next += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::memory::Account;

    fn text(chunk: usize) -> Text {
        let bytes = format!("{chunk}\n").into_bytes();
        Text { bytes, records: 1, _reservation: Account::new(0).reserve(0) }
    }

    fn part(folder: &std::path::Path, window: usize) -> OrderedPart {
        OrderedPart::new(PartWriter::create(folder.join("part")).unwrap(), window)
    }

    #[test]
    fn texts_come_out_in_the_order_of_their_chunks() {
        let folder = tempfile::tempdir().unwrap();
        let part = part(folder.path(), 8);
        for chunk in [2, 0, 3, 1, 5, 4] {
            part.submit(chunk, text(chunk), || Ok(())).unwrap();
        }
        let (writer, records) = part.finish();
        let (written, _file) = writer.finish(records).unwrap();
        assert_eq!(std::fs::read_to_string(&written.path).unwrap(), "0\n1\n2\n3\n4\n5\n");
        assert_eq!(written.records, 6);
    }

    #[test]
    fn a_thread_that_is_too_far_ahead_waits_for_the_slowest_one() {
        let folder = tempfile::tempdir().unwrap();
        let part = part(folder.path(), 2);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                part.submit(2, text(2), || Ok(())).unwrap();
                done.store(true, Ordering::SeqCst);
            });
            part.submit(1, text(1), || Ok(())).unwrap();
            assert!(!done.load(Ordering::SeqCst), "chunk 2 is beyond the window");
            part.submit(0, text(0), || Ok(())).unwrap();
        });
        assert!(done.load(Ordering::SeqCst));
    }

    #[test]
    fn a_thread_that_waits_can_be_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let stopped = part(folder.path(), 1).submit(1, text(1), || Err(FailureCause::Cancelled));
        assert_eq!(stopped, Err(FailureCause::Cancelled));
    }
}
