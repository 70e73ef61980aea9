//! Work in progress: submissions being planned, blobs being uploaded. Two equal requests at the
//! same time are carried out one after the other.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// All work in progress, by its name.
pub(crate) struct InProgress<K: Ord>(Arc<Shared<K>>);

struct Shared<K> {
    ids: Mutex<BTreeSet<K>>,
    ended: Notify,
}

/// Until it is dropped, no other caller begins the same work.
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
    /// Waits until no other caller is at the same work.
    pub(super) async fn begin(&self, id: K) -> InProgressGuard<K> {
        loop {
            let ended = self.0.ended.notified();
            tokio::pin!(ended);
            // Registered before the look, so that an end between look and wait is not missed.
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
            _ = &mut second => panic!("two callers do the same work"),
            () = tokio::task::yield_now() => {}
        }
        drop(first);
        second.await;
    }
}
