//! The users of this machine whom a cluster without certificates talks to, and what others are
//! told.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustix::process::geteuid;
use tokio::net::TcpStream;
use tonic::Status;

use super::peer::{listener_at, user_of};
use super::unnumbered::{advice, nobodys_number};
use crate::access::{Authorizer, Caller};

/// Users of this machine to talk to without certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalUsers {
    /// `None` for everybody.
    users: Option<Arc<[u32]>>,
}

impl Default for LocalUsers {
    fn default() -> Self {
        Self::own_and([])
    }
}

impl LocalUsers {
    /// Everybody who has an account on this machine.
    pub fn everybody() -> Self {
        Self { users: None }
    }

    /// This process's user, root (who can do everything anyway), and `others`.
    pub fn own_and(others: impl IntoIterator<Item = u32>) -> Self {
        Self::known_among([geteuid().as_raw(), 0].into_iter().chain(others), nobodys_number())
    }

    /// Without `nobody`, the number of all unnumbered users.
    fn known_among(users: impl Iterator<Item = u32>, nobody: Option<u32>) -> Self {
        Self { users: Some(users.filter(|user| Some(*user) != nobody).collect()) }
    }

    /// Exactly these, as [`numbers`](Self::numbers) returned them.
    pub fn from_numbers(users: Option<Vec<u32>>) -> Self {
        Self { users: users.map(Arc::from) }
    }

    /// The users' numbers, or `None` for everybody.
    pub fn numbers(&self) -> Option<&[u32]> {
        self.users.as_deref()
    }

    /// Whether a user is one of them.
    pub fn contain(&self, user: u32) -> bool {
        self.users.as_ref().is_none_or(|users| users.contains(&user))
    }

    /// Refuses a connection whose other end is another user of this machine. Other machines are not
    /// checked here.
    ///
    /// # Errors
    /// When it is another user's, or the kernel does not tell.
    pub async fn check(&self, stream: &TcpStream) -> io::Result<()> {
        self.check_user(stream).await.map(|_| ())
    }

    /// As `check`, for a connection to a server: who listens matters, too. A connection that the
    /// kernel itself accepts for another user's socket (as for `AF_SMC`) counts as root's.
    ///
    /// # Errors
    /// When it is another user's, or the kernel does not tell its user or the listener's.
    pub async fn check_server(&self, stream: &TcpStream) -> io::Result<()> {
        if self.check_user(stream).await? != Some(0) || geteuid().is_root() {
            return Ok(());
        }
        let address = stream.peer_addr()?;
        let user = listener_at(address).map_err(|error| {
            let text = format!(
                "root answers at {address}, and the kernel does not tell who listens there: {error}"
            );
            io::Error::new(error.kind(), text)
        })?;
        self.refuse_others(address, user)
    }

    /// The user at the other end, if it matters.
    async fn check_user(&self, stream: &TcpStream) -> io::Result<Option<u32>> {
        if self.users.is_none() {
            return Ok(None);
        }
        let user = user_of(stream).await?;
        if let Some(user) = user {
            self.refuse_others(stream.peer_addr()?, user)?;
        }
        Ok(user)
    }

    fn refuse_others(&self, address: SocketAddr, user: u32) -> io::Result<()> {
        if self.contain(user) {
            return Ok(());
        }
        let error = NotOurs { address, user };
        Err(io::Error::new(io::ErrorKind::PermissionDenied, error))
    }
}

/// The other end is another user's.
#[derive(Debug, thiserror::Error)]
struct NotOurs {
    address: SocketAddr,
    user: u32,
}

impl fmt::Display for NotOurs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (address, user, own) = (self.address, self.user, geteuid().as_raw());
        let can_do = format!(
            "name another address, or say '--allow-user {user}' if you trust that user with your account"
        );
        let advice = advice(user, can_do);
        write!(
            f,
            "{address} is another user's of this machine: number {user}, and this is {own}; {advice}"
        )
    }
}

/// Admits these users: for a coordinator without certificates.
pub struct LocalUsersOnly(pub LocalUsers);

impl Authorizer for LocalUsersOnly {
    fn admit(&self, _method: &str, caller: &Caller) -> Result<(), Status> {
        let Self(users) = self;
        let text = match caller.origin().map(|origin| &origin.user) {
            Some(Ok(Some(user))) if users.contain(*user) => return Ok(()),
            // Another machine: the coordinator's listen address allows that.
            Some(Ok(None)) => return Ok(()),
            Some(Ok(Some(user))) => refusal(*user),
            Some(Err(error)) => format!("cannot tell which user has called: {error}"),
            None => "cannot tell which user has called".to_string(),
        };
        Err(Status::permission_denied(text))
    }
}

/// The answer to another user of the coordinator's machine.
fn refusal(user: u32) -> String {
    let own = geteuid().as_raw();
    let can_do = format!(
        "its user can run 'windrow coordinator --allow-user {user}', or set up a secured cluster \
         ('windrow init')"
    );
    let advice = advice(user, can_do);
    format!("this cluster is for user {own} of this machine, and user {user} has called; {advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_unnumbered_users_is_never_allowed() {
        let users = LocalUsers::known_among([65_534, 0, 65_534, 7].into_iter(), Some(65_534));
        assert!(!users.contain(65_534) && users.contain(0) && users.contain(7));
        assert!(LocalUsers::known_among([65_534].into_iter(), None).contain(65_534));
    }
}
