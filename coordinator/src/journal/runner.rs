//! Carries out one call at a time in a task of its own, so that the store's latency is never the driver's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use windrow_scheduler::journal::{Answer, Call};

use super::store::{Store, StoreError};

/// First pause after an error of the store; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Where the driver's journal is kept.
pub(crate) struct Journal<R, S> {
    /// `None` in memory.
    runner: Option<Runner<R, S>>,
    written: Arc<Written>,
}

struct Runner<R, S> {
    calls: mpsc::Sender<Call<R, S>>,
    answers: mpsc::Receiver<Answer<R, S>>,
}

/// What was written so far.
#[derive(Debug, Default)]
pub(crate) struct Written {
    objects: AtomicU64,
    bytes: AtomicU64,
}

impl Written {
    pub(super) fn count(&self, bytes: u64) {
        self.objects.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Objects, and their bytes.
    pub(crate) fn totals(&self) -> (u64, u64) {
        (self.objects.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

impl<R, S> Journal<R, S>
where
    R: Serialize + DeserializeOwned + Send + Sync + 'static,
    S: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    /// Keeps nothing: whoever has it [answers](answer_in_memory) at once.
    pub(super) fn in_memory() -> Self {
        Self { runner: None, written: Arc::default() }
    }

    /// Starts the task that works on `store`. It ends with this.
    pub(super) fn on(store: Store) -> Self {
        let written = Arc::clone(&store.written);
        let (calls, received) = mpsc::channel(1);
        let (answering, answers) = mpsc::channel(1);
        tokio::spawn(run(store, received, answering));
        Self { runner: Some(Runner { calls, answers }), written }
    }

    /// Has a call carried out, none other of which is under way.
    pub(crate) fn start(&self, call: Call<R, S>) {
        if let Some(runner) = &self.runner {
            // If the task has ended, `answered` says so.
            let _ = runner.calls.try_send(call);
        }
    }

    /// Waits for the answer. For ever when nothing was asked. Cancel safe.
    ///
    /// # Errors
    /// When there will not be any, since the journal's task has ended.
    pub(crate) async fn answered(&mut self) -> Result<Answer<R, S>, JournalGone> {
        match &mut self.runner {
            Some(runner) => runner.answers.recv().await.ok_or(JournalGone),
            None => std::future::pending().await,
        }
    }

    /// What was written so far.
    pub(crate) fn written(&self) -> Arc<Written> {
        Arc::clone(&self.written)
    }
}

/// The task that writes the journal has ended although nobody has ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the task that writes the journal has ended by a bug; what the journal holds goes on when the coordinator is started again"
)]
pub struct JournalGone;

/// What an empty store would say that is never read again.
pub(crate) fn answer_in_memory<R, S>(call: &Call<R, S>) -> Answer<R, S> {
    match call {
        Call::LastEpoch => Answer::LastEpoch(None),
        Call::Create(..) => Answer::Created,
        Call::Read(_) => Answer::Absent,
        Call::DeleteUpTo(_) => Answer::Deleted,
    }
}

async fn run<R, S>(
    store: Store,
    mut calls: mpsc::Receiver<Call<R, S>>,
    answers: mpsc::Sender<Answer<R, S>>,
) where
    R: Serialize + DeserializeOwned,
    S: Serialize + DeserializeOwned,
{
    let mut trouble = Trouble::default();
    while let Some(call) = calls.recv().await {
        let answer = match store.carry_out(&call).await {
            Ok(answer) => {
                trouble.answered(&answer);
                answer
            }
            Err(error) if error.is_final() => Answer::Refused(error.to_string()),
            Err(error) => {
                trouble.wait(&error).await;
                Answer::Failed
            }
        };
        if answers.send(answer).await.is_err() {
            return;
        }
    }
}

/// Errors of the store in a row. Said once, and once when they are over.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    times: u32,
}

impl Trouble {
    pub(super) fn times(&self) -> u32 {
        self.times
    }

    /// Pauses, each time for longer.
    pub(super) async fn wait(&mut self, error: &StoreError) {
        if self.times == 0 {
            tracing::error!(%error, "nothing is acknowledged until the journal can be written again");
        }
        let pause = PAUSE_MIN.saturating_mul(1 << self.times.min(16)).min(PAUSE_MAX);
        self.times = self.times.saturating_add(1);
        tokio::time::sleep(pause).await;
    }

    /// What was written ends it. That something can be read does not: on a full disk, everything can.
    fn answered<R, S>(&mut self, answer: &Answer<R, S>) {
        let was_written = match answer {
            Answer::Created | Answer::Exists | Answer::Deleted | Answer::Found(_) => true,
            Answer::LastEpoch(_)
            | Answer::Absent
            | Answer::Damaged { .. }
            | Answer::Failed
            | Answer::Refused(_) => false,
        };
        if was_written && self.times > 0 {
            tracing::info!("the journal can be written again");
            self.times = 0;
        }
    }
}
