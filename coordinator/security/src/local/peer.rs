//! Whose the other end of a connection is, where that is on this machine.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use rustix::process::geteuid;
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use super::{ESTABLISHED, Found, LISTENING, proc_net, sock_diag};
use crate::limits::HANDSHAKE_TIME_MAX;

/// How often the other end is looked for, which has not been taken up yet, before it is waited for:
/// a server takes it up in less time than timers count.
const LOOKS_AT_ONCE: u32 = 50;
/// Before it is looked for again then.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
const LOOK_AGAIN_MAX: Duration = Duration::from_millis(100);

/// Where a connection comes from.
#[derive(Debug)]
pub struct Origin {
    /// The other end.
    pub address: Option<SocketAddr>,
    /// The user of this machine that has it; `None` on another machine.
    pub user: io::Result<Option<u32>>,
}

impl Origin {
    /// Whether the user of this process is at the other end, on this machine.
    pub fn is_own(&self) -> bool {
        matches!(self.user, Ok(Some(user)) if user == geteuid().as_raw())
    }

    /// Asks the system. Whoever has called has that end, so there is nothing to wait for.
    pub(crate) fn of(stream: &TcpStream) -> Self {
        let user = || {
            let Some(ends) = Ends::of(stream)? else { return Ok(None) };
            ends.user(stream)?.map(Some).ok_or_else(|| gone(ends.theirs))
        };
        Self { address: stream.peer_addr().ok(), user: user() }
    }
}

/// Whose the other end of a connection is; `None` if it is not on this machine. Waits until a
/// process has taken it up.
///
/// # Errors
/// When the system does not say, or the other end has gone.
pub(super) async fn user_of(stream: &TcpStream) -> io::Result<Option<u32>> {
    let Some(ends) = Ends::of(stream)? else { return Ok(None) };
    let (mut pause, deadline) = (LOOK_AGAIN, Instant::now() + HANDSHAKE_TIME_MAX);
    let mut looks = 0;
    loop {
        // Microseconds: the kernel looks into a table.
        if let Some(user) = ends.user(stream)? {
            return Ok(Some(user));
        }
        if Instant::now() > deadline {
            let text = format!("nobody has taken up the connection to {}", ends.theirs);
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

/// The two ends of a connection within this machine.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    pub(super) ours: SocketAddr,
    pub(super) theirs: SocketAddr,
}

impl Ends {
    /// `None` if the other end is on another machine.
    ///
    /// Where one end is on loopback, both must be on this machine. A caller may have bound its own
    /// end to another address of the machine; and what a router has led to loopback from outside is
    /// nobody's here, and refused.
    pub(super) fn of(stream: &TcpStream) -> io::Result<Option<Self>> {
        let (ours, theirs) = (canonical(stream.local_addr()?), canonical(stream.peer_addr()?));
        let is_within_machine = ours.ip().is_loopback() || theirs.ip().is_loopback();
        Ok(is_within_machine.then_some(Self { ours, theirs }))
    }

    /// Who has the other end of the connection; `None` if nobody has taken it up yet.
    fn user(self, stream: &TcpStream) -> io::Result<Option<u32>> {
        let user = self.look()?;
        // As long as this end stands, nobody else has both addresses: what was found is the other
        // end of this connection, and not of one made since.
        stream.peer_addr().map_err(|_| gone(self.theirs))?;
        Ok(user)
    }

    /// Who has the socket at `theirs` that is connected to `ours`; `None` if nobody has taken it up
    /// yet.
    pub(super) fn look(self) -> io::Result<Option<u32>> {
        let Self { ours, theirs } = self;
        // Sockets that ask can be forbidden. Where the kernel lacks what answers, it says the same
        // as of a socket that is not there.
        let found = sock_diag::find(theirs, ours).or_else(|_| proc_net::find(theirs, ours));
        match found {
            Ok(Found { state: ESTABLISHED, user, is_held }) => Ok(is_held.then_some(user)),
            Ok(_) => Err(gone(theirs)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(gone(theirs)),
            Err(error) => Err(io::Error::new(
                error.kind(),
                format!("this system does not say whose connection it is: {error}"),
            )),
        }
    }
}

/// An address of version 4 is one, also where a socket for both versions has it.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn gone(address: SocketAddr) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, format!("{address} has hung up"))
}

/// Who listens at an address.
///
/// # Errors
/// When nobody does, or the system does not say who.
pub(super) fn listener_at(address: SocketAddr) -> io::Result<u32> {
    let address = canonical(address);
    let found = sock_diag::find(address, nobody_to(address.ip()))
        .or_else(|_| listener_in_list(address).ok_or(io::ErrorKind::NotFound))?;
    match found.state {
        LISTENING => Ok(found.user),
        _ => Err(io::Error::new(io::ErrorKind::NotFound, "nobody listens there any more")),
    }
}

/// In the order in which the kernel looks for one: at this address, at all of this version, or at
/// all addresses.
pub(super) fn listener_in_list(address: SocketAddr) -> Option<Found> {
    let places = [address.ip(), unspecified(address.ip()), Ipv6Addr::UNSPECIFIED.into()];
    let at = |ip| SocketAddr::new(ip, address.port());
    places.into_iter().find_map(|ip| proc_net::find(at(ip), nobody_to(ip)).ok())
}

/// The other end of a socket that listens.
pub(super) fn nobody_to(ip: IpAddr) -> SocketAddr {
    SocketAddr::new(unspecified(ip), 0)
}

fn unspecified(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}
