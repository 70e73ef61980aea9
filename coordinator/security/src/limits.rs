//! What a stranger can make us hold, and for how long. All numbers of listeners and messages are
//! here; what a job may contain is checked where it is read (`coordinator/src/rpc/convert/`), and
//! blocks of data where they are decoded (`worker/src/shuffle/block/header.rs`).

use std::time::Duration;

/// Connections whose handshake is going on, for each listener. Others wait in the kernel's queue.
pub const HANDSHAKES_MAX: usize = 256;

/// The same for connections between the processes of a job, of which all come when its reducers
/// start. Others are closed.
pub const SHUFFLE_HANDSHAKES_MAX: usize = 1 << 12;

/// Connections to a worker that have not said yet which job they are for. Others wait in the
/// kernel's queue.
pub const NAMELESS_MAX: usize = 1 << 10;

/// Longest handshake, and longest wait for the line that names a job: some round trips, on the
/// slowest network that is of any use.
pub const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);

/// How long a connection may be open without a call that was admitted.
pub const FIRST_CALL_TIME_MAX: Duration = Duration::from_secs(10);

/// Connections of one listener: far more than the workers and clients of a large cluster. More are
/// closed at once.
pub const CONNECTIONS_MAX: usize = 1 << 14;

/// Headers of one call, as names and values: ours take some hundred bytes.
pub const HEADER_LIST_BYTES_MAX: u32 = 16 << 10;

/// Calls at once on one connection to the coordinator: a client makes a few, a worker one.
pub const COORDINATOR_STREAMS_MAX: u32 = 256;

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
