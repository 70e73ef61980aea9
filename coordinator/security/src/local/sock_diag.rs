//! Asks the kernel for one socket by its two addresses: `sock_diag`(7).

use std::io;
use std::net::{IpAddr, SocketAddr};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, sendto,
    socket_with,
};

use super::Found;

/// Lengths and numbers from `linux/netlink.h`, `linux/sock_diag.h` and `linux/inet_diag.h`.
mod wire {
    pub const HEADER: usize = 16;
    pub const REQUEST: usize = HEADER + 56;
    pub const TYPE_ERROR: u16 = 2;
    pub const TYPE_BY_FAMILY: u16 = 20;
    pub const FLAG_REQUEST: u16 = 1;
    pub const TCP: u8 = 6;
    pub const ANY: u32 = u32::MAX;
    /// Offsets in `inet_diag_msg` of state, user and inode.
    pub const STATE: usize = HEADER + 1;
    pub const USER: usize = HEADER + 64;
    pub const INODE: usize = HEADER + 68;
}

/// The socket at one address that is connected to the other.
///
/// # Errors
/// When there is no such socket, or the kernel does not answer such requests.
pub(super) fn find(theirs: SocketAddr, ours: SocketAddr) -> io::Result<Found> {
    let kernel = netlink::SocketAddrNetlink::new(0, 0);
    let (kind, flags) = (SocketType::RAW, SocketFlags::CLOEXEC);
    let socket = socket_with(AddressFamily::NETLINK, kind, flags, Some(netlink::SOCK_DIAG))?;
    sendto(&socket, &request(theirs, ours), SendFlags::empty(), &kernel)?;
    let mut answer = [0_u8; 4096];
    let (length, _) = recv(&socket, &mut answer, RecvFlags::empty())?;
    read(&answer[..length.min(answer.len())])
}

/// `nlmsghdr` and `inet_diag_req_v2`.
fn request(theirs: SocketAddr, ours: SocketAddr) -> Vec<u8> {
    let family = if theirs.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
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
    debug_assert_eq!(request.len(), wire::REQUEST, "the kernel refuses any other length");
    request
}

fn padded(address: IpAddr) -> [u8; 16] {
    let mut bytes = [0; 16];
    match address {
        IpAddr::V4(address) => bytes[..4].copy_from_slice(&address.octets()),
        IpAddr::V6(address) => bytes.copy_from_slice(&address.octets()),
    }
    bytes
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
        is_held: u32::from_ne_bytes(four(wire::INODE)?) != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_truncated_answer_is_an_error() {
        for length in 0..wire::INODE + 4 {
            assert!(read(&vec![0; length]).is_err(), "{length}");
        }
        assert!(!read(&[0; wire::INODE + 4]).unwrap().is_held);
    }
}
