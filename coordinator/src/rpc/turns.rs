//! So many at once, and fewer of one submitter, so that others need not wait for one of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

/// All turns. Cheap to clone; clones count together.
#[derive(Clone)]
pub(super) struct Turns {
    all: Arc<Semaphore>,
    of_one_max: usize,
    /// By submitter; of those who have a turn, or wait for one.
    of_one: Arc<Mutex<BTreeMap<String, Weak<Semaphore>>>>,
}

/// A turn, until it is dropped.
pub(super) struct Turn {
    _own: Option<OwnedSemaphorePermit>,
    _of_all: OwnedSemaphorePermit,
}

impl Turns {
    pub(super) fn new(most: usize, of_one_max: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(most)), of_one_max, of_one: Arc::default() }
    }

    /// Waits behind others of the same submitter, if they are known, and then behind everybody.
    pub(super) async fn take(&self, submitter: Option<&str>) -> Result<Turn, Status> {
        self.take_many(submitter, 1).await
    }

    /// As many, at once.
    pub(super) async fn take_many(
        &self,
        submitter: Option<&str>,
        count: u32,
    ) -> Result<Turn, Status> {
        let own = match submitter {
            Some(submitter) => Some(permits(self.of_submitter(submitter), count).await?),
            None => None,
        };
        Ok(Turn { _own: own, _of_all: permits(Arc::clone(&self.all), count).await? })
    }

    fn of_submitter(&self, submitter: &str) -> Arc<Semaphore> {
        let mut all = self.of_one.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, turns| turns.strong_count() > 0);
        if let Some(turns) = all.get(submitter).and_then(Weak::upgrade) {
            return turns;
        }
        let turns = Arc::new(Semaphore::new(self.of_one_max));
        all.insert(submitter.to_string(), Arc::downgrade(&turns));
        turns
    }

    /// How many are free.
    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.all.available_permits()
    }
}

async fn permits(turns: Arc<Semaphore>, count: u32) -> Result<OwnedSemaphorePermit, Status> {
    turns.acquire_many_owned(count).await.map_err(|closed| Status::internal(closed.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_submitter_leaves_turns_to_others() {
        let turns = Turns::new(4, 2);
        let taken = [turns.take(Some("a")).await.unwrap(), turns.take(Some("a")).await.unwrap()];
        let third = turns.take(Some("a"));
        tokio::pin!(third);
        tokio::select! {
            biased;
            _ = &mut third => panic!("a third one of the same submitter"),
            () = tokio::task::yield_now() => {}
        }
        turns.take(Some("b")).await.unwrap();
        let unknown = [turns.take(None).await.unwrap(), turns.take(None).await.unwrap()];
        assert_eq!(turns.free(), 0);
        drop((taken, unknown));
        third.await.unwrap();
        turns.take(Some("b")).await.unwrap();
        assert!(turns.of_one.lock().unwrap().len() <= 2, "what nobody uses is forgotten");
    }
}
