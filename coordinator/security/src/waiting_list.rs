//! Connections that wait for something, in a bounded number, of which nobody can keep others out.
//!
//! Each belongs to somebody: an address, or a job. Where there is no room for another one, one goes
//! that is there already: of those of whom there are most, the one that has shown least, and of
//! those the oldest. So whoever floods a listener throws out themselves; and a caller that comes
//! from the same address stays as well, if it says within a moment what it wants. That moment
//! everybody gets: else whoever comes would go first, being silent among those that have spoken.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// In which nobody is silent: many workers may come at once, and each of them needs a moment.
const GRACE: Duration = Duration::from_millis(250);

/// What a connection has shown so far. Who has shown less goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Not a byte.
    Silent,
    /// Its first byte. A newcomer, who has nothing to show, remains that.
    Speaking,
    /// Whom it belongs to.
    Known,
}

/// Whom connections from an address belong to: a network of version 6 is given to one customer.
pub fn origin(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

/// The connections that wait. Cheap to clone; clones are the same crowd.
pub struct Crowd<K>(Arc<Shared<K>>);

impl<K> Clone for Crowd<K> {
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
    by_owner: BTreeMap<K, BTreeMap<(Standing, u64), Seat>>,
}

struct Seat {
    since: Instant,
    evicted: CancellationToken,
}

/// What becomes of one that comes.
enum Entering {
    Seated(u64, CancellationToken),
    /// All are new: there is room when one leaves, or at this time.
    Wait(Instant),
}

impl<K: Ord + Clone> Crowd<K> {
    /// Of up to `most`, and half as many of one owner.
    pub fn new(most: usize) -> Self {
        let most = most.max(2);
        let table =
            Table { most, most_of_one: most / 2, count: 0, entered: 0, by_owner: BTreeMap::new() };
        Self(Arc::new(Shared { table: Mutex::new(table), left: Notify::new() }))
    }

    /// Another one, for which another one may have to go. Waits a moment at most.
    pub async fn enter(&self, owner: K) -> Member<K> {
        loop {
            let left = self.0.left.notified();
            let entering = self.table().enter(&owner, Instant::now());
            match entering {
                Entering::Seated(number, evicted) => {
                    let (crowd, standing) = (self.clone(), Standing::Silent);
                    return Member { crowd, owner, standing, number, evicted };
                }
                Entering::Wait(until) => drop(timeout_at(until, left).await),
            }
        }
    }

    /// How many there are.
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
                None => debug_assert!(false, "a crowd that is full has somebody in it"),
            }
        }
        self.entered += 1;
        self.count += 1;
        let evicted = CancellationToken::new();
        let seat = Seat { since: now, evicted: evicted.clone() };
        let of_owner = self.by_owner.entry(owner.clone()).or_default();
        of_owner.insert((Standing::Silent, self.entered), seat);
        debug_assert!(self.count <= self.most, "who comes in has made room before");
        Entering::Seated(self.entered, evicted)
    }

    /// Whose connection goes for one of `comer`, who counts with that one; and how long it has been
    /// there.
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
        let seat = next.and_then(|(_, key)| self.leave(owner, key));
        debug_assert!(seat.is_some(), "who has most has at least one");
        if let Some(seat) = seat {
            seat.evicted.cancel();
        }
    }

    /// Takes the seat of one that goes; none, if it was evicted.
    fn leave(&mut self, owner: &K, key: (Standing, u64)) -> Option<Seat> {
        let of_owner = self.by_owner.get_mut(owner)?;
        let seat = of_owner.remove(&key)?;
        if of_owner.is_empty() {
            self.by_owner.remove(owner);
        }
        self.count -= 1;
        Some(seat)
    }

    fn rise(&mut self, owner: &K, number: u64, from: Standing, to: Standing) {
        let Some(of_owner) = self.by_owner.get_mut(owner) else { return };
        if let Some(seat) = of_owner.remove(&(from, number)) {
            of_owner.insert((to, number), seat);
        }
    }
}

/// Which of one owner's connections goes next, and when it does among those of others.
fn next_of(
    of_owner: &BTreeMap<(Standing, u64), Seat>,
    now: Instant,
) -> Option<((Standing, u64), (Standing, u64))> {
    let standings = [Standing::Silent, Standing::Speaking, Standing::Known];
    let oldest = |standing| of_owner.range((standing, 0)..=(standing, u64::MAX)).next();
    let order = |(&key, seat): (&(Standing, u64), &Seat)| {
        let (standing, number) = key;
        let is_new = standing == Standing::Silent && now < seat.since + GRACE;
        ((if is_new { Standing::Speaking } else { standing }, number), key)
    };
    standings.into_iter().filter_map(oldest).map(order).min()
}

/// One of them, until it is dropped.
pub struct Member<K: Ord + Clone> {
    crowd: Crowd<K>,
    owner: K,
    standing: Standing,
    number: u64,
    evicted: CancellationToken,
}

impl<K: Ord + Clone> Member<K> {
    /// It has shown something.
    pub fn shows(&mut self, standing: Standing) {
        self.crowd.table().rise(&self.owner, self.number, self.standing, standing);
        self.standing = standing;
    }

    /// Fires when it has to go, for the sake of another one.
    pub fn evicted(&self) -> CancellationToken {
        self.evicted.clone()
    }
}

impl<K: Ord + Clone> Drop for Member<K> {
    fn drop(&mut self) {
        if self.crowd.table().leave(&self.owner, (self.standing, self.number)).is_some() {
            self.crowd.0.left.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: u8 = 1;
    const B: u8 = 2;

    fn gone(members: &[Member<u8>]) -> Vec<usize> {
        let evicted = |i: &usize| members[*i].evicted.is_cancelled();
        (0..members.len()).filter(evicted).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn who_floods_evicts_themselves() {
        let crowd = Crowd::new(8);
        let other = crowd.enter(B).await;
        let mut flood = Vec::new();
        for _ in 0..1_000 {
            flood.push(crowd.enter(A).await);
        }
        assert!(!other.evicted.is_cancelled());
        assert_eq!(gone(&flood), (0..996).collect::<Vec<_>>(), "half of the room is one owner's");
        assert_eq!(crowd.len(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_something_stays_among_the_silent_of_the_same_owner() {
        let crowd = Crowd::new(8);
        let mut caller = crowd.enter(A).await;
        caller.shows(Standing::Speaking);
        let mut flood = Vec::new();
        for _ in 0..100 {
            tokio::time::advance(GRACE / 2).await;
            flood.push(crowd.enter(A).await);
        }
        assert!(!caller.evicted.is_cancelled());
        caller.shows(Standing::Known);
        for _ in 0..100 {
            flood.iter_mut().for_each(|member| member.shows(Standing::Speaking));
            let next = crowd.enter(A).await;
            flood.push(crowd.enter(A).await);
            assert!(!next.evicted.is_cancelled(), "it had no time to say anything");
        }
        assert!(!caller.evicted.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn many_that_come_at_once_get_a_moment_each() {
        let crowd = Crowd::new(4);
        let mut members = Vec::new();
        for owner in 0..4 {
            members.push(crowd.enter(owner).await);
        }
        let began = Instant::now();
        members.push(crowd.enter(9).await);
        assert_eq!((began.elapsed(), gone(&members)), (GRACE, vec![0]), "the oldest of all");
        // One that leaves makes room at once.
        let (entering, ()) = tokio::join!(crowd.enter(10), async { drop(members.pop()) });
        assert_eq!(began.elapsed(), GRACE);
        drop((entering, members));
        assert_eq!(crowd.len(), 0);
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
        /// Whoever has fewer connections than their equal share is never evicted for another one.
        #[test]
        fn nobody_is_evicted_within_their_share(owners in prop::collection::vec(0u8..4, 0..200)) {
            let (most, now) = (16, Instant::now());
            let Crowd(shared) = Crowd::<u8>::new(most);
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
