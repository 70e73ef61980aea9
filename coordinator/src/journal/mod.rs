//! The journal's I/O: carries out the calls of [`windrow_scheduler::journal`] on a store of
//! objects.
//!
//! ```text
//!  driver --Call--> runner --> store --put-if-absent, get, list--> object_store
//!         <-Answer--           codec: objects as bytes
//! ```
//!
//! Calls run concurrently. This module knows no protocol: the scheduler decides which object comes
//! next, whose it is and what an error means. Nor does it look into records. A coordinator without
//! a state folder needs no journal: nothing is written, and nothing is called.

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

/// Errors of the store in a row after which a coordinator gives up starting.
const START_TRIES: u32 = 5;
const _: () = assert!(START_TRIES > 1, "a single error must not end the start");

/// Why a coordinator cannot start from its journal.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The journal cannot be continued.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The journal cannot be read or written, or only by another build.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A task of this program ended in the middle of it.
    #[error(transparent)]
    Gone(#[from] JournalGone),
    /// The system provides no random numbers.
    #[error("the system provides no random numbers: {0}")]
    Random(#[from] std::io::Error),
}

/// A journal that has been taken over.
pub(crate) struct Opened<R, S, P> {
    /// The journal's cluster.
    pub(crate) cluster: ClusterId,
    /// The recovered state.
    pub(crate) recovered: Recovered<R, S, P>,
    /// The journal to continue with.
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

    /// Takes over the journal in `objects`, or begins it. `home` is their folder, if they are in
    /// one.
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
                    // Before the epoch has begun, reading is enough.
                    if !takeover.has_begun() {
                        runner.errors().over();
                    }
                    answer
                }
                // Once the epoch has begun, the predecessor is fenced: giving up would leave nobody
                // in charge.
                Err(error)
                    if error.is_final()
                        || runner.errors().times() >= START_TRIES && !takeover.has_begun() =>
                {
                    return Err(error.into());
                }
                Err(_) => Answer::Failed,
            };
            if let Some(recovered) = takeover.answer(id, answer)? {
                debug_assert!(
                    takeover.has_begun(),
                    "a journal that was only read may be another coordinator's"
                );
                debug_assert!(recovered.epoch > Epoch(0), "epoch 0 means no epoch");
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
        debug_assert!(tries <= START_TRIES, "the takeover gives up at some point");
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
