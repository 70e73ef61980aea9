//! The memory budget: every large buffer of the data plane is accounted for here.
//!
//! An account has a limit and perhaps a parent, so that a job's buffers count against the job's limit and the
//! worker's. It only counts: it neither allocates nor makes anybody wait. Whoever is refused spills.
//!
//! The worker's own account looks at the heap as well, where that is counted: what user code holds leaves less.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub mod heap;

/// What a process may have on its heap beside what is accounted for, before it counts as user code's.
const PROCESS_BYTES: u64 = 16 << 20;

/// A limit in bytes and what is reserved of it. Clones share one count.
#[derive(Clone)]
pub(crate) struct Account {
    inner: Arc<Inner>,
}

struct Inner {
    limit_bytes: u64,
    used_bytes: AtomicU64,
    parent: Option<Account>,
    /// Nothing may grow while the heap holds more than this.
    heap_limit_bytes: u64,
}

impl Account {
    /// An account of its own.
    #[cfg(test)]
    pub fn new(limit_bytes: u64) -> Self {
        Self::with_parent(limit_bytes, None, u64::MAX)
    }

    /// An account that also refuses growth while the heap of this process is larger than the limit and a little, be it
    /// accounted for or not.
    pub fn of_process(limit_bytes: u64) -> Self {
        Self::with_parent(limit_bytes, None, limit_bytes.saturating_add(PROCESS_BYTES))
    }

    /// An account whose reservations count against this one too.
    pub fn child(&self, limit_bytes: u64) -> Self {
        Self::with_parent(limit_bytes.min(self.limit_bytes()), Some(self.clone()), u64::MAX)
    }

    fn with_parent(limit_bytes: u64, parent: Option<Self>, heap_limit_bytes: u64) -> Self {
        let used_bytes = AtomicU64::new(0);
        Self { inner: Arc::new(Inner { limit_bytes, used_bytes, parent, heap_limit_bytes }) }
    }

    /// Most that should be reserved at once.
    pub fn limit_bytes(&self) -> u64 {
        self.inner.limit_bytes
    }

    /// Whether this account, whatever its parents say, has room for `bytes` more.
    pub fn has_room(&self, bytes: u64) -> bool {
        let used = self.inner.used_bytes.load(Ordering::Relaxed);
        used.saturating_add(bytes) <= self.inner.limit_bytes
    }

    /// What is reserved now.
    #[cfg(test)]
    pub fn used_bytes(&self) -> u64 {
        self.inner.used_bytes.load(Ordering::Relaxed)
    }

    /// Reserves `bytes` though the limit may be exceeded: for buffers without which no work can go on. They are
    /// few and of bounded size.
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
        let Inner { limit_bytes, used_bytes, parent, heap_limit_bytes } = &*self.inner;
        if heap::heap_bytes().saturating_add(bytes) > *heap_limit_bytes {
            return false;
        }
        let within = |used: u64| used.checked_add(bytes).filter(|sum| sum <= limit_bytes);
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
        self.inner.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(parent) = &self.inner.parent {
            parent.subtract(bytes);
        }
    }
}

/// Memory that is spoken for until this is dropped.
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

    /// Takes over what another reservation of the same account has: at no time is any of it free.
    pub fn absorb(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Changes the size. Growth beyond the limit is refused, and then nothing changes.
    #[must_use]
    pub fn try_resize(&mut self, bytes: u64) -> bool {
        if bytes > self.bytes && !self.account.try_add(bytes - self.bytes) {
            return false;
        }
        self.account.subtract(self.bytes.saturating_sub(bytes));
        self.bytes = bytes;
        true
    }

    /// Changes the size whatever the limit.
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
