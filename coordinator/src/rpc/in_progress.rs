//! What is being done: submissions that are planned, blobs that are uploaded. One that is told
//! twice at the same time is done once.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// All that is being done, by its name.
pub(crate) struct InProgress<K: Ord>(Arc<Shared<K>>);

struct Shared<K> {
    ids: Mutex<BTreeSet<K>>,
    ended: Notify,
}

/// Until it is dropped, nobody else does this.
pub(super) struct InProgressGuard<K: Ord> {
    shared: Arc<Shared<K>>,
    id: K,
}

impl<K: Ord> Default for InProgress<K> {
    fn default() -> Self {
        Self(Arc::new(Shared { ids: Mutex::default(), ended: Notify::new() }))
    }
}

impl<K: Ord + Copy> InProgress<K> {
    /// Waits until nobody else does it.
    pub(super) async fn begin(&self, id: K) -> InProgressGuard<K> {
        loop {
            let ended = self.0.ended.notified();
            tokio::pin!(ended);
            // From here on it hears of every end, also of one between the look and the wait.
            ended.as_mut().enable();
            if self.0.change(|ids| ids.insert(id)) {
                return InProgressGuard { shared: Arc::clone(&self.0), id };
            }
            ended.await;
        }
    }
}

impl<K: Ord> Shared<K> {
    fn change(&self, change: impl FnOnce(&mut BTreeSet<K>) -> bool) -> bool {
        change(&mut self.ids.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<K: Ord> Drop for InProgressGuard<K> {
    fn drop(&mut self) {
        self.shared.change(|ids| ids.remove(&self.id));
        self.shared.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_second_waits_for_the_first_and_others_do_not() {
        let in_progress = InProgress::default();
        let first = in_progress.begin(1).await;
        let _other = in_progress.begin(2).await;
        let second = in_progress.begin(1);
        tokio::pin!(second);
        tokio::select! {
            biased;
            _ = &mut second => panic!("two do the same"),
            () = tokio::task::yield_now() => {}
        }
        drop(first);
        second.await;
    }
}
