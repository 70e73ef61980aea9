//! With whom to speak where nobody shows a certificate, and what is said to those who are refused.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustix::process::geteuid;
use tokio::net::TcpStream;
use tonic::Status;

use super::peer::{listener_at, user_of};
use super::unnumbered::{advice, nobodys_number};
use crate::access::{Caller, Gate};

/// Users of this machine with whom to speak where nobody shows a certificate.
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

    /// The user of this process, root, who can do everything anyway, and these.
    pub fn own_and(others: impl IntoIterator<Item = u32>) -> Self {
        Self::known_among([geteuid().as_raw(), 0].into_iter().chain(others), nobodys_number())
    }

    /// Without the number that stands for all who are not known here.
    fn known_among(users: impl Iterator<Item = u32>, nobody: Option<u32>) -> Self {
        Self { users: Some(users.filter(|user| Some(*user) != nobody).collect()) }
    }

    /// These alone, as [`numbers`](Self::numbers) has told them.
    pub fn from_numbers(users: Option<Vec<u32>>) -> Self {
        Self { users: users.map(Arc::from) }
    }

    /// All of them, or `None` for everybody.
    pub fn numbers(&self) -> Option<&[u32]> {
        self.users.as_deref()
    }

    /// Whether a user is among them.
    pub fn contain(&self, user: u32) -> bool {
        self.users.as_ref().is_none_or(|users| users.contains(&user))
    }

    /// Refuses a connection whose other end is another user's on this machine. Who comes from
    /// another machine is somebody else's business.
    ///
    /// # Errors
    /// When it is, or the system does not say whose it is.
    pub async fn check(&self, stream: &TcpStream) -> io::Result<()> {
        self.check_user(stream).await.map(|_| ())
    }

    /// The same, for one who has called: then it matters who listens there, too. A connection that
    /// the kernel takes up in the name of another user's socket (as for `AF_SMC`) is root's.
    ///
    /// # Errors
    /// When it is another user's, or the system does not say whose it is or who listens there.
    pub async fn check_server(&self, stream: &TcpStream) -> io::Result<()> {
        if self.check_user(stream).await? != Some(0) || geteuid().is_root() {
            return Ok(());
        }
        let address = stream.peer_addr()?;
        let user = listener_at(address).map_err(|error| {
            let text =
                format!("it is not known who listens at {address}, as root answers there: {error}");
            io::Error::new(error.kind(), text)
        })?;
        self.refuse_others(address, user)
    }

    /// Whose the other end is, if that matters.
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

/// Another user is at the other end.
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

/// Lets in whom these users are: for a coordinator without certificates.
pub struct LocalGate(pub LocalUsers);

impl Gate for LocalGate {
    fn admit(&self, _method: &str, caller: &Caller) -> Result<(), Status> {
        let Self(users) = self;
        let text = match caller.origin().map(|origin| &origin.user) {
            Some(Ok(Some(user))) if users.contain(*user) => return Ok(()),
            // From another machine: whoever listens there has asked for it.
            Some(Ok(None)) => return Ok(()),
            Some(Ok(Some(user))) => refusal(*user),
            Some(Err(error)) => format!("it is not known who has called: {error}"),
            None => "it is not known who has called".to_string(),
        };
        Err(Status::permission_denied(text))
    }
}

/// What a coordinator says to another user of its machine.
fn refusal(user: u32) -> String {
    let own = geteuid().as_raw();
    let can_do = format!(
        "whoever runs it can say 'windrow coordinator --allow-user {user}', or set up a secured cluster \
         ('windrow init')"
    );
    let advice = advice(user, can_do);
    format!("this cluster is for user {own} of this machine, and user {user} has called; {advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_stands_for_many_is_nobodys() {
        let users = LocalUsers::known_among([65_534, 0, 65_534, 7].into_iter(), Some(65_534));
        assert!(!users.contain(65_534) && users.contain(0) && users.contain(7));
        assert!(LocalUsers::known_among([65_534].into_iter(), None).contain(65_534));
    }
}
