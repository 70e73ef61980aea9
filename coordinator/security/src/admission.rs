//! Who waits at a listener, and who is inside.
//!
//! Whoever connects is a stranger, until they show a certificate. From then on they are a member
//! who waits, among members and no longer among those of their address, until a call of theirs is
//! admitted. Newcomers, who have no certificate, remain strangers.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::Identity;
use crate::crowd::{Crowd, Member, origin};
use crate::limits::Room;

/// Of one listener. Cheap to clone; clones are the same.
#[derive(Clone)]
pub(crate) struct Door {
    strangers: Crowd<IpAddr>,
    /// By identity: of several who share an address, none keeps the others out.
    waiting: Crowd<String>,
    inside: Arc<Mutex<Inside>>,
    /// Whether members show certificates here.
    is_secured: bool,
}

struct Inside {
    most: usize,
    most_of_one: usize,
    count: usize,
    by_member: BTreeMap<String, usize>,
}

/// Where a connection waits.
pub(crate) enum Seat {
    /// Among those of its address.
    Stranger(Member<IpAddr>),
    /// Among those of its identity.
    Waiting(Member<String>),
}

impl Seat {
    /// Fires when it has to go, for the sake of another one.
    pub(crate) fn evicted(&self) -> CancellationToken {
        match self {
            Self::Stranger(seat) => seat.evicted(),
            Self::Waiting(seat) => seat.evicted(),
        }
    }
}

/// Where a caller stands.
#[derive(Default)]
pub(crate) enum Place {
    /// Within this process: nothing is limited.
    #[default]
    Within,
    /// At the door. A newcomer has one call.
    Stranger { door: Door, _seat: Seat, has_called: bool },
    /// Inside, as long as this is kept.
    Admitted { _admission: Admission },
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Within => "Within",
            Self::Stranger { .. } => "Stranger",
            Self::Admitted { .. } => "Admitted",
        })
    }
}

/// Counts a connection of a member until it is dropped.
pub(crate) struct Admission {
    inside: Arc<Mutex<Inside>>,
    /// `None` where nobody shows who they are.
    member: Option<String>,
}

impl Door {
    pub(crate) fn new(room: Room, is_secured: bool) -> Self {
        let inside = Inside {
            most: room.admitted(),
            most_of_one: room.of_member(),
            count: 0,
            by_member: BTreeMap::new(),
        };
        let (strangers, waiting) = (Crowd::new(room.strangers()), Crowd::new(room.waiting()));
        Self { strangers, waiting, inside: Arc::new(Mutex::new(inside)), is_secured }
    }

    /// A connection that was accepted.
    pub(crate) async fn arrive(&self, from: IpAddr) -> Member<IpAddr> {
        self.strangers.enter(origin(from)).await
    }

    /// A connection that has shown a certificate. It gives up its seat when it has another one.
    pub(crate) async fn arrive_as(&self, identity: &Identity, stranger: Member<IpAddr>) -> Seat {
        let seat = self.waiting.enter(identity.to_string()).await;
        drop(stranger);
        Seat::Waiting(seat)
    }

    pub(crate) fn place(&self, seat: Seat) -> Place {
        Place::Stranger { door: self.clone(), _seat: seat, has_called: false }
    }

    fn admit(&self, identity: Option<&Identity>) -> Result<Admission, Status> {
        let member = identity.map(Identity::to_string);
        let mut inside = lock(&self.inside);
        if inside.count >= inside.most {
            let text = format!("{} connections are open, which is as many as may be", inside.count);
            return Err(Status::resource_exhausted(text));
        }
        let most_of_one = inside.most_of_one;
        if let Some(member) = &member {
            let count = inside.by_member.entry(member.clone()).or_default();
            if *count >= most_of_one {
                let text = format!("{member} has {count} connections already; close some");
                return Err(Status::resource_exhausted(text));
            }
            *count += 1;
        }
        inside.count += 1;
        Ok(Admission { inside: Arc::clone(&self.inside), member })
    }
}

impl Place {
    /// A call is to be let in.
    pub(crate) fn admit(&mut self, identity: Option<&Identity>) -> Result<(), Status> {
        let Self::Stranger { door, has_called, .. } = self else { return Ok(()) };
        if door.is_secured && identity.is_none() {
            if *has_called {
                return Err(Status::resource_exhausted(
                    "without a certificate, one call is let in",
                ));
            }
            *has_called = true;
            return Ok(());
        }
        *self = Self::Admitted { _admission: door.admit(identity)? };
        Ok(())
    }

    /// Whether the connection may stay.
    pub(crate) fn is_admitted(&self) -> bool {
        !matches!(self, Self::Stranger { .. })
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut inside = lock(&self.inside);
        inside.count -= 1;
        let Some(member) = &self.member else { return };
        if let Some(count) = inside.by_member.get_mut(member) {
            *count -= 1;
            if *count == 0 {
                inside.by_member.remove(member);
            }
        }
    }
}

fn lock(inside: &Mutex<Inside>) -> MutexGuard<'_, Inside> {
    inside.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::Role;

    fn identity(name: &str) -> Identity {
        Identity::new("c", Role::Submitter, name).unwrap()
    }

    async fn arrive(door: &Door) -> Place {
        door.place(Seat::Stranger(door.arrive(Ipv4Addr::LOCALHOST.into()).await))
    }

    fn small() -> Room {
        Room::of_files(64)
    }

    #[tokio::test]
    async fn a_newcomer_has_one_call_and_remains_a_stranger() {
        let door = Door::new(small(), true);
        let mut place = arrive(&door).await;
        place.admit(None).unwrap();
        assert!(!place.is_admitted());
        assert!(place.admit(None).is_err());
        place.admit(Some(&identity("m"))).unwrap();
        assert!(place.is_admitted());
    }

    /// Certificates, and no calls: a flood of one member, from an address that others share.
    #[tokio::test(start_paused = true)]
    async fn a_member_who_only_waits_keeps_nobody_else_of_its_address_out() {
        let door = Door::new(small(), true);
        let address = Ipv4Addr::LOCALHOST.into();
        let mut flood = Vec::new();
        for _ in 0..100 {
            let stranger = door.arrive(address).await;
            flood.push(door.arrive_as(&identity("many"), stranger).await);
        }
        assert_eq!(door.strangers.len(), 0, "they are none of the address any more");
        let stranger = door.arrive(address).await;
        let mut silent = Vec::new();
        for _ in 0..small().strangers() / 2 - 1 {
            silent.push(door.arrive(address).await);
        }
        assert!(!stranger.evicted().is_cancelled(), "the room of the address is as good as empty");
        let other = door.arrive_as(&identity("other"), stranger).await;
        let stranger = door.arrive(address).await;
        flood.push(door.arrive_as(&identity("many"), stranger).await);
        assert!(!other.evicted().is_cancelled());
        let left = flood.iter().filter(|seat| !seat.evicted().is_cancelled()).count();
        assert!(left <= small().waiting() / 2, "{left}");
    }

    #[tokio::test]
    async fn a_member_that_has_many_connections_leaves_room_for_others() {
        let door = Door::new(small(), true);
        let mut places = Vec::new();
        for _ in 0..small().admitted() {
            let mut place = arrive(&door).await;
            match place.admit(Some(&identity("many"))) {
                Ok(()) => places.push(place),
                Err(refusal) => assert!(refusal.message().contains("close some"), "{refusal}"),
            }
        }
        assert_eq!(places.len(), small().of_member());
        arrive(&door).await.admit(Some(&identity("other"))).unwrap();
        places.clear();
        assert_eq!(lock(&door.inside).count, 0);
        assert!(lock(&door.inside).by_member.is_empty());
    }

    #[tokio::test]
    async fn where_nobody_shows_who_they_are_the_sum_is_limited() {
        let door = Door::new(small(), false);
        let mut places = Vec::new();
        for n in 0..=small().admitted() {
            let mut place = arrive(&door).await;
            assert_eq!(place.admit(None).is_ok(), n < small().admitted());
            places.push(place);
        }
    }
}
