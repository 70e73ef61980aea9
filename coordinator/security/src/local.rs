//! Which user of this machine is at the other end of a connection over loopback, so that a cluster
//! without certificates is not open to everybody who has an account here.
//!
//! The kernel knows whose each socket is (`sock_diag`(7)). So there is no secret to be kept, found
//! or sent to the wrong place, and both ends can ask: a worker runs what its coordinator says, and
//! somebody else could wait at the address of one that has gone.
//!
//! ```text
//!  client 127.0.0.1:40000  ------ connection ------>  coordinator 127.0.0.1:7171
//!                "whose is 7171, to 40000?"            "whose is 40000, to 7171?"
//! ```

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, sendto,
    socket_with,
};
use rustix::process::geteuid;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use tonic::Status;

use crate::access::{Caller, Gate};
use crate::limits::HANDSHAKE_TIME_MAX;

/// A connection that both ends have, and neither has closed.
const ESTABLISHED: u8 = 1;
/// Before the other end is looked for again, which has not been taken up yet.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
const LOOK_AGAIN_MAX: Duration = Duration::from_millis(100);
/// A socket that waits for connections.
const LISTENING: u8 = 10;
/// Who is not numbered, unless the machine says otherwise.
const USUAL_NOBODY: u32 = 65_534;

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

    /// Without a number that stands for all who are not known here.
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

    /// The same, for one who has called: then it matters who listens there, too. A connection that the
    /// kernel takes up in the name of another user's socket (as for `AF_SMC`) is root's.
    ///
    /// # Errors
    /// Likewise.
    pub async fn check_server(&self, stream: &TcpStream) -> io::Result<()> {
        if self.check_user(stream).await? != Some(0) || geteuid().is_root() {
            return Ok(());
        }
        let address = stream.peer_addr()?;
        let listener = listener_at(address);
        let user = listener.map_err(|error| {
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

/// The number that stands for all users of this machine whom the namespace that this process is in
/// does not number: whoever has it may be anybody. `None` where all have numbers of their own.
pub fn nobodys_number() -> Option<u32> {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    if maps_all(&map) {
        return None;
    }
    let number = fs::read_to_string("/proc/sys/kernel/overflowuid").ok();
    Some(number.and_then(|number| number.trim().parse().ok()).unwrap_or(USUAL_NOBODY))
}

/// Whether all users have a number, by a list of first numbers, inside and outside, and lengths.
fn maps_all(map: &str) -> bool {
    let lengths =
        map.lines().filter_map(|line| line.split_ascii_whitespace().nth(2)?.parse::<u64>().ok());
    // A kernel without user namespaces has no such list.
    map.is_empty() || lengths.sum::<u64>() >= u64::from(u32::MAX)
}

/// What to say to one who is refused by number.
fn advice(user: u32, otherwise: String) -> String {
    if nobodys_number() != Some(user) {
        return otherwise;
    }
    format!(
        "{user} stands for all users whom this user namespace (container) does not number, so nobody can be let in by it: \
         run both in one namespace, as a user that is numbered in it"
    )
}

/// Lets in whom these users are: for a coordinator without certificates.
pub struct LocalGate(pub LocalUsers);

impl Gate for LocalGate {
    fn admit(&self, _method: &str, caller: &Caller) -> Result<(), Status> {
        let Self(users) = self;
        let own = geteuid().as_raw();
        let text = match caller.origin().map(|origin| &origin.user) {
            Some(Ok(Some(user))) if users.contain(*user) => return Ok(()),
            // From another machine: whoever listens there has asked for it.
            Some(Ok(None)) => return Ok(()),
            Some(Ok(Some(user))) => {
                let can_do = format!(
                    "whoever runs it can say 'windrow coordinator --allow-user {user}', or set up a secured cluster \
                     ('windrow init')"
                );
                let advice = advice(*user, can_do);
                format!(
                    "this cluster is for user {own} of this machine, and user {user} has called; {advice}"
                )
            }
            Some(Err(error)) => format!("it is not known who has called: {error}"),
            None => "it is not known who has called".to_string(),
        };
        Err(Status::permission_denied(text))
    }
}

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

    /// Asks the system.
    pub(crate) fn of(stream: &TcpStream) -> Self {
        let user = || {
            let (ours, theirs) = (stream.local_addr()?, stream.peer_addr()?);
            if !is_within_machine(ours, theirs) {
                return Ok(None);
            }
            let user = look(theirs, ours)?.ok_or_else(|| gone(theirs))?;
            // As long as this end stands, nobody else has both addresses: what was found is the
            // other end of this connection, and not of one made since.
            stream.peer_addr().map(|_| Some(user)).map_err(|_| gone(theirs))
        };
        Self { address: stream.peer_addr().ok(), user: user() }
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

/// Whose the other end of a connection is; `None` if it is not on this machine.
///
/// # Errors
/// When the system does not say, or the other end has gone.
async fn user_of(stream: &TcpStream) -> io::Result<Option<u32>> {
    let (ours, theirs) = (stream.local_addr()?, stream.peer_addr()?);
    if !is_within_machine(ours, theirs) {
        return Ok(None);
    }
    let (mut pause, deadline) = (LOOK_AGAIN, Instant::now() + HANDSHAKE_TIME_MAX);
    loop {
        // Microseconds: the kernel looks into a table.
        let found = look(theirs, ours)?;
        if let Some(user) = found {
            // As for `Origin::of`.
            return stream.peer_addr().map(|_| Some(user)).map_err(|_| gone(theirs));
        }
        if Instant::now() > deadline {
            let text = format!("nobody has taken up the connection to {theirs}");
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        sleep(pause).await;
        pause = (pause * 2).min(LOOK_AGAIN_MAX);
    }
}

/// Whether one end is on loopback, so that both must be on this machine. A caller may have bound
/// its own end to another address of the machine; and what a router has led to loopback from
/// outside is nobody's here, and refused.
fn is_within_machine(ours: SocketAddr, theirs: SocketAddr) -> bool {
    [ours, theirs].into_iter().any(|end| end.ip().to_canonical().is_loopback())
}

/// A socket, as the kernel tells it.
struct Found {
    state: u8,
    user: u32,
    /// 0 of one that no process has: it was not accepted yet, or was closed. It has no user either.
    inode: u32,
}

/// The user of the socket at `theirs` that is connected to `ours`; `None` if nobody has taken it up
/// yet.
fn look(theirs: SocketAddr, ours: SocketAddr) -> io::Result<Option<u32>> {
    let found = match ask(theirs, ours) {
        // Sockets of this kind can be forbidden, or the kernel may lack what answers.
        Err(_) => listed(theirs, ours),
        found => found,
    };
    match found {
        Ok(Found { state: ESTABLISHED, user, inode: 1.. }) => Ok(Some(user)),
        Ok(Found { state: ESTABLISHED, .. }) => Ok(None),
        Ok(_) => Err(gone(theirs)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(gone(theirs)),
        Err(error) => Err(io::Error::new(
            error.kind(),
            format!("this system does not say whose connection it is: {error}"),
        )),
    }
}

fn gone(address: SocketAddr) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, format!("{address} has hung up"))
}

/// Lengths and numbers of `linux/netlink.h`, `linux/sock_diag.h` and `linux/inet_diag.h`.
mod wire {
    pub const HEADER: usize = 16;
    pub const REQUEST: usize = HEADER + 56;
    pub const TYPE_ERROR: u16 = 2;
    pub const TYPE_BY_FAMILY: u16 = 20;
    pub const FLAG_REQUEST: u16 = 1;
    pub const TCP: u8 = 6;
    pub const ANY: u32 = u32::MAX;
    /// In `inet_diag_msg`: the state, the user, the inode.
    pub const STATE: usize = HEADER + 1;
    pub const USER: usize = HEADER + 64;
    pub const INODE: usize = HEADER + 68;
}

/// Asks the kernel for one socket.
fn ask(theirs: SocketAddr, ours: SocketAddr) -> io::Result<Found> {
    let family = if theirs.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let kernel = netlink::SocketAddrNetlink::new(0, 0);
    let (kind, flags) = (SocketType::RAW, SocketFlags::CLOEXEC);
    let socket = socket_with(AddressFamily::NETLINK, kind, flags, Some(netlink::SOCK_DIAG))?;
    let mut request = Vec::with_capacity(wire::REQUEST);
    request.extend((wire::REQUEST as u32).to_ne_bytes());
    request.extend(wire::TYPE_BY_FAMILY.to_ne_bytes());
    request.extend(wire::FLAG_REQUEST.to_ne_bytes());
    request.extend([0; 8]);
    request.extend([family.as_raw() as u8, wire::TCP, 0, 0]);
    request.extend(wire::ANY.to_ne_bytes());
    request.extend(theirs.port().to_be_bytes());
    request.extend(ours.port().to_be_bytes());
    request.extend(padded(theirs.ip()));
    request.extend(padded(ours.ip()));
    request.extend(0_u32.to_ne_bytes());
    request.extend([wire::ANY.to_ne_bytes(), wire::ANY.to_ne_bytes()].concat());
    debug_assert_eq!(request.len(), wire::REQUEST, "the kernel refuses anything else");
    sendto(&socket, &request, SendFlags::empty(), &kernel)?;
    let mut answer = [0_u8; 4096];
    let (length, _) = recv(&socket, &mut answer, RecvFlags::empty())?;
    read(&answer[..length.min(answer.len())])
}

fn read(answer: &[u8]) -> io::Result<Found> {
    let senseless = || io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer is short");
    let four = |at: usize| -> io::Result<[u8; 4]> {
        let bytes = answer.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or_else(senseless)
    };
    let kind = four(4).map(|[low, high, ..]| u16::from_ne_bytes([low, high]))?;
    if kind == wire::TYPE_ERROR {
        return Err(io::Error::from_raw_os_error(-i32::from_ne_bytes(four(wire::HEADER)?)));
    }
    Ok(Found {
        state: *answer.get(wire::STATE).ok_or_else(senseless)?,
        user: u32::from_ne_bytes(four(wire::USER)?),
        inode: u32::from_ne_bytes(four(wire::INODE)?),
    })
}

fn padded(address: IpAddr) -> [u8; 16] {
    let mut bytes = [0; 16];
    match address {
        IpAddr::V4(address) => bytes[..4].copy_from_slice(&address.octets()),
        IpAddr::V6(address) => bytes.copy_from_slice(&address.octets()),
    }
    bytes
}

/// Who listens at an address.
fn listener_at(address: SocketAddr) -> io::Result<u32> {
    let any = |address: SocketAddr| match address {
        SocketAddr::V4(_) => IpAddr::from([0; 4]),
        SocketAddr::V6(_) => IpAddr::from([0; 16]),
    };
    let nobody = SocketAddr::new(any(address), 0);
    let everywhere = SocketAddr::new(any(address), address.port());
    let found = ask(address, nobody)
        .or_else(|_| listed(address, nobody))
        .or_else(|_| listed(everywhere, nobody))?;
    match found.state {
        LISTENING => Ok(found.user),
        _ => Err(io::Error::new(io::ErrorKind::NotFound, "nobody listens there any more")),
    }
}

/// Looks for it in the list of all sockets, which takes much longer.
fn listed(theirs: SocketAddr, ours: SocketAddr) -> io::Result<Found> {
    // An IPv4 address may be the other end of a socket for both.
    for (file, mapped) in [("tcp", false), ("tcp6", theirs.is_ipv4())] {
        if theirs.is_ipv6() && file == "tcp" {
            continue;
        }
        let text = fs::read_to_string(format!("/proc/self/net/{file}"))?;
        let ends = format!(" {} {} ", written(theirs, mapped), written(ours, mapped));
        let Some(line) = text.lines().find(|line| line.contains(&ends)) else { continue };
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let senseless = || io::Error::new(io::ErrorKind::InvalidData, "an unknown form of list");
        let [_, _, _, state, _, _, _, user, _, inode, ..] = fields[..] else {
            return Err(senseless());
        };
        let inode: u64 = inode.parse().map_err(|_| senseless())?;
        return Ok(Found {
            state: u8::from_str_radix(state, 16).map_err(|_| senseless())?,
            user: user.parse().map_err(|_| senseless())?,
            inode: u32::from(inode != 0),
        });
    }
    Err(io::ErrorKind::NotFound.into())
}

/// As the kernel writes an address: words in the machine's order.
fn written(address: SocketAddr, mapped: bool) -> String {
    let bytes = match address.ip() {
        IpAddr::V4(ip) if mapped => ip.to_ipv6_mapped().octets().to_vec(),
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let words = bytes
        .chunks_exact(4)
        .map(|word| format!("{:08X}", u32::from_ne_bytes([word[0], word[1], word[2], word[3]])));
    format!("{}:{:04X}", words.collect::<String>(), address.port())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn both_ends_are_known_by_either_way() {
        for address in ["127.0.0.1:0", "127.0.0.2:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address).await else { continue };
            let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (server, _) = listener.accept().await.unwrap();
            let own = geteuid().as_raw();
            for stream in [&client, &server] {
                assert_eq!(user_of(stream).await.unwrap(), Some(own));
                LocalUsers::default().check(stream).await.unwrap();
                let (ours, theirs) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
                for found in [ask(theirs, ours).unwrap(), listed(theirs, ours).unwrap()] {
                    assert_eq!((found.state, found.user), (ESTABLISHED, own));
                    assert_ne!(found.inode, 0);
                }
            }
        }
    }

    #[tokio::test]
    async fn others_are_refused_by_their_number() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let _server = listener.accept().await.unwrap();
        let nobody = LocalUsers::from_numbers(Some(Vec::new()));
        let error = nobody.check(&client).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        let own = geteuid().as_raw();
        assert!(error.to_string().contains(&format!("--allow-user {own}")), "{error}");
        LocalUsers::everybody().check(&client).await.unwrap();
    }

    /// An address of this machine that is not loopback, where there is one.
    fn other_address() -> Option<IpAddr> {
        let routes = fs::read_to_string("/proc/net/fib_trie").ok()?;
        let lines: Vec<&str> = routes.lines().map(str::trim).collect();
        let local = lines.windows(2).filter(|two| two[1].starts_with("/32 host LOCAL"));
        let addresses = local.filter_map(|two| two[0].strip_prefix("|-- ")?.parse().ok());
        addresses.into_iter().find(|address: &IpAddr| !address.is_loopback())
    }

    /// Who calls loopback from another address of the machine is on it all the same.
    #[tokio::test]
    async fn a_caller_that_has_bound_another_address_is_known() {
        let Some(address) = other_address() else { return };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(address, 0)).unwrap();
        let _client = socket.connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, from) = listener.accept().await.unwrap();
        assert_eq!(from.ip(), address);
        let own = geteuid().as_raw();
        assert_eq!(Origin::of(&server).user.unwrap(), Some(own));
        let nobody = LocalUsers::from_numbers(Some(Vec::new()));
        assert!(nobody.check(&server).await.is_err());
    }

    #[test]
    fn a_number_that_stands_for_many_is_nobodys() {
        for all in ["         0          0 4294967295\n", "0 0 1000\n1000 1000 4294966295\n", ""] {
            assert!(maps_all(all), "{all}");
        }
        for some in ["65534 4010 1\n", "0 100000 65536\n", "0 1000 1\n1 100000 65536\n"] {
            assert!(!maps_all(some), "{some}");
        }
        let users = LocalUsers::known_among([65_534, 0, 65_534, 7].into_iter(), Some(65_534));
        assert!(!users.contain(65_534) && users.contain(0) && users.contain(7));
        assert!(LocalUsers::known_among([65_534].into_iter(), None).contain(65_534));
    }

    #[tokio::test]
    async fn who_listens_is_known() {
        let both = [("[::]:0", "127.0.0.1"), ("[::]:0", "::1"), ("[::1]:0", "::1")];
        let four = [("127.0.0.1:0", "127.0.0.1"), ("0.0.0.0:0", "127.0.0.2")];
        for (address, loopback) in both.into_iter().chain(four) {
            let Ok(listener) = TcpListener::bind(address).await else { continue };
            let port = listener.local_addr().unwrap().port();
            let at = SocketAddr::new(loopback.parse().unwrap(), port);
            let own = geteuid().as_raw();
            let client = TcpStream::connect(at).await.unwrap();
            let _server = listener.accept().await.unwrap();
            assert_eq!(listener_at(at).unwrap(), own, "{address}");
            LocalUsers::default().check_server(&client).await.unwrap();
            drop(listener);
            // The connection that was taken up remains, and does not listen.
            assert!(listener_at(at).is_err(), "{address}");
        }
    }

    /// What nobody has taken up yet is nobody's, and above all not root's; nor is what was closed.
    #[tokio::test]
    async fn an_end_that_no_process_has_is_nobodys() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (ours, theirs) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
        assert_eq!(look(theirs, ours).unwrap(), None);
        assert_eq!(listed(theirs, ours).unwrap().inode, 0);
        let (server, _) = listener.accept().await.unwrap();
        assert!(look(theirs, ours).unwrap().is_some());
        drop(server);
        let closed = look(theirs, ours).unwrap_err();
        assert_eq!(closed.kind(), io::ErrorKind::ConnectionReset);
    }
}
