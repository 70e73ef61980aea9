//! The memory budget: every large buffer of the data plane is accounted for here.
//!
//! An account has a limit and perhaps a parent, so that a job's buffers count against the job's
//! limit and the worker's. It only counts: it neither allocates nor blocks. A caller whose
//! reservation is refused spills.
//!
//! The worker's own account also reads the heap's size, where that is counted: memory of user code
//! leaves less.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub mod heap;

/// Unaccounted heap of a process that does not yet count as user code's.
const PROCESS_BYTES: u64 = 16 << 20;

/// A limit in bytes, and the bytes reserved of it. Clones share one count.
#[derive(Clone)]
pub(crate) struct Account {
    inner: Arc<Inner>,
}

struct Inner {
    limit: Limit,
    used_bytes: AtomicU64,
    parent: Option<Account>,
    /// Whether growth is refused while the heap is much larger than the limit.
    watches_heap: bool,
}

enum Limit {
    /// A number of bytes, which can be changed.
    Bytes(AtomicU64),
    /// A percentage of the parent's limit.
    Percent(u64),
}

impl Account {
    /// An account without a parent.
    #[cfg(test)]
    pub fn new(limit_bytes: u64) -> Self {
        Self::with(Limit::Bytes(limit_bytes.into()), None, false)
    }

    /// An account that also refuses growth while the heap of this process exceeds the limit by some
    /// margin, accounted for or not.
    pub fn of_process(limit_bytes: u64) -> Self {
        Self::with(Limit::Bytes(limit_bytes.into()), None, true)
    }

    /// An account whose reservations count against this one, too.
    pub fn child(&self, limit_bytes: u64) -> Self {
        Self::with(Limit::Bytes(limit_bytes.into()), Some(self.clone()), false)
    }

    /// An account with so many percent of this one's limit, which counts against this one, too.
    pub fn share(&self, percent: u64) -> Self {
        Self::with(Limit::Percent(percent), Some(self.clone()), false)
    }

    fn with(limit: Limit, parent: Option<Self>, watches_heap: bool) -> Self {
        let used_bytes = AtomicU64::new(0);
        Self { inner: Arc::new(Inner { limit, used_bytes, parent, watches_heap }) }
    }

    /// Most bytes that should be reserved at once, by the limits of this account and its parents.
    pub fn limit_bytes(&self) -> u64 {
        let parents = self.inner.parent.as_ref().map_or(u64::MAX, Self::limit_bytes);
        match &self.inner.limit {
            Limit::Bytes(bytes) => bytes.load(Ordering::Relaxed).min(parents),
            Limit::Percent(percent) => (u128::from(parents) * u128::from(*percent) / 100) as u64,
        }
    }

    /// Changes the limit of an account that has one in bytes. Reservations stay; growth is judged
    /// by the new limit.
    pub fn set_limit_bytes(&self, limit_bytes: u64) {
        if let Limit::Bytes(bytes) = &self.inner.limit {
            bytes.store(limit_bytes, Ordering::Relaxed);
        }
    }

    /// Whether this account, regardless of its parents, has room for `bytes` more.
    pub fn has_room(&self, bytes: u64) -> bool {
        let used = self.inner.used_bytes.load(Ordering::Relaxed);
        used.saturating_add(bytes) <= self.limit_bytes()
    }

    /// The bytes that are reserved now.
    #[cfg(test)]
    pub fn used_bytes(&self) -> u64 {
        self.inner.used_bytes.load(Ordering::Relaxed)
    }

    /// Reserves `bytes` even beyond the limit: for buffers without which no work can go on, and of
    /// which there are only as many as attempts and threads. Work on behalf of others uses
    /// [`Reservation::try_resize`].
    pub fn reserve(&self, bytes: u64) -> Reservation {
        self.add(bytes);
        Reservation { account: self.clone(), bytes }
    }

    fn add(&self, bytes: u64) {
        self.inner.used_bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Some(parent) = &self.inner.parent {
            parent.add(bytes);
        }
    }

    fn try_add(&self, bytes: u64) -> bool {
        let Inner { used_bytes, parent, watches_heap, .. } = &*self.inner;
        let limit_bytes = self.limit_bytes();
        let heap_bytes = if *watches_heap { heap::heap_bytes() } else { 0 };
        if heap_bytes.saturating_add(bytes) > limit_bytes.saturating_add(PROCESS_BYTES) {
            return false;
        }
        let within = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= limit_bytes);
        if used_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).is_err() {
            return false;
        }
        let granted = parent.as_ref().is_none_or(|parent| parent.try_add(bytes));
        if !granted {
            used_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        granted
    }

    fn subtract(&self, bytes: u64) {
        let used_bytes = self.inner.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(used_bytes >= bytes, "a reservation is released once only");
        if let Some(parent) = &self.inner.parent {
            parent.subtract(bytes);
        }
    }
}

/// Memory that is reserved until this is dropped.
pub(crate) struct Reservation {
    account: Account,
    bytes: u64,
}

impl Reservation {
    /// The account that it counts against.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Bytes that are reserved.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes over the bytes of another reservation of the same account: at no time are they free.
    pub fn absorb(&mut self, mut other: Self) {
        debug_assert!(
            Arc::ptr_eq(&self.account.inner, &other.account.inner),
            "both reservations are of the same account"
        );
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Moves up to `bytes` of it to a new reservation.
    pub fn split(&mut self, bytes: u64) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self { account: self.account.clone(), bytes }
    }

    /// Changes the size. Growth beyond the limit is refused, and nothing changes then.
    #[must_use]
    pub fn try_resize(&mut self, bytes: u64) -> bool {
        if bytes > self.bytes && !self.account.try_add(bytes - self.bytes) {
            return false;
        }
        self.account.subtract(self.bytes.saturating_sub(bytes));
        self.bytes = bytes;
        true
    }

    /// Changes the size regardless of the limit.
    pub fn resize(&mut self, bytes: u64) {
        self.account.add(bytes.saturating_sub(self.bytes));
        self.account.subtract(self.bytes.saturating_sub(bytes));
        self.bytes = bytes;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.account.subtract(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_refused_at_the_limit_and_changes_nothing() {
        let account = Account::new(100);
        let mut a = account.reserve(60);
        let mut b = account.reserve(0);
        assert!(b.try_resize(40));
        assert!(!a.try_resize(61));
        assert_eq!(account.used_bytes(), 100);
        assert!(b.try_resize(10));
        assert!(a.try_resize(90));
        drop((a, b));
        assert_eq!(account.used_bytes(), 0);
    }

    #[test]
    fn a_changed_limit_applies_to_the_next_growth() {
        let process = Account::new(100);
        let job = process.child(80);
        let pairs = job.share(50);
        assert_eq!((job.limit_bytes(), pairs.limit_bytes()), (80, 40));
        process.set_limit_bytes(1_000);
        let pairs = process.child(800).share(50);
        assert_eq!(pairs.limit_bytes(), 400);
        let mut held = pairs.reserve(0);
        assert!(held.try_resize(400));
        process.set_limit_bytes(400);
        assert_eq!((pairs.limit_bytes(), pairs.has_room(0)), (200, false));
        assert!(!held.try_resize(401) && held.try_resize(150) && held.try_resize(200));
        process.set_limit_bytes(1_000);
        assert!(held.try_resize(400));
    }

    #[test]
    fn a_child_is_bounded_by_its_own_limit_and_by_its_parents() {
        let worker = Account::new(100);
        let (one, two) = (worker.child(80), worker.child(80));
        let mut a = one.reserve(0);
        let mut b = two.reserve(0);
        assert!(!a.try_resize(81), "own limit");
        assert!(a.try_resize(70));
        assert!(!b.try_resize(31), "parent's limit");
        assert_eq!((two.used_bytes(), worker.used_bytes()), (0, 70));
        b.resize(50);
        assert_eq!(worker.used_bytes(), 120);
        drop((a, b));
        assert_eq!((one.used_bytes(), two.used_bytes(), worker.used_bytes()), (0, 0, 0));
    }
}
