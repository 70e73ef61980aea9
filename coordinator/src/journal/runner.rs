//! Carries out calls side by side, each in a task of its own, so that the store's latency is never
//! the driver's.

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
/// Pause after a sweep that has failed: nobody waits for it.
const SWEEP_PAUSE: Duration = Duration::from_secs(30);

const _: () = assert!(PAUSE_MIN.as_nanos() > 0, "a store in trouble is not asked without a pause");
const _: () = assert!(
    PAUSE_MIN.as_nanos() <= PAUSE_MAX.as_nanos() && PAUSE_MAX.as_nanos() <= SWEEP_PAUSE.as_nanos(),
    "what somebody waits for is tried more often than what nobody waits for"
);
/// How often trouble that lasts is said again.
const SAID_EVERY: Duration = Duration::from_secs(60);
/// Most calls at once: more than a takeover or an appender ever asks for.
const CALLS_MAX: usize = 64;

/// Where the driver's journal is kept.
pub(crate) struct Journal<R, S, P> {
    /// `None` in memory.
    runner: Option<Runner<R, S, P>>,
    written: Arc<WriteTotals>,
}

/// Calls end with this.
pub(super) struct Runner<R, S, P> {
    store: Arc<Store>,
    trouble: Arc<StoreErrors>,
    calls: JoinSet<Answered<R, S, P>>,
}

/// A call that has come to its end, and how.
type Answered<R, S, P> = (CallId, Result<Answer<R, S, P>, StoreError>);

/// What was written so far.
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

    /// Objects, and their bytes.
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
        Self { store, trouble: Arc::default(), calls: JoinSet::new() }
    }

    pub(super) fn trouble(&self) -> &StoreErrors {
        &self.trouble
    }

    pub(super) fn start(&mut self, id: CallId, call: Call<R, S, P>) {
        let (store, trouble) = (Arc::clone(&self.store), Arc::clone(&self.trouble));
        debug_assert!(self.calls.len() < CALLS_MAX, "the protocol bounds what is under way");
        self.calls.spawn(async move {
            let is_sweep = matches!(call, Call::Sweep(_));
            let result = store.carry_out(call).await;
            match &result {
                Ok(answer) if !is_sweep => trouble.answered(answer),
                Err(error) if is_sweep => {
                    let pause = SWEEP_PAUSE.as_secs();
                    tracing::warn!(%error, "old objects of the journal cannot be deleted; trying again in {pause} s");
                    tokio::time::sleep(SWEEP_PAUSE).await;
                }
                Err(error) if !error.is_final() => trouble.wait(error).await,
                Ok(_) | Err(_) => {}
            }
            debug_assert!(
                !is_sweep || matches!(result, Ok(Answer::Swept) | Err(_)),
                "a sweep is answered as one: the next stage must not begin before"
            );
            // That old objects stay harms nobody.
            (id, if is_sweep { result.or(Ok(Answer::Failed)) } else { result })
        });
    }

    /// The next answer. For ever when nothing is under way. Cancel safe.
    ///
    /// # Errors
    /// When there will not be any, since a call's task has ended.
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
    /// Keeps nothing, and is never asked for anything.
    pub(super) fn in_memory() -> Self {
        Self { runner: None, written: Arc::default() }
    }

    /// Goes on with `store`.
    pub(super) fn on(store: Arc<Store>) -> Self {
        Self { written: Arc::clone(&store.written), runner: Some(Runner::new(store)) }
    }

    /// Has a call carried out, beside those that are under way.
    pub(crate) fn start(&mut self, id: CallId, call: Call<R, S, P>) {
        debug_assert!(self.runner.is_some(), "a journal in memory is never asked for anything");
        if let Some(runner) = &mut self.runner {
            runner.start(id, call);
        }
    }

    /// Waits for the next answer. For ever when nothing was asked. Cancel safe.
    ///
    /// # Errors
    /// When there will not be any.
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

    /// What was written so far.
    pub(crate) fn written(&self) -> Arc<WriteTotals> {
        Arc::clone(&self.written)
    }
}

/// A task that works on the journal has ended although nobody has ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a task that works on the journal has ended by a bug; what the journal holds goes on when the coordinator is started again"
)]
pub struct JournalGone;

/// Errors of the store in a row. Said at once, rarely while they last, and once when they are over.
#[derive(Debug, Default)]
pub(super) struct StoreErrors {
    times: AtomicU32,
    said: Mutex<Option<Instant>>,
}

impl StoreErrors {
    pub(super) fn times(&self) -> u32 {
        self.times.load(Ordering::Relaxed)
    }

    /// Pauses, each time for longer.
    async fn wait(&self, error: &StoreError) {
        let times = self.times.fetch_add(1, Ordering::Relaxed);
        if self.is_to_be_said() {
            tracing::error!(%error, "nothing is acknowledged until the journal can be written again");
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

    /// What was written ends it. That something can be read does not: on a full disk, everything
    /// can.
    fn answered<R, S, P>(&self, answer: &Answer<R, S, P>) {
        if matches!(answer, Answer::Created | Answer::Exists) {
            self.over();
        }
    }

    /// The store does what is asked for.
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
    async fn trouble_that_lasts_is_said_rarely_and_again_when_it_is_new() {
        let trouble = StoreErrors::default();
        let said = |trouble: &StoreErrors| trouble.said.lock().unwrap().unwrap();
        let error = || StoreError::FolderGone("/state".into());
        let begun = Instant::now();
        let mut lines = std::collections::BTreeSet::new();
        let mut tries = 0;
        while begun.elapsed() < SAID_EVERY * 3 {
            trouble.wait(&error()).await;
            // Something can be read in between, as on a full disk.
            trouble.answered::<(), (), ()>(&Answer::Absent);
            lines.insert(said(&trouble));
            tries += 1;
        }
        assert_eq!(lines.len(), 3, "one line a minute");
        assert!(tries <= 3 * 60, "{tries} tries in three minutes");
        trouble.answered::<(), (), ()>(&Answer::Created);
        trouble.wait(&error()).await;
        assert_eq!(said(&trouble) + PAUSE_MIN, Instant::now(), "it was not said at once");
    }
}
