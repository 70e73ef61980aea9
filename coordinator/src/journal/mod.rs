//! The journal's hands: carries out what [`windrow_scheduler::journal`] asks for, on a store of
//! objects.
//!
//! ```text
//!  driver --Call--> runner --> store --put-if-absent, get, list--> object_store
//!         <-Answer--           codec: objects as bytes
//! ```
//!
//! Calls are carried out side by side. It knows no protocol: which object comes next, whose it is
//! and what an error means is decided there. It does not look into records either. A coordinator
//! without a folder for its state has a journal that nobody could ever read again: there, nothing
//! is written, and nothing is asked for.

mod codec;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod identity;
mod pinned_folder;
mod runner;
mod store;

use std::sync::Arc;

use object_store::ObjectStore;
use serde::Serialize;
use serde::de::DeserializeOwned;
use windrow_scheduler::journal::{
    Answer, Content, Epoch, JournalError, Nonce, Recovered, Takeover,
};

pub(crate) use identity::{ClusterId, draw};
pub(crate) use pinned_folder::PinnedFolder;
pub use runner::JournalGone;
pub(crate) use runner::{Journal, WriteTotals};
pub use store::StoreError;

use crate::failpoint::Failpoint;
use runner::Runner;
use store::Store;

/// Errors of the store in a row that a coordinator puts up with before it gives up starting.
const START_TRIES: u32 = 5;
const _: () = assert!(START_TRIES > 1, "a single error is no reason to stay away");

/// Why a coordinator cannot start from its journal.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// It cannot be gone on with.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// It cannot be read or written, or only by another build.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something of this program ended in the middle of it.
    #[error(transparent)]
    Gone(#[from] JournalGone),
    /// The system gives no random numbers.
    #[error("cannot draw a number: {0}")]
    Random(#[from] std::io::Error),
}

/// A journal that has been taken over.
pub(crate) struct Opened<R, S, P> {
    /// Whose it is.
    pub(crate) cluster: ClusterId,
    /// What it held.
    pub(crate) recovered: Recovered<R, S, P>,
    /// To go on with.
    pub(crate) journal: Journal<R, S, P>,
}

impl<R, S, P> Opened<R, S, P>
where
    R: Clone + Content + Serialize + DeserializeOwned + Send + Sync + 'static,
    S: Clone + Content + Serialize + DeserializeOwned + Send + Sync + 'static,
    P: Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
{
    /// A new journal that ends with this process.
    pub(crate) fn in_memory() -> Result<Self, RecoverError> {
        let cluster = ClusterId(draw()?);
        let recovered = Recovered::empty(Epoch(1), Nonce(draw()?));
        Ok(Self { cluster, recovered, journal: Journal::in_memory() })
    }

    /// Takes over the journal in `objects`, or begins it. `home`: the folder in which they lie, if
    /// they do.
    pub(crate) async fn take_over(
        objects: Arc<dyn ObjectStore>,
        home: Option<PinnedFolder>,
        build: String,
        failpoint: Failpoint,
    ) -> Result<Self, RecoverError> {
        let store = Arc::new(open(objects, home, build, failpoint).await?);
        let mut takeover = Takeover::new(Nonce(draw()?));
        let mut runner = Runner::new(Arc::clone(&store));
        loop {
            while let Some((id, call)) = takeover.next_call() {
                runner.start(id, call);
            }
            let (id, result) = runner.answered().await?;
            let answer = match result {
                Ok(answer) => {
                    // Whoever only reads is content with what can be read.
                    if !takeover.has_begun() {
                        runner.trouble().over();
                    }
                    answer
                }
                // Whoever was in charge is fenced once the epoch has begun: then only patience is
                // left.
                Err(error)
                    if error.is_final()
                        || runner.trouble().times() >= START_TRIES && !takeover.has_begun() =>
                {
                    return Err(error.into());
                }
                Err(_) => Answer::Failed,
            };
            if let Some(recovered) = takeover.answer(id, answer)? {
                debug_assert!(takeover.has_begun(), "what was looked at only may be another's");
                debug_assert!(
                    recovered.epoch > Epoch(0),
                    "epoch 0 is what a folder without one has"
                );
                let cluster = store.cluster();
                return Ok(Self { cluster, recovered, journal: Journal::on(store) });
            }
        }
    }
}

async fn open(
    objects: Arc<dyn ObjectStore>,
    home: Option<PinnedFolder>,
    build: String,
    failpoint: Failpoint,
) -> Result<Store, StoreError> {
    let mut tries = 1;
    loop {
        let open = Store::open(objects.clone(), home.clone(), build.clone(), failpoint.clone());
        debug_assert!(tries <= START_TRIES, "it gives up some time");
        match open.await {
            Err(error) if !error.is_final() && tries < START_TRIES => {
                tracing::warn!(%error, "trying again");
                tokio::time::sleep(runner::PAUSE_MIN.saturating_mul(1 << tries)).await;
                tries += 1;
            }
            opened => return opened,
        }
    }
}
