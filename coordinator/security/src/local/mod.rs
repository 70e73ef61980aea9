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
//!
//!  users        with whom to speak, and what is said to those who are refused
//!  peer         whose the other end of a connection is, and who listens there
//!  sock_diag    the kernel's answer for one socket
//!  proc_net     the kernel's list of all sockets, where it does not answer
//!  unnumbered   users whom this process cannot tell apart
//! ```

mod peer;
mod proc_net;
mod sock_diag;
#[cfg(test)]
mod tests;
mod unnumbered;
mod users;

pub use peer::Origin;
pub use unnumbered::nobodys_number;
pub use users::{LocalGate, LocalUsers};

/// A connection that both ends have, and neither has closed.
const ESTABLISHED: u8 = 1;
/// A socket that waits for connections.
const LISTENING: u8 = 10;

/// A socket, as the kernel tells it.
struct Found {
    state: u8,
    user: u32,
    /// Whether a process has it. One that was not accepted yet, or was closed, has no user either.
    is_held: bool,
}
