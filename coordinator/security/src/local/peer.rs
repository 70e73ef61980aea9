//! The user at the other end of a connection on this machine.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use rustix::process::geteuid;
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use super::{ESTABLISHED, Found, LISTENING, proc_net, sock_diag};
use crate::limits::HANDSHAKE_TIME_MAX;

/// How often to look at once for an end that is not accepted yet: a server accepts in less time
/// than timers measure.
const LOOKS_AT_ONCE: u32 = 50;
/// The first pause between later looks.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
const LOOK_AGAIN_MAX: Duration = Duration::from_millis(100);

/// The origin of a connection.
#[derive(Debug)]
pub struct Origin {
    /// The address of the other end.
    pub address: Option<SocketAddr>,
    /// The user at the other end; `None` on another machine.
    pub user: io::Result<Option<u32>>,
}

impl Origin {
    /// Whether the other end is this process's user, on this machine.
    pub fn is_own(&self) -> bool {
        matches!(self.user, Ok(Some(user)) if user == geteuid().as_raw())
    }

    /// Asks the kernel. A caller has its socket open already, so this does not wait.
    pub(crate) fn of(stream: &TcpStream) -> Self {
        let user = || {
            let Some(ends) = Ends::of(stream)? else { return Ok(None) };
            ends.user(stream)?.map(Some).ok_or_else(|| gone(ends.theirs))
        };
        Self { address: stream.peer_addr().ok(), user: user() }
    }
}

/// The user at the other end of a connection; `None` if that is on another machine. Waits until a
/// process has accepted the connection.
///
/// # Errors
/// When the kernel does not tell, or the other end has closed.
pub(super) async fn user_of(stream: &TcpStream) -> io::Result<Option<u32>> {
    let Some(ends) = Ends::of(stream)? else { return Ok(None) };
    let (mut pause, deadline) = (LOOK_AGAIN, Instant::now() + HANDSHAKE_TIME_MAX);
    let mut looks = 0;
    loop {
        // This takes microseconds: the kernel looks into a table.
        if let Some(user) = ends.user(stream)? {
            return Ok(Some(user));
        }
        if Instant::now() > deadline {
            let text = format!("nothing has accepted the connection to {}", ends.theirs);
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        looks += 1;
        if looks < LOOKS_AT_ONCE {
            yield_now().await;
            continue;
        }
        sleep(pause).await;
        pause = (pause * 2).min(LOOK_AGAIN_MAX);
    }
}

/// Both ends of a connection within this machine.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    pub(super) ours: SocketAddr,
    pub(super) theirs: SocketAddr,
}

impl Ends {
    /// `None` if the other end is on another machine.
    ///
    /// If one end is on loopback, both are on this machine. A caller may have bound its end to
    /// another address of the machine. A connection that a router has led to loopback from outside
    /// has no local user, and is refused.
    pub(super) fn of(stream: &TcpStream) -> io::Result<Option<Self>> {
        let (ours, theirs) = (canonical(stream.local_addr()?), canonical(stream.peer_addr()?));
        let is_within_machine = ours.ip().is_loopback() || theirs.ip().is_loopback();
        Ok(is_within_machine.then_some(Self { ours, theirs }))
    }

    /// The user at the other end; `None` if no process has accepted the connection yet.
    fn user(self, stream: &TcpStream) -> io::Result<Option<u32>> {
        let user = self.look()?;
        // While this end is open, no other connection has both addresses: so the socket found is
        // the other end of this connection, not of a later one.
        stream.peer_addr().map_err(|_| gone(self.theirs))?;
        Ok(user)
    }

    /// The user of the socket at `theirs` that is connected to `ours`; `None` if no process has
    /// accepted it yet.
    pub(super) fn look(self) -> io::Result<Option<u32>> {
        let Self { ours, theirs } = self;
        // `sock_diag` sockets may be forbidden. A kernel without that module answers as if the
        // socket did not exist.
        let found = sock_diag::find(theirs, ours).or_else(|_| proc_net::find(theirs, ours));
        match found {
            Ok(Found { state: ESTABLISHED, user, is_held }) => Ok(is_held.then_some(user)),
            Ok(_) => Err(gone(theirs)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(gone(theirs)),
            Err(error) => Err(io::Error::new(
                error.kind(),
                format!("the kernel does not tell the user of the connection: {error}"),
            )),
        }
    }
}

/// The IPv4 address, also of a socket for both versions.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn gone(address: SocketAddr) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, format!("{address} has closed the connection"))
}

/// The user who listens at an address.
///
/// # Errors
/// When nothing listens there, or the kernel does not tell.
pub(super) fn listener_at(address: SocketAddr) -> io::Result<u32> {
    let address = canonical(address);
    let found = sock_diag::find(address, nobody_to(address.ip()))
        .or_else(|_| listener_in_list(address).ok_or(io::ErrorKind::NotFound))?;
    match found.state {
        LISTENING => Ok(found.user),
        _ => Err(io::Error::new(io::ErrorKind::NotFound, "nothing listens there any more")),
    }
}

/// In the kernel's order of lookup: this address, all addresses of its version, all addresses.
pub(super) fn listener_in_list(address: SocketAddr) -> Option<Found> {
    let places = [address.ip(), unspecified(address.ip()), Ipv6Addr::UNSPECIFIED.into()];
    let at = |ip| SocketAddr::new(ip, address.port());
    places.into_iter().find_map(|ip| proc_net::find(at(ip), nobody_to(ip)).ok())
}

/// The other end of a listening socket.
pub(super) fn nobody_to(ip: IpAddr) -> SocketAddr {
    SocketAddr::new(unspecified(ip), 0)
}

fn unspecified(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}
