//! What a stranger can make us hold, and for how long. All numbers of listeners and messages are
//! here; what a job may contain is checked where it is read (`coordinator/src/rpc/convert/`), and
//! blocks of data where they are decoded (`worker/src/shuffle/block/header.rs`).

use std::time::Duration;

use rustix::process::{Resource, getrlimit};

/// Connections to the coordinator of which no call of a member was admitted yet, where that many
/// files may be open. When another one comes, one of them goes ([crowd](crate::crowd)).
pub const STRANGERS_MAX: usize = 1 << 10;

/// Connections to the coordinator that belong to members: far more than the workers and clients of
/// a large cluster, where that many files may be open. Nothing more is admitted.
pub const ADMITTED_MAX: usize = 1 << 14;

/// The part of these that one member may have.
const MEMBERS_PART: usize = 16;

/// But so many at least.
const MEMBER_MIN: usize = 8;

/// Handshakes that go on in a job's process: all others come when its reducers start.
const SHUFFLE_HANDSHAKES_MAX: usize = 1 << 12;

/// Until the first byte of a caller: they have the first word. Who is silent goes first where there
/// is no room, so this need not be short, and a machine that is busy may take some seconds.
pub const FIRST_BYTE_TIME_MAX: Duration = Duration::from_secs(5);

/// Longest handshake between jobs' processes, and longest wait for the line that names a job: some
/// round trips, on the slowest network that is of any use, to a machine that is busy.
pub const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);

/// From the beginning of a connection to the first call of a member that is admitted. A newcomer,
/// who has no certificate, has no more time at all, and one call.
pub const STRANGER_TIME_MAX: Duration = Duration::from_secs(10);

/// How long a newcomer may take to hear the answer.
pub const NEWCOMER_LINGER: Duration = Duration::from_secs(1);

/// How many connections a process takes. Half of the files that it may have open are kept for what
/// it is there for: the journal, job processes, parts, programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    files: usize,
}

impl Room {
    /// By the limit that this process has now.
    pub fn of_this_process() -> Self {
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        Self { files: usize::try_from(files).unwrap_or(usize::MAX) }
    }

    /// Where so many files may be open.
    pub fn of_files(files: usize) -> Self {
        Self { files }
    }

    fn connections(self) -> usize {
        (self.files / 2).min(STRANGERS_MAX * 3 / 2 + ADMITTED_MAX)
    }

    /// Connections that have shown nothing yet that counts.
    pub fn strangers(self) -> usize {
        (self.connections() / 4).min(STRANGERS_MAX)
    }

    /// Connections that have shown a certificate, and of which no call was admitted yet.
    pub fn waiting(self) -> usize {
        self.strangers() / 2
    }

    /// Connections of members.
    pub fn admitted(self) -> usize {
        self.connections() - self.strangers() - self.waiting()
    }

    /// Those of one member.
    pub fn of_member(self) -> usize {
        self.admitted().div_ceil(MEMBERS_PART).max(MEMBER_MIN).min(self.admitted())
    }

    /// Handshakes that go on in a job's process.
    pub fn shuffle_handshakes(self) -> usize {
        (self.connections() / 4).min(SHUFFLE_HANDSHAKES_MAX)
    }

    /// Connections in a job's process whose handshake is done.
    pub fn shuffle_connections(self) -> usize {
        self.connections() / 2
    }
}

/// Headers of one call, as names and values: ours take some hundred bytes.
pub const HEADER_LIST_BYTES_MAX: u32 = 16 << 10;

/// Calls at once on one connection to the coordinator: a client makes a few, a worker one.
pub const COORDINATOR_STREAMS_MAX: u32 = 32;

/// What comes on one of these before it is read. All together fit into the connection's window, so
/// that none that waits unread keeps another one from being read.
pub const COORDINATOR_WINDOW_BYTES: u32 = 256 << 10;

/// Calls at once on one connection to a worker. Merges take from their streams in the order of
/// keys, so that none may wait for another one's end: this is more than all reducers of a machine
/// open together.
pub const SHUFFLE_STREAMS_MAX: u32 = 1 << 16;

/// Largest message of a submitter: many inputs, many ranges.
pub const REQUEST_BYTES_MAX: usize = 24 << 20;

/// Largest message of a worker: a heartbeat.
pub const REPORT_BYTES_MAX: usize = 4 << 20;

/// Largest message of an upload: a piece of a file, and its header.
pub const PIECE_BYTES_MAX: usize = 1 << 20;

/// Largest message from the coordinator: the list of a thousand jobs, or of a job's map outputs,
/// with a few bytes for each of up to a million.
pub const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Largest message to and from the enrollment service, the one that strangers may call.
pub const ENROLLMENT_BYTES_MAX: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_files_are_no_connections() {
        for files in [64, 256, 1_024, 4_096, 1 << 20, usize::MAX] {
            let room = Room { files };
            assert!(room.strangers() + room.waiting() + room.admitted() <= files / 2, "{room:?}");
            assert!(room.shuffle_handshakes() + room.shuffle_connections() <= files / 2);
            assert!(room.strangers() >= 8 && room.of_member() >= 6, "{room:?}");
        }
        let large = Room { files: 1 << 20 };
        assert_eq!((large.strangers(), large.admitted()), (STRANGERS_MAX, ADMITTED_MAX));
    }
}
