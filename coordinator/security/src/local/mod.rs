//! The user behind a connection over loopback, so that a cluster without certificates is not open
//! to everybody who has an account on this machine.
//!
//! The kernel knows the owner of each socket (`sock_diag`(7)). So there is no secret to keep, find
//! or leak, and both ends can check: workers, too, since they run what their coordinator says, and
//! another user could listen at the address of a coordinator that has gone.
//!
//! ```text
//!  client 127.0.0.1:40000  ------ connection ------>  coordinator 127.0.0.1:7171
//!                "whose is 7171, to 40000?"            "whose is 40000, to 7171?"
//!
//!  users        the users to talk to, and the message to others
//!  peer         the user at the other end of a connection, and the user who listens there
//!  sock_diag    the kernel's answer for one socket
//!  proc_net     the kernel's list of all sockets, if sock_diag does not answer
//!  unnumbered   users that this process cannot tell apart
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
pub use users::{LocalUsers, LocalUsersOnly};

/// A connection that both ends have open (`TCP_ESTABLISHED`).
const ESTABLISHED: u8 = 1;
/// A socket that waits for connections (`TCP_LISTEN`).
const LISTENING: u8 = 10;

/// A socket, as the kernel describes it.
struct Found {
    state: u8,
    user: u32,
    /// Whether a process has the socket. One that is not accepted yet, or is closed, is reported as
    /// root's.
    is_held: bool,
}
