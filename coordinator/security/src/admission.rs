//! Admission control of a listener: which connections wait, and which are admitted.
//!
//! A connection is a stranger until it shows a certificate. Then it waits among members, no longer
//! among the strangers of its address, until one of its calls is admitted. Newcomers, who have no
//! certificate, remain strangers.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::Identity;
use crate::limits::ConnectionLimits;
use crate::waiting_list::{WaitingGuard, WaitingList, origin};

/// The admission of one listener. Cheap to clone; clones share it.
#[derive(Clone)]
pub(crate) struct ConnectionAdmission {
    strangers: WaitingList<IpAddr>,
    /// By identity, so that members who share an address cannot keep each other out.
    waiting: WaitingList<String>,
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

/// A waiting connection's place.
pub(crate) enum ConnectionGuard {
    /// Among the connections of its address.
    Stranger(WaitingGuard<IpAddr>),
    /// Among the connections of its identity.
    Waiting(WaitingGuard<String>),
}

impl ConnectionGuard {
    /// Fires when the connection is evicted.
    pub(crate) fn evicted(&self) -> CancellationToken {
        match self {
            Self::Stranger(guard) => guard.evicted(),
            Self::Waiting(guard) => guard.evicted(),
        }
    }
}

/// How far a caller has been admitted.
#[derive(Default)]
pub(crate) enum AdmissionState {
    /// Inside this process, where nothing is limited.
    #[default]
    Within,
    /// Not admitted yet. A newcomer has one call.
    Stranger { admission: ConnectionAdmission, _guard: ConnectionGuard, has_called: bool },
    /// Admitted, and counted while this is kept.
    Admitted { _permit: AdmissionPermit },
}

impl std::fmt::Debug for AdmissionState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Within => "Within",
            Self::Stranger { .. } => "Stranger",
            Self::Admitted { .. } => "Admitted",
        })
    }
}

/// Counts a connection of a member until it is dropped.
pub(crate) struct AdmissionPermit {
    inside: Arc<Mutex<Inside>>,
    /// `None` where the listener asks for no certificates.
    member: Option<String>,
}

impl ConnectionAdmission {
    pub(crate) fn new(limits: ConnectionLimits, is_secured: bool) -> Self {
        let inside = Inside {
            most: limits.admitted(),
            most_of_one: limits.of_member(),
            count: 0,
            by_member: BTreeMap::new(),
        };
        let (strangers, waiting) =
            (WaitingList::new(limits.strangers()), WaitingList::new(limits.waiting()));
        Self { strangers, waiting, inside: Arc::new(Mutex::new(inside)), is_secured }
    }

    /// Takes in a connection that was accepted.
    pub(crate) async fn arrive(&self, from: IpAddr) -> WaitingGuard<IpAddr> {
        self.strangers.enter(origin(from)).await
    }

    /// Moves a connection that has shown a certificate among the members; it keeps its old place
    /// until it has the new one.
    pub(crate) async fn arrive_as(
        &self,
        identity: &Identity,
        stranger: WaitingGuard<IpAddr>,
    ) -> ConnectionGuard {
        let guard = self.waiting.enter(identity.to_string()).await;
        drop(stranger);
        ConnectionGuard::Waiting(guard)
    }

    pub(crate) fn waiting(&self, guard: ConnectionGuard) -> AdmissionState {
        AdmissionState::Stranger { admission: self.clone(), _guard: guard, has_called: false }
    }

    fn admit(&self, identity: Option<&Identity>) -> Result<AdmissionPermit, Status> {
        let member = identity.map(Identity::to_string);
        let mut inside = lock(&self.inside);
        if inside.count >= inside.most {
            let text = format!("too many connections are open ({}); try again later", inside.count);
            return Err(Status::resource_exhausted(text));
        }
        let most_of_one = inside.most_of_one;
        if let Some(member) = &member {
            let count = inside.by_member.entry(member.clone()).or_default();
            if *count >= most_of_one {
                let text = format!(
                    "{member} has {count} connections open, which is its limit; close some"
                );
                return Err(Status::resource_exhausted(text));
            }
            *count += 1;
        }
        inside.count += 1;
        Ok(AdmissionPermit { inside: Arc::clone(&self.inside), member })
    }
}

impl AdmissionState {
    /// Admits a call.
    pub(crate) fn admit(&mut self, identity: Option<&Identity>) -> Result<(), Status> {
        let Self::Stranger { admission, has_called, .. } = self else { return Ok(()) };
        if admission.is_secured && identity.is_none() {
            if *has_called {
                return Err(Status::resource_exhausted(
                    "only one call is allowed without a certificate",
                ));
            }
            *has_called = true;
            return Ok(());
        }
        *self = Self::Admitted { _permit: admission.admit(identity)? };
        Ok(())
    }

    /// Whether the connection may stay open.
    pub(crate) fn is_admitted(&self) -> bool {
        !matches!(self, Self::Stranger { .. })
    }
}

impl Drop for AdmissionPermit {
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

    async fn arrive(admission: &ConnectionAdmission) -> AdmissionState {
        admission
            .waiting(ConnectionGuard::Stranger(admission.arrive(Ipv4Addr::LOCALHOST.into()).await))
    }

    fn small() -> ConnectionLimits {
        ConnectionLimits::of_files(64)
    }

    #[tokio::test]
    async fn a_newcomer_has_one_call_and_remains_a_stranger() {
        let admission = ConnectionAdmission::new(small(), true);
        let mut state = arrive(&admission).await;
        state.admit(None).unwrap();
        assert!(!state.is_admitted());
        assert!(state.admit(None).is_err());
        state.admit(Some(&identity("m"))).unwrap();
        assert!(state.is_admitted());
    }

    /// A flood of one member, with certificates but no calls, from an address that others share.
    #[tokio::test(start_paused = true)]
    async fn members_that_only_wait_do_not_crowd_out_strangers_of_their_address() {
        let admission = ConnectionAdmission::new(small(), true);
        let address = Ipv4Addr::LOCALHOST.into();
        let mut flood = Vec::new();
        for _ in 0..100 {
            let stranger = admission.arrive(address).await;
            flood.push(admission.arrive_as(&identity("many"), stranger).await);
        }
        assert_eq!(admission.strangers.len(), 0, "members do not count for their address");
        let stranger = admission.arrive(address).await;
        let mut silent = Vec::new();
        for _ in 0..small().strangers() / 2 - 1 {
            silent.push(admission.arrive(address).await);
        }
        assert!(!stranger.evicted().is_cancelled(), "the flood takes no room of the address");
        let other = admission.arrive_as(&identity("other"), stranger).await;
        let stranger = admission.arrive(address).await;
        flood.push(admission.arrive_as(&identity("many"), stranger).await);
        assert!(!other.evicted().is_cancelled());
        let left = flood.iter().filter(|guard| !guard.evicted().is_cancelled()).count();
        assert!(left <= small().waiting() / 2, "{left}");
    }

    #[tokio::test]
    async fn a_member_that_has_many_connections_leaves_room_for_others() {
        let admission = ConnectionAdmission::new(small(), true);
        let mut states = Vec::new();
        for _ in 0..small().admitted() {
            let mut state = arrive(&admission).await;
            match state.admit(Some(&identity("many"))) {
                Ok(()) => states.push(state),
                Err(refusal) => assert!(refusal.message().contains("close some"), "{refusal}"),
            }
        }
        assert_eq!(states.len(), small().of_member());
        arrive(&admission).await.admit(Some(&identity("other"))).unwrap();
        states.clear();
        assert_eq!(lock(&admission.inside).count, 0);
        assert!(lock(&admission.inside).by_member.is_empty());
    }

    #[tokio::test]
    async fn without_certificates_only_the_sum_is_limited() {
        let admission = ConnectionAdmission::new(small(), false);
        let mut states = Vec::new();
        for n in 0..=small().admitted() {
            let mut state = arrive(&admission).await;
            assert_eq!(state.admit(None).is_ok(), n < small().admitted());
            states.push(state);
        }
    }
}
