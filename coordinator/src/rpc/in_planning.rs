//! Submissions that are being planned, so that one that is told twice at the same time is planned once.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use windrow_scheduler::SubmissionId;

/// All submissions that are being planned. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct InPlanning(Arc<Shared>);

#[derive(Default)]
struct Shared {
    ids: Mutex<BTreeSet<SubmissionId>>,
    ended: Notify,
}

/// Until it is dropped, nobody else plans this submission.
pub(super) struct PlanningGuard {
    shared: Arc<Shared>,
    id: SubmissionId,
}

impl InPlanning {
    /// Waits until nobody else plans it.
    pub(super) async fn begin(&self, id: SubmissionId) -> PlanningGuard {
        loop {
            let ended = self.0.ended.notified();
            tokio::pin!(ended);
            // From here on it hears of every end, also of one between the look and the wait.
            ended.as_mut().enable();
            if self.0.change(|ids| ids.insert(id)) {
                return PlanningGuard { shared: Arc::clone(&self.0), id };
            }
            ended.await;
        }
    }
}

impl Shared {
    fn change(&self, change: impl FnOnce(&mut BTreeSet<SubmissionId>) -> bool) -> bool {
        change(&mut self.ids.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for PlanningGuard {
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
        let in_planning = InPlanning::default();
        let first = in_planning.begin(SubmissionId(1)).await;
        let _other = in_planning.begin(SubmissionId(2)).await;
        let second = in_planning.begin(SubmissionId(1));
        tokio::pin!(second);
        tokio::select! {
            biased;
            _ = &mut second => panic!("two plan the same"),
            () = tokio::task::yield_now() => {}
        }
        drop(first);
        second.await;
    }
}
