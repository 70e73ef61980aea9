//! Which sockets a job may have: connections of TCP and UDP to others, what the kernel tells of the
//! network, and pairs that are connected to each other.

use super::{Condition, has_bits, is, is_not};

/// Sockets of other families are for services of the machine, local ones above all: what listens
/// there trusts whoever is of its user. Pairs of connected sockets are allowed.
const FAMILIES: [i32; 3] = [libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
const OF_THE_INTERNET: [i32; 2] = [libc::AF_INET, libc::AF_INET6];

/// Landlock knows of ports of TCP only: others take a port of their number (SCTP, DCCP), or one of
/// TCP's (MPTCP, SMC).
const PROTOCOLS: [i32; 3] = [libc::IPPROTO_IP, libc::IPPROTO_TCP, libc::IPPROTO_UDP];

/// The other bits of a type are flags.
const TYPE_BITS: u32 = 0xf;

/// All that there could be but these.
fn types_but(allowed: [i32; 2]) -> impl Iterator<Item = u32> {
    (0..=TYPE_BITS).filter(move |it| !allowed.contains(&(*it as i32)))
}

/// Each is a list of what must all be true.
pub(super) fn by_arguments() -> Vec<(i64, Vec<Vec<Condition>>)> {
    let mut sockets = vec![
        FAMILIES.iter().map(|family| is_not(0, *family as u32)).collect(),
        // Of the kernel, only what it says of interfaces and routes, and of whose a connection is,
        // which the process itself asks in an open cluster.
        vec![
            is(0, libc::AF_NETLINK as u32),
            is_not(2, libc::NETLINK_ROUTE as u32),
            is_not(2, libc::NETLINK_SOCK_DIAG as u32),
        ],
    ];
    for family in OF_THE_INTERNET {
        let other_protocol = PROTOCOLS.iter().map(|protocol| is_not(2, *protocol as u32));
        sockets.push([is(0, family as u32)].into_iter().chain(other_protocol).collect());
        // Raw ones, and those whose usual protocol is another one.
        let of_type = |kind| vec![is(0, family as u32), has_bits(1, TYPE_BITS, kind)];
        sockets.extend(types_but([libc::SOCK_STREAM, libc::SOCK_DGRAM]).map(of_type));
    }
    // One of datagrams can be connected to something else, or send to it, also if it is of a pair.
    let mut pairs = vec![vec![is_not(0, libc::AF_UNIX as u32)]];
    let of_type = |kind| vec![has_bits(1, TYPE_BITS, kind)];
    pairs.extend(types_but([libc::SOCK_STREAM, libc::SOCK_SEQPACKET]).map(of_type));
    let option = |level: i32, name: i32| vec![is(1, level as u32), is(2, name as u32)];
    let options = vec![
        // To choose the port that one's own end of a connection takes away.
        option(libc::IPPROTO_IP, IP_LOCAL_PORT_RANGE),
        // To make another protocol of TCP.
        option(libc::IPPROTO_TCP, libc::TCP_ULP),
    ];
    vec![
        (libc::SYS_socket, sockets),
        (libc::SYS_socketpair, pairs),
        (libc::SYS_setsockopt, options),
    ]
}

const IP_LOCAL_PORT_RANGE: i32 = 51;
