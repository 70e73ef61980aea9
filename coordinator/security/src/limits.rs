//! What a stranger can make a process hold, and for how long. All limits of listeners and messages
//! are here; what a job may contain is checked where it is read (`coordinator/src/rpc/convert/`),
//! and blocks of data where they are decoded (`worker/src/shuffle/block/header.rs`).

use std::time::Duration;

use rustix::process::{Resource, getrlimit};

/// Connections to the coordinator without an admitted call, if that many files may be open. One
/// more evicts one of them (see [waiting list](crate::waiting_list)).
pub const STRANGERS_MAX: usize = 1 << 10;

/// Admitted connections to the coordinator, if that many files may be open: far more than a large
/// cluster has workers and clients. No more are admitted.
pub const ADMITTED_MAX: usize = 1 << 14;

/// The share of them that one member may have.
const MEMBERS_PART: usize = 16;

/// One member may have this many in any case.
const MEMBER_MIN: usize = 8;

/// Handshakes in progress in a job's process: all other processes connect when its reducers start.
const SHUFFLE_HANDSHAKES_MAX: usize = 1 << 12;

/// How long a caller, which speaks first, may be silent. Silent connections are evicted first when
/// room is short, so this need not be short, and a busy machine may take seconds.
pub const FIRST_BYTE_TIME_MAX: Duration = Duration::from_secs(5);

/// Longest handshake between jobs' processes, and longest wait for the line that names a job: some
/// round trips over a slow network to a busy machine.
pub const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);

/// From accepting a connection to the first admitted call. A newcomer, who has no certificate, has
/// this time in all, and one call.
pub const STRANGER_TIME_MAX: Duration = Duration::from_secs(10);

/// How long a newcomer has to read the answer.
pub const NEWCOMER_LINGER: Duration = Duration::from_secs(1);

/// How many connections a process accepts. Half of its file descriptors are kept for its work: the
/// journal, job processes, parts, executables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    files: usize,
}

impl ConnectionLimits {
    /// By this process's current limit of open files.
    pub fn of_this_process() -> Self {
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        Self { files: usize::try_from(files).unwrap_or(usize::MAX) }
    }

    /// With this limit of open files.
    pub fn of_files(files: usize) -> Self {
        Self { files }
    }

    fn connections(self) -> usize {
        (self.files / 2).min(STRANGERS_MAX * 3 / 2 + ADMITTED_MAX)
    }

    /// Connections that have shown no certificate.
    pub fn strangers(self) -> usize {
        (self.connections() / 4).min(STRANGERS_MAX)
    }

    /// Connections with a certificate, but without an admitted call.
    pub fn waiting(self) -> usize {
        self.strangers() / 2
    }

    /// Admitted connections.
    pub fn admitted(self) -> usize {
        self.connections() - self.strangers() - self.waiting()
    }

    /// Admitted connections of one member.
    pub fn of_member(self) -> usize {
        self.admitted().div_ceil(MEMBERS_PART).max(MEMBER_MIN).min(self.admitted())
    }

    /// Handshakes in progress in a job's process.
    pub fn shuffle_handshakes(self) -> usize {
        (self.connections() / 4).min(SHUFFLE_HANDSHAKES_MAX)
    }

    /// Connections in a job's process after their handshake.
    pub fn shuffle_connections(self) -> usize {
        self.connections() / 2
    }
}

/// Headers of one call, names and values: Windrow's take some hundred bytes.
pub const HEADER_LIST_BYTES_MAX: u32 = 16 << 10;

/// Concurrent calls on one connection to the coordinator: a client makes a few, a worker one.
pub const COORDINATOR_STREAMS_MAX: u32 = 32;

/// Unread bytes of one call. The connection's window holds those of all calls, so that an unread
/// call does not block the others.
pub const COORDINATOR_WINDOW_BYTES: u32 = 256 << 10;

/// Concurrent calls on one connection to a worker. Merges read their streams in the order of keys,
/// so no stream may wait for another one to end: this is more than all reducers of a machine open
/// together.
pub const SHUFFLE_STREAMS_MAX: u32 = 1 << 16;

/// Largest message of a submitter, with many inputs and ranges.
pub const REQUEST_BYTES_MAX: usize = 24 << 20;

/// Largest message of a worker: a heartbeat.
pub const REPORT_BYTES_MAX: usize = 4 << 20;

/// Largest message of an upload: a chunk of a file, and its header.
pub const PIECE_BYTES_MAX: usize = 1 << 20;

/// Largest message from the coordinator: the list of a thousand jobs, or of a job's map outputs,
/// with a few bytes for each of up to a million.
pub const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Largest message to and from the enrollment service, the only one open to strangers.
pub const ENROLLMENT_BYTES_MAX: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_half_of_the_files() {
        for files in [64, 256, 1_024, 4_096, 1 << 20, usize::MAX] {
            let limits = ConnectionLimits { files };
            assert!(
                limits.strangers() + limits.waiting() + limits.admitted() <= files / 2,
                "{limits:?}"
            );
            assert!(limits.shuffle_handshakes() + limits.shuffle_connections() <= files / 2);
            assert!(limits.strangers() >= 8 && limits.of_member() >= 6, "{limits:?}");
        }
        let large = ConnectionLimits { files: 1 << 20 };
        assert_eq!((large.strangers(), large.admitted()), (STRANGERS_MAX, ADMITTED_MAX));
    }
}
