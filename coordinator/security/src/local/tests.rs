//! Connections of this process with itself, looked up in both ways.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};

use rustix::process::geteuid;
use tokio::net::{TcpListener, TcpStream};

use super::peer::{Ends, listener_at, listener_in_list, nobody_to, user_of};
use super::*;

/// Both ends of a connection to a listener at `address`, called at `ip`; `None` if this machine
/// lacks that IP version.
async fn connected(address: &str, ip: &str) -> Option<(TcpListener, [TcpStream; 2])> {
    let listener = TcpListener::bind(address).await.ok()?;
    let port = listener.local_addr().unwrap().port();
    let client = TcpStream::connect((ip, port)).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    Some((listener, [client, server]))
}

/// IPv4, IPv6, and a listener for both that is called by IPv4.
const PLACES: [(&str, &str); 6] = [
    ("127.0.0.1:0", "127.0.0.1"),
    ("127.0.0.2:0", "127.0.0.2"),
    ("0.0.0.0:0", "127.0.0.2"),
    ("[::1]:0", "::1"),
    ("[::]:0", "::1"),
    ("[::]:0", "127.0.0.1"),
];

#[tokio::test]
async fn either_way_finds_the_user_of_both_ends() {
    let own = geteuid().as_raw();
    for (address, ip) in PLACES {
        let Some((_listener, both)) = connected(address, ip).await else { continue };
        for stream in &both {
            assert_eq!(user_of(stream).await.unwrap(), Some(own));
            assert!(Origin::of(stream).is_own());
            LocalUsers::default().check(stream).await.unwrap();
            let Ends { ours, theirs } = Ends::of(stream).unwrap().unwrap();
            for found in [sock_diag::find(theirs, ours), proc_net::find(theirs, ours)] {
                let found = found.unwrap_or_else(|error| panic!("{address} {theirs}: {error}"));
                assert_eq!((found.state, found.user, found.is_held), (ESTABLISHED, own, true));
            }
        }
    }
}

#[tokio::test]
async fn other_users_are_refused_by_number() {
    let (_listener, [client, _server]) = connected("127.0.0.1:0", "127.0.0.1").await.unwrap();
    let nobody = LocalUsers::from_numbers(Some(Vec::new()));
    let error = nobody.check(&client).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    let own = geteuid().as_raw();
    assert!(error.to_string().contains(&format!("--allow-user {own}")), "{error}");
    LocalUsers::everybody().check(&client).await.unwrap();
}

/// An address of this machine that is not loopback, if it has one.
fn other_address() -> Option<IpAddr> {
    let routes = fs::read_to_string("/proc/net/fib_trie").ok()?;
    let lines: Vec<&str> = routes.lines().map(str::trim).collect();
    let local = lines.windows(2).filter(|two| two[1].starts_with("/32 host LOCAL"));
    let addresses = local.filter_map(|two| two[0].strip_prefix("|-- ")?.parse().ok());
    addresses.into_iter().find(|address: &IpAddr| !address.is_loopback())
}

/// A caller may reach loopback from another address of the machine.
#[tokio::test]
async fn a_caller_that_has_bound_another_address_is_known() {
    let Some(address) = other_address() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(address, 0)).unwrap();
    let _client = socket.connect(listener.local_addr().unwrap()).await.unwrap();
    let (server, from) = listener.accept().await.unwrap();
    assert_eq!(from.ip(), address);
    assert!(Origin::of(&server).is_own());
    let nobody = LocalUsers::from_numbers(Some(Vec::new()));
    assert!(nobody.check(&server).await.is_err());
}

#[tokio::test]
async fn either_way_finds_the_user_who_listens() {
    let own = geteuid().as_raw();
    for (address, ip) in PLACES {
        let Some((listener, [client, _server])) = connected(address, ip).await else { continue };
        let at = client.peer_addr().unwrap();
        assert_eq!(listener_at(at).unwrap(), own, "{address}");
        for found in [sock_diag::find(at, nobody_to(at.ip())).ok(), listener_in_list(at)] {
            let found = found.map(|found| (found.state, found.user));
            assert_eq!(found, Some((LISTENING, own)), "{address}");
        }
        LocalUsers::default().check_server(&client).await.unwrap();
        drop(listener);
        // The accepted connection stays open, and is no listener.
        assert!(listener_at(at).is_err(), "{address}");
    }
}

/// The kernel reports sockets without a process as root's: they must have no user.
#[tokio::test]
async fn a_socket_without_a_process_has_no_user() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let ends = Ends::of(&client).unwrap().unwrap();
    assert_eq!(ends.look().unwrap(), None);
    assert!(!proc_net::find(ends.theirs, ends.ours).unwrap().is_held);
    let (server, _) = listener.accept().await.unwrap();
    assert!(ends.look().unwrap().is_some());
    drop(server);
    assert_eq!(ends.look().unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}
