//! The journal's hands: carries out what [`windrow_scheduler::journal`] asks for, on a store of objects.
//!
//! ```text
//!  driver --Call--> runner --> store --put-if-absent, get, list--> object_store
//!         <-Answer--           codec: objects as bytes
//! ```
//!
//! It knows no protocol: which object comes next, whose it is and what an error means is decided there. It does not look into
//! records either. A coordinator without a folder for its state has a journal that nobody could ever read again: there,
//! nothing is written, and every answer comes at once.

mod codec;
pub(crate) mod fuzzing;
mod identity;
mod runner;
mod store;

use std::sync::Arc;

use object_store::ObjectStore;
use serde::Serialize;
use serde::de::DeserializeOwned;
use windrow_scheduler::journal::{Answer, Epoch, JournalError, Nonce, Recovered, Takeover};

pub(crate) use identity::{ClusterId, draw};
pub use runner::JournalGone;
pub(crate) use runner::{Journal, Written, answer_in_memory};
pub use store::StoreError;

use crate::failpoint::Failpoint;
use runner::Trouble;
use store::Store;

/// Errors of the store that a coordinator puts up with before it gives up starting.
const START_TRIES: u32 = 5;

/// Why a coordinator cannot start from its journal.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// It cannot be gone on with.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// It cannot be read or written, or only by another build.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system gives no random numbers.
    #[error("cannot draw a number: {0}")]
    Random(#[from] std::io::Error),
}

/// A journal that has been taken over.
pub(crate) struct Opened<R, S> {
    /// Whose it is.
    pub(crate) cluster: ClusterId,
    /// What it held.
    pub(crate) recovered: Recovered<R, S>,
    /// To go on with.
    pub(crate) journal: Journal<R, S>,
}

impl<R, S> Opened<R, S>
where
    R: Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
    S: Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
{
    /// A new journal that ends with this process.
    pub(crate) fn in_memory() -> Result<Self, RecoverError> {
        let cluster = ClusterId(draw()?);
        let nonce = Nonce(draw()?);
        let recovered = Recovered { epoch: Epoch(1), nonce, snapshot: None, batches: Vec::new() };
        Ok(Self { cluster, recovered, journal: Journal::in_memory() })
    }

    /// Takes over the journal in `objects`, or begins it.
    pub(crate) async fn take_over(
        objects: Arc<dyn ObjectStore>,
        build: String,
        failpoint: Failpoint,
    ) -> Result<Self, RecoverError> {
        let store = Store::open(objects, build, failpoint).await?;
        let mut takeover = Takeover::new(Nonce(draw()?));
        let mut trouble = Trouble::default();
        loop {
            let answer = match store.carry_out(&takeover.call()).await {
                Ok(answer) => answer,
                Err(error) if error.is_final() || trouble.times() == START_TRIES => {
                    return Err(error.into());
                }
                Err(error) => {
                    trouble.wait(&error).await;
                    Answer::Failed
                }
            };
            if let Some(recovered) = takeover.answer(answer)? {
                let cluster = store.cluster();
                return Ok(Self { cluster, recovered, journal: Journal::on(store) });
            }
        }
    }
}
