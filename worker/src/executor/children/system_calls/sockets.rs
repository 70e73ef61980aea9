//! Sockets that a job may have: TCP and UDP connections to others, the kernel's information about
//! the network, and connected pairs.

use super::{Condition, has_bits, is, is_not};

/// Sockets of other families reach services of the machine, local ones above all, many of which
/// trust every process of their user. Pairs of connected sockets are allowed.
const FAMILIES: [i32; 3] = [libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
const OF_THE_INTERNET: [i32; 2] = [libc::AF_INET, libc::AF_INET6];

/// Landlock covers TCP ports only: other protocols take a port of the same number (SCTP, DCCP), or
/// a TCP port (MPTCP, SMC).
const PROTOCOLS: [i32; 3] = [libc::IPPROTO_IP, libc::IPPROTO_TCP, libc::IPPROTO_UDP];

/// The other bits of a type are flags.
const TYPE_BITS: u32 = 0xf;

/// All other types.
fn types_but(allowed: [i32; 2]) -> impl Iterator<Item = u32> {
    (0..=TYPE_BITS).filter(move |it| !allowed.contains(&(*it as i32)))
}

/// Each inner list is a conjunction.
pub(super) fn by_arguments() -> Vec<(i64, Vec<Vec<Condition>>)> {
    let mut sockets = vec![
        FAMILIES.iter().map(|family| is_not(0, *family as u32)).collect(),
        // From the kernel, only information on interfaces and routes, and on the owner of a
        // connection, which the process itself asks for in an open cluster.
        vec![
            is(0, libc::AF_NETLINK as u32),
            is_not(2, libc::NETLINK_ROUTE as u32),
            is_not(2, libc::NETLINK_SOCK_DIAG as u32),
        ],
    ];
    for family in OF_THE_INTERNET {
        let other_protocol = PROTOCOLS.iter().map(|protocol| is_not(2, *protocol as u32));
        sockets.push([is(0, family as u32)].into_iter().chain(other_protocol).collect());
        // Raw sockets, and types whose default protocol is another one.
        let of_type = |kind| vec![is(0, family as u32), has_bits(1, TYPE_BITS, kind)];
        sockets.extend(types_but([libc::SOCK_STREAM, libc::SOCK_DGRAM]).map(of_type));
    }
    // A datagram socket can be connected to another peer, or send to it, even if it is one of a
    // pair.
    let mut pairs = vec![vec![is_not(0, libc::AF_UNIX as u32)]];
    let of_type = |kind| vec![has_bits(1, TYPE_BITS, kind)];
    pairs.extend(types_but([libc::SOCK_STREAM, libc::SOCK_SEQPACKET]).map(of_type));
    let option = |level: i32, name: i32| vec![is(1, level as u32), is(2, name as u32)];
    let options = vec![
        // Chooses the local port of an outgoing connection.
        option(libc::IPPROTO_IP, IP_LOCAL_PORT_RANGE),
        // Turns a TCP connection into another protocol.
        option(libc::IPPROTO_TCP, libc::TCP_ULP),
    ];
    vec![
        (libc::SYS_socket, sockets),
        (libc::SYS_socketpair, pairs),
        (libc::SYS_setsockopt, options),
    ]
}

const IP_LOCAL_PORT_RANGE: i32 = 51;
