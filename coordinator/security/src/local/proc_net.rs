//! Finds a socket in `/proc/self/net/tcp`, the list of all sockets: much slower than `sock_diag`,
//! which some systems forbid.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};

use super::Found;

/// The socket at one address that is connected to the other.
///
/// # Errors
/// When there is no such socket, or the list cannot be read.
pub(super) fn find(theirs: SocketAddr, ours: SocketAddr) -> io::Result<Found> {
    // A socket for both versions is listed under IPv6, whatever its address.
    let lists: &[_] =
        if theirs.is_ipv4() { &[("tcp", false), ("tcp6", true)] } else { &[("tcp6", false)] };
    for &(list, mapped) in lists {
        let text = fs::read_to_string(format!("/proc/self/net/{list}"))?;
        let ends = format!(" {} {} ", written(theirs, mapped), written(ours, mapped));
        if let Some(line) = text.lines().find(|line| line.contains(&ends)) {
            return read(line);
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

fn read(line: &str) -> io::Result<Found> {
    let senseless = || io::Error::new(io::ErrorKind::InvalidData, "the list has an unknown format");
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let [_, _, _, state, _, _, _, user, _, inode, ..] = fields[..] else {
        return Err(senseless());
    };
    let inode: u64 = inode.parse().map_err(|_| senseless())?;
    Ok(Found {
        state: u8::from_str_radix(state, 16).map_err(|_| senseless())?,
        user: user.parse().map_err(|_| senseless())?,
        is_held: inode != 0,
    })
}

/// An address as the kernel prints it: words in native byte order.
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
