//! A limit on concurrency, with a lower one for each submitter, so that one submitter cannot make
//! all others wait.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

/// Most waiting calls of one submitter: one for each connection that a member may have. Each holds
/// the part of its request that has arrived.
const WAITING_OF_ONE_MAX: usize = 1 << 10;

/// The limit. Cheap to clone; clones count together.
#[derive(Clone)]
pub(super) struct FairLimit {
    all: Arc<Semaphore>,
    of_one_max: usize,
    /// Submitters with a permit or a waiting call.
    of_one: Arc<Mutex<BTreeMap<String, SubmitterLimit>>>,
}

/// The limit of one submitter. Cheap to clone.
#[derive(Clone)]
struct SubmitterLimit {
    turns: Arc<Semaphore>,
    /// Bounds the calls that wait.
    places: Arc<Semaphore>,
}

impl SubmitterLimit {
    /// Whether anybody holds or waits for a permit: the map's own clone is one reference to each.
    fn is_used(&self) -> bool {
        Arc::strong_count(&self.turns) > 1 || Arc::strong_count(&self.places) > 1
    }
}

/// A permit, until it is dropped.
pub(super) struct FairPermit {
    _own: Option<OwnedSemaphorePermit>,
    _of_all: OwnedSemaphorePermit,
}

impl FairLimit {
    pub(super) fn new(most: usize, of_one_max: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(most)), of_one_max, of_one: Arc::default() }
    }

    /// Waits behind others of the same submitter, if the submitter is known, and then behind
    /// everybody. Refused where too many calls of that submitter wait already.
    pub(super) async fn take(&self, submitter: Option<&str>) -> Result<FairPermit, Status> {
        self.take_many(submitter, 1).await
    }

    /// Takes this many permits at once.
    pub(super) async fn take_many(
        &self,
        submitter: Option<&str>,
        count: u32,
    ) -> Result<FairPermit, Status> {
        let Some(submitter) = submitter else {
            return Ok(FairPermit {
                _own: None,
                _of_all: permits(Arc::clone(&self.all), count).await?,
            });
        };
        let SubmitterLimit { turns, places } = self.of_submitter(submitter);
        let _place = places.try_acquire_owned().map_err(|_| too_many_wait(submitter))?;
        let own = permits(turns, count).await?;
        Ok(FairPermit { _own: Some(own), _of_all: permits(Arc::clone(&self.all), count).await? })
    }

    fn of_submitter(&self, submitter: &str) -> SubmitterLimit {
        let mut all = self.of_one.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, of_one| of_one.is_used());
        let new = || SubmitterLimit {
            turns: Arc::new(Semaphore::new(self.of_one_max)),
            places: Arc::new(Semaphore::new(WAITING_OF_ONE_MAX)),
        };
        all.entry(submitter.to_string()).or_insert_with(new).clone()
    }

    /// The number of free permits.
    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.all.available_permits()
    }
}

async fn permits(turns: Arc<Semaphore>, count: u32) -> Result<OwnedSemaphorePermit, Status> {
    turns.acquire_many_owned(count).await.map_err(|closed| Status::internal(closed.to_string()))
}

fn too_many_wait(submitter: &str) -> Status {
    Status::resource_exhausted(format!(
        "{WAITING_OF_ONE_MAX} calls of {submitter} are waiting, which is the most; wait for their answers"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_submitter_leaves_permits_to_others() {
        let turns = FairLimit::new(4, 2);
        let taken = [turns.take(Some("a")).await.unwrap(), turns.take(Some("a")).await.unwrap()];
        let third = turns.take(Some("a"));
        tokio::pin!(third);
        tokio::select! {
            biased;
            _ = &mut third => panic!("a third permit for the same submitter"),
            () = tokio::task::yield_now() => {}
        }
        turns.take(Some("b")).await.unwrap();
        let unknown = [turns.take(None).await.unwrap(), turns.take(None).await.unwrap()];
        assert_eq!(turns.free(), 0);
        drop((taken, unknown));
        third.await.unwrap();
        turns.take(Some("b")).await.unwrap();
        assert!(turns.of_one.lock().unwrap().len() <= 2, "unused entries are forgotten");
    }

    #[tokio::test]
    async fn one_call_too_many_of_a_submitter_is_refused() {
        let turns = FairLimit::new(1, 1);
        let taken = turns.take(Some("a")).await.unwrap();
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..WAITING_OF_ONE_MAX + 1 {
            let turns = turns.clone();
            waiting.spawn(async move { turns.take(Some("a")).await.map(drop) });
        }
        let refused = waiting.join_next().await.unwrap().unwrap().unwrap_err();
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
        let other = tokio::spawn({
            let turns = turns.clone();
            async move { turns.take(Some("b")).await.map(drop) }
        });
        drop(taken);
        while let Some(waited) = waiting.join_next().await {
            waited.unwrap().unwrap();
        }
        other.await.unwrap().unwrap();
        turns.take(Some("a")).await.unwrap();
    }
}
