//! A bounded list of waiting connections from which nobody can keep others out (longest-queue
//! drop).
//!
//! Each connection belongs to an owner: an address, or a job. When the list is full, a newcomer
//! evicts a connection of the owner that has most of them: the one with least progress, and of
//! those the oldest. So a flood evicts itself, and a caller from the same address stays if it soon
//! says what it wants. Each connection has a short grace period; without it, every newcomer would
//! be evicted first, being silent among those that have spoken.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// While it lasts, no connection counts as silent: many workers may connect at once, and each needs
/// a moment to speak.
const GRACE: Duration = Duration::from_millis(250);

/// What a connection has shown so far. The least progress is evicted first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Progress {
    /// It has sent no byte.
    Silent,
    /// It has sent its first byte. A newcomer, without a certificate, stays at this.
    Speaking,
    /// Its owner is known.
    Known,
}

/// The owner of connections from an address. An IPv6 /64 network is one owner, since it is given to
/// one customer.
pub fn origin(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

/// The waiting connections. Cheap to clone; clones share the list.
pub struct WaitingList<K>(Arc<Shared<K>>);

impl<K> Clone for WaitingList<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Shared<K> {
    table: Mutex<Table<K>>,
    left: Notify,
}

struct Table<K> {
    most: usize,
    most_of_one: usize,
    count: usize,
    entered: u64,
    by_owner: BTreeMap<K, BTreeMap<(Progress, u64), Entry>>,
}

struct Entry {
    since: Instant,
    evicted: CancellationToken,
}

/// What happens to a connection that arrives.
enum Entering {
    Entered(u64, CancellationToken),
    /// All are within their grace period: there is room when one leaves, or at this time.
    Wait(Instant),
}

impl<K: Ord + Clone> WaitingList<K> {
    /// A list of up to `most` connections, and half as many of one owner.
    pub fn new(most: usize) -> Self {
        let most = most.max(2);
        let table =
            Table { most, most_of_one: most / 2, count: 0, entered: 0, by_owner: BTreeMap::new() };
        Self(Arc::new(Shared { table: Mutex::new(table), left: Notify::new() }))
    }

    /// Adds a connection, and evicts another one if the list is full. Waits at most for the grace
    /// period.
    pub async fn enter(&self, owner: K) -> WaitingGuard<K> {
        loop {
            let left = self.0.left.notified();
            let entering = self.table().enter(&owner, Instant::now());
            match entering {
                Entering::Entered(number, evicted) => {
                    let (list, progress) = (self.clone(), Progress::Silent);
                    return WaitingGuard { list, owner, progress, number, evicted };
                }
                Entering::Wait(until) => drop(timeout_at(until, left).await),
            }
        }
    }

    /// The number of waiting connections.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.table().count
    }

    fn table(&self) -> MutexGuard<'_, Table<K>> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Ord + Clone> Table<K> {
    fn enter(&mut self, owner: &K, now: Instant) -> Entering {
        let of_owner = self.by_owner.get(owner).map_or(0, BTreeMap::len);
        if of_owner >= self.most_of_one {
            self.evict_of(owner, now);
        } else if self.count >= self.most {
            match self.next_to_go(owner, now) {
                Some((_, seated)) if now < seated + GRACE => return Entering::Wait(seated + GRACE),
                Some((owner, _)) => self.evict_of(&owner, now),
                None => debug_assert!(false, "a full list has an owner"),
            }
        }
        self.entered += 1;
        self.count += 1;
        let evicted = CancellationToken::new();
        let entry = Entry { since: now, evicted: evicted.clone() };
        let of_owner = self.by_owner.entry(owner.clone()).or_default();
        of_owner.insert((Progress::Silent, self.entered), entry);
        debug_assert!(self.count <= self.most, "there was room, or one was evicted");
        Entering::Entered(self.entered, evicted)
    }

    /// The owner whose connection is evicted for one of `comer`, whose new connection counts
    /// already; and since when that connection has waited.
    fn next_to_go(&self, comer: &K, now: Instant) -> Option<(K, Instant)> {
        let most = self.by_owner.iter().max_by_key(|(owner, of_owner)| {
            let count = of_owner.len() + usize::from(*owner == comer);
            (count, Reverse(next_of(of_owner, now).map(|(order, _)| order)))
        });
        let (owner, of_owner) = most?;
        let (_, key) = next_of(of_owner, now)?;
        Some((owner.clone(), of_owner.get(&key)?.since))
    }

    fn evict_of(&mut self, owner: &K, now: Instant) {
        let next = self.by_owner.get(owner).and_then(|of_owner| next_of(of_owner, now));
        let entry = next.and_then(|(_, key)| self.leave(owner, key));
        debug_assert!(entry.is_some(), "the owner with most connections has at least one");
        if let Some(entry) = entry {
            entry.evicted.cancel();
        }
    }

    /// Removes an entry; `None` if it was evicted before.
    fn leave(&mut self, owner: &K, key: (Progress, u64)) -> Option<Entry> {
        let of_owner = self.by_owner.get_mut(owner)?;
        let entry = of_owner.remove(&key)?;
        if of_owner.is_empty() {
            self.by_owner.remove(owner);
        }
        self.count -= 1;
        Some(entry)
    }

    fn advance(&mut self, owner: &K, number: u64, from: Progress, to: Progress) {
        let Some(of_owner) = self.by_owner.get_mut(owner) else { return };
        if let Some(entry) = of_owner.remove(&(from, number)) {
            of_owner.insert((to, number), entry);
        }
    }
}

/// The connection of an owner that is evicted next, and its rank among those of other owners.
fn next_of(
    of_owner: &BTreeMap<(Progress, u64), Entry>,
    now: Instant,
) -> Option<((Progress, u64), (Progress, u64))> {
    let progress = [Progress::Silent, Progress::Speaking, Progress::Known];
    let oldest = |progress| of_owner.range((progress, 0)..=(progress, u64::MAX)).next();
    let order = |(&key, entry): (&(Progress, u64), &Entry)| {
        let (progress, number) = key;
        let is_new = progress == Progress::Silent && now < entry.since + GRACE;
        ((if is_new { Progress::Speaking } else { progress }, number), key)
    };
    progress.into_iter().filter_map(oldest).map(order).min()
}

/// A place in the list, until it is dropped.
pub struct WaitingGuard<K: Ord + Clone> {
    list: WaitingList<K>,
    owner: K,
    progress: Progress,
    number: u64,
    evicted: CancellationToken,
}

impl<K: Ord + Clone> WaitingGuard<K> {
    /// Records that the connection has shown more.
    pub fn advance(&mut self, progress: Progress) {
        self.list.table().advance(&self.owner, self.number, self.progress, progress);
        self.progress = progress;
    }

    /// Fires when the connection is evicted.
    pub fn evicted(&self) -> CancellationToken {
        self.evicted.clone()
    }
}

impl<K: Ord + Clone> Drop for WaitingGuard<K> {
    fn drop(&mut self) {
        if self.list.table().leave(&self.owner, (self.progress, self.number)).is_some() {
            self.list.0.left.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: u8 = 1;
    const B: u8 = 2;

    fn gone(members: &[WaitingGuard<u8>]) -> Vec<usize> {
        let evicted = |i: &usize| members[*i].evicted.is_cancelled();
        (0..members.len()).filter(evicted).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_evicts_only_its_own_connections() {
        let list = WaitingList::new(8);
        let other = list.enter(B).await;
        let mut flood = Vec::new();
        for _ in 0..1_000 {
            flood.push(list.enter(A).await);
        }
        assert!(!other.evicted.is_cancelled());
        assert_eq!(gone(&flood), (0..996).collect::<Vec<_>>(), "one owner gets half of the list");
        assert_eq!(list.len(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_speaks_outlasts_silent_ones_of_the_same_owner() {
        let list = WaitingList::new(8);
        let mut caller = list.enter(A).await;
        caller.advance(Progress::Speaking);
        let mut flood = Vec::new();
        for _ in 0..100 {
            tokio::time::advance(GRACE / 2).await;
            flood.push(list.enter(A).await);
        }
        assert!(!caller.evicted.is_cancelled());
        caller.advance(Progress::Known);
        for _ in 0..100 {
            flood.iter_mut().for_each(|member| member.advance(Progress::Speaking));
            let next = list.enter(A).await;
            flood.push(list.enter(A).await);
            assert!(!next.evicted.is_cancelled(), "it was within its grace period");
        }
        assert!(!caller.evicted.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn connections_that_arrive_at_once_get_their_grace_period() {
        let list = WaitingList::new(4);
        let mut members = Vec::new();
        for owner in 0..4 {
            members.push(list.enter(owner).await);
        }
        let began = Instant::now();
        members.push(list.enter(9).await);
        assert_eq!((began.elapsed(), gone(&members)), (GRACE, vec![0]), "the oldest is evicted");
        // A connection that leaves makes room at once.
        let (entering, ()) = tokio::join!(list.enter(10), async { drop(members.pop()) });
        assert_eq!(began.elapsed(), GRACE);
        drop((entering, members));
        assert_eq!(list.len(), 0);
    }

    #[test]
    fn a_network_is_one_owner() {
        let owner = |text: &str| origin(text.parse().unwrap());
        assert_eq!(owner("2001:db8::1"), owner("2001:db8::ffff:0:0:2"));
        assert_ne!(owner("2001:db8::1"), owner("2001:db8:0:1::1"));
        assert_eq!(owner("::ffff:10.0.0.1"), owner("10.0.0.1"));
        assert_ne!(owner("10.0.0.1"), owner("10.0.0.2"));
    }

    proptest! {
        /// An owner with fewer connections than its equal share loses none to another owner.
        #[test]
        fn no_owner_is_evicted_within_its_share(owners in prop::collection::vec(0u8..4, 0..200)) {
            let (most, now) = (16, Instant::now());
            let WaitingList(shared) = WaitingList::<u8>::new(most);
            let mut table = shared.table.lock().unwrap();
            let count = |table: &Table<u8>, owner| table.by_owner.get(&owner).map_or(0, BTreeMap::len);
            for (i, owner) in owners.into_iter().enumerate() {
                let before = (0..4).map(|other| count(&table, other)).collect::<Vec<_>>();
                table.enter(&owner, now + GRACE * (i as u32 + 1));
                for other in 0..4u8 {
                    let (was, is) = (before[usize::from(other)], count(&table, other));
                    prop_assert!(is >= was || was > most / 4, "{was} became {is}");
                }
                let all = table.by_owner.values().map(BTreeMap::len).sum::<usize>();
                prop_assert_eq!(all, table.count);
                prop_assert!(all <= most);
            }
        }
    }
}
