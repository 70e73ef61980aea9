//! A lock for work that needs much memory because single records are large: one thread at a time.
//!
//! A holder may be cancelled and not notice, because user code hangs. Its guard then no longer
//! counts, and the next thread gets the lock.

use std::sync::{Condvar, Mutex};

use tokio_util::sync::CancellationToken;
use windrow_jobs::FailureCause;

use crate::sync::{lock, wait_while};

/// Lets one thread at a time process large records.
#[derive(Default)]
pub(crate) struct LargeRecordLock {
    state: Mutex<State>,
    left: Condvar,
}

#[derive(Default)]
struct State {
    /// Number of the guard, and the token that cancels its holder.
    inside: Option<(u64, CancellationToken)>,
    guards: u64,
}

/// Holds the lock until it is dropped.
pub(crate) struct LargeRecordGuard<'a> {
    lock: &'a LargeRecordLock,
    number: u64,
}

impl LargeRecordLock {
    /// Waits until the lock is free, or until `check` fails. `cancel` is the token that ends the
    /// new holder.
    pub fn enter(
        &self,
        cancel: &CancellationToken,
        check: impl Fn() -> Result<(), FailureCause>,
    ) -> Result<LargeRecordGuard<'_>, FailureCause> {
        let is_taken =
            |state: &State| state.inside.as_ref().is_some_and(|(_, owner)| !owner.is_cancelled());
        let mut state = wait_while(&self.left, lock(&self.state), is_taken, check)?;
        state.guards += 1;
        let number = state.guards;
        state.inside = Some((number, cancel.clone()));
        Ok(LargeRecordGuard { lock: self, number })
    }
}

impl Drop for LargeRecordGuard<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.lock.state);
        if state.inside.as_ref().is_some_and(|(number, _)| *number == self.number) {
            state.inside = None;
            self.lock.left.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn one_holder_at_a_time() {
        let (large_records, inside) = (LargeRecordLock::default(), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let _guard =
                            large_records.enter(&CancellationToken::new(), || Ok(())).unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
    }

    #[test]
    fn waiting_can_be_stopped_and_a_cancelled_holder_does_not_count() {
        let large_records = LargeRecordLock::default();
        let owner = CancellationToken::new();
        let first = large_records.enter(&owner, || Ok(())).unwrap();
        let other = CancellationToken::new();
        let stopped = large_records.enter(&other, || Err(FailureCause::Cancelled));
        assert_eq!(stopped.err(), Some(FailureCause::Cancelled));
        owner.cancel();
        let second = large_records.enter(&other, || Err(FailureCause::Cancelled)).unwrap();
        drop(first);
        let third = large_records.enter(&other, || Err(FailureCause::Cancelled));
        assert!(third.is_err(), "the second still holds it");
        drop(second);
        assert!(large_records.enter(&other, || Err(FailureCause::Cancelled)).is_ok());
    }
}
