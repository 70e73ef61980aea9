//! Runs calls concurrently, each in a task of its own, so that the driver never waits for the
//! store.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use tokio::time::Instant;
use windrow_scheduler::journal::{Answer, Call, CallId};

use super::store::{Store, StoreError};

/// First pause after an error of the store; it doubles up to [`PAUSE_MAX`].
pub(super) const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Pause after a failed sweep, which is not urgent.
const SWEEP_PAUSE: Duration = Duration::from_secs(30);

const _: () = assert!(PAUSE_MIN.as_nanos() > 0, "a failing store is not retried without a pause");
const _: () = assert!(
    PAUSE_MIN.as_nanos() <= PAUSE_MAX.as_nanos() && PAUSE_MAX.as_nanos() <= SWEEP_PAUSE.as_nanos(),
    "urgent calls are retried more often than sweeps"
);
/// How often a lasting error is logged.
const SAID_EVERY: Duration = Duration::from_secs(60);
/// Most concurrent calls: more than a takeover or an appender ever makes.
const CALLS_MAX: usize = 64;

/// The driver's journal.
pub(crate) struct Journal<R, S, P> {
    /// `None` for a journal in memory.
    runner: Option<Runner<R, S, P>>,
    written: Arc<WriteTotals>,
}

/// Runs calls, and cancels them when it is dropped.
pub(super) struct Runner<R, S, P> {
    store: Arc<Store>,
    errors: Arc<StoreErrors>,
    calls: JoinSet<Answered<R, S, P>>,
}

/// A finished call, and its result.
type Answered<R, S, P> = (CallId, Result<Answer<R, S, P>, StoreError>);

/// The totals of what was written.
#[derive(Debug, Default)]
pub(crate) struct WriteTotals {
    objects: AtomicU64,
    bytes: AtomicU64,
}

impl WriteTotals {
    pub(super) fn count(&self, bytes: u64) {
        self.objects.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The number of objects, and their bytes.
    pub(crate) fn totals(&self) -> (u64, u64) {
        (self.objects.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

impl<R, S, P> Runner<R, S, P>
where
    R: Serialize + DeserializeOwned + Send + Sync + 'static,
    S: Serialize + DeserializeOwned + Send + Sync + 'static,
    P: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self { store, errors: Arc::default(), calls: JoinSet::new() }
    }

    pub(super) fn errors(&self) -> &StoreErrors {
        &self.errors
    }

    pub(super) fn start(&mut self, id: CallId, call: Call<R, S, P>) {
        let (store, errors) = (Arc::clone(&self.store), Arc::clone(&self.errors));
        debug_assert!(self.calls.len() < CALLS_MAX, "the protocol bounds the calls in flight");
        self.calls.spawn(async move {
            let is_sweep = matches!(call, Call::Sweep(_));
            let result = store.carry_out(call).await;
            match &result {
                Ok(answer) if !is_sweep => errors.answered(answer),
                Err(error) if is_sweep => {
                    let pause = SWEEP_PAUSE.as_secs();
                    tracing::warn!(%error, "cannot delete old objects of the journal; retrying in {pause} s");
                    tokio::time::sleep(SWEEP_PAUSE).await;
                }
                Err(error) if !error.is_final() => errors.wait(error).await,
                Ok(_) | Err(_) => {}
            }
            debug_assert!(
                !is_sweep || matches!(result, Ok(Answer::Swept) | Err(_)),
                "a sweep has one answer: the next stage must not begin before"
            );
            // Old objects that stay do no harm.
            (id, if is_sweep { result.or(Ok(Answer::Failed)) } else { result })
        });
    }

    /// The next answer. Waits for ever if no call is in flight. Cancel safe.
    ///
    /// # Errors
    /// When a call's task has ended, so that there will be no answer.
    pub(super) async fn answered(
        &mut self,
    ) -> Result<(CallId, Result<Answer<R, S, P>, StoreError>), JournalGone> {
        match self.calls.join_next().await {
            Some(answer) => answer.map_err(|_| JournalGone),
            None => std::future::pending().await,
        }
    }
}

impl<R, S, P> Journal<R, S, P>
where
    R: Serialize + DeserializeOwned + Send + Sync + 'static,
    S: Serialize + DeserializeOwned + Send + Sync + 'static,
    P: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    /// A journal in memory, which is never called.
    pub(super) fn in_memory() -> Self {
        Self { runner: None, written: Arc::default() }
    }

    /// A runner on `store`.
    pub(super) fn on(store: Arc<Store>) -> Self {
        Self { written: Arc::clone(&store.written), runner: Some(Runner::new(store)) }
    }

    /// Starts a call, concurrently with those in flight.
    pub(crate) fn start(&mut self, id: CallId, call: Call<R, S, P>) {
        debug_assert!(self.runner.is_some(), "a journal in memory is never called");
        if let Some(runner) = &mut self.runner {
            runner.start(id, call);
        }
    }

    /// Waits for the next answer, for ever if no call is in flight. Cancel safe.
    ///
    /// # Errors
    /// When there will be no answer.
    pub(crate) async fn answered(&mut self) -> Result<(CallId, Answer<R, S, P>), JournalGone> {
        let Some(runner) = &mut self.runner else { return std::future::pending().await };
        let (id, result) = runner.answered().await?;
        let answer = match result {
            Ok(answer) => answer,
            Err(error) if error.is_final() => Answer::Refused(error.to_string()),
            Err(_) => Answer::Failed,
        };
        Ok((id, answer))
    }

    /// The totals of what was written.
    pub(crate) fn written(&self) -> Arc<WriteTotals> {
        Arc::clone(&self.written)
    }
}

/// A task of the journal has ended unexpectedly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a task of the journal has ended, which is a bug; start the coordinator again to continue from the journal"
)]
pub struct JournalGone;

/// Logs errors of the store in a row: the first at once, then rarely, and once when they are over.
#[derive(Debug, Default)]
pub(super) struct StoreErrors {
    times: AtomicU32,
    said: Mutex<Option<Instant>>,
}

impl StoreErrors {
    pub(super) fn times(&self) -> u32 {
        self.times.load(Ordering::Relaxed)
    }

    /// Pauses with exponential backoff.
    async fn wait(&self, error: &StoreError) {
        let times = self.times.fetch_add(1, Ordering::Relaxed);
        if self.is_to_be_said() {
            tracing::error!(%error, "the journal cannot be written; nothing is acknowledged until it can");
        }
        let pause = PAUSE_MIN.saturating_mul(1 << times.min(16)).min(PAUSE_MAX);
        tokio::time::sleep(pause).await;
    }

    fn is_to_be_said(&self) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let is_due = said.is_none_or(|last| now.duration_since(last) >= SAID_EVERY);
        if is_due {
            *said = Some(now);
        }
        is_due
    }

    /// A successful write ends the series. A read does not: a full disk can be read.
    fn answered<R, S, P>(&self, answer: &Answer<R, S, P>) {
        if matches!(answer, Answer::Created | Answer::Exists) {
            self.over();
        }
    }

    /// The store works again.
    pub(super) fn over(&self) {
        if self.times.swap(0, Ordering::Relaxed) > 0 {
            *self.said.lock().unwrap_or_else(PoisonError::into_inner) = None;
            tracing::info!("the journal can be written again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn lasting_errors_are_logged_rarely_and_new_ones_at_once() {
        let errors = StoreErrors::default();
        let said = |errors: &StoreErrors| errors.said.lock().unwrap().unwrap();
        let error = || StoreError::FolderGone("/state".into());
        let begun = Instant::now();
        let mut lines = std::collections::BTreeSet::new();
        let mut tries = 0;
        while begun.elapsed() < SAID_EVERY * 3 {
            errors.wait(&error()).await;
            // Reads succeed in between, as on a full disk.
            errors.answered::<(), (), ()>(&Answer::Absent);
            lines.insert(said(&errors));
            tries += 1;
        }
        assert_eq!(lines.len(), 3, "one line a minute");
        assert!(tries <= 3 * 60, "{tries} tries in three minutes");
        errors.answered::<(), (), ()>(&Answer::Created);
        errors.wait(&error()).await;
        assert_eq!(said(&errors) + PAUSE_MIN, Instant::now(), "the error was not logged at once");
    }
}
