//! Sends the output of jobs' processes to the coordinator, where users can read it while the
//! processes run, and when they and this worker are gone.
//!
//! It is for people: each message replaces the one before, none is waited for, and none is sent
//! twice.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use windrow_jobs::{JobId, StageId};
use windrow_proto::{PRINTED_BYTES_MAX, PRINTED_TASKS_MAX, v1};

use super::child::Child;
use super::printed::PrintedSoFar;

/// Receives the output of processes.
pub(crate) type PrintedLogs = mpsc::Receiver<v1::Printed>;

/// How often to look for new output.
const LOOK: Duration = Duration::from_secs(1);
/// Most bytes sent of a running process; when it is gone, everything kept in memory is sent.
const RUNNING_BYTES_MAX: usize = 16 << 10;
/// Messages that wait for a session.
pub(super) const WAITING_MAX: usize = 16;

/// Follows a process until it is gone.
pub(super) async fn follow(
    job: JobId,
    child: Arc<Child>,
    printed: PrintedSoFar,
    tell: mpsc::Sender<v1::Printed>,
) {
    let mut told_bytes = 0;
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let (is_gone, bytes_max) = tokio::select! {
            biased;
            () = child.gone.cancelled() => (true, PRINTED_BYTES_MAX),
            _ = looks.tick() => (false, RUNNING_BYTES_MAX),
        };
        if printed.bytes() > told_bytes || (is_gone && told_bytes > 0) {
            let message = message(job, &child, &printed, bytes_max);
            told_bytes = message.bytes;
            if tell.send(message).await.is_err() {
                return; // The worker is leaving.
            }
        }
        if is_gone {
            return;
        }
    }
}

fn message(job: JobId, child: &Child, printed: &PrintedSoFar, bytes_max: usize) -> v1::Printed {
    let (bytes, tail) = printed.tail(bytes_max);
    let tasks = child.tasks();
    let of = |stage| {
        let of_stage = tasks.iter().filter(move |task| task.stage == stage);
        of_stage.map(|task| task.index).take(PRINTED_TASKS_MAX / 2).collect()
    };
    v1::Printed {
        job: job.0,
        process: child.serial,
        bytes,
        tail: tail.into(),
        maps: of(StageId::MAP),
        reduces: of(StageId::REDUCE),
    }
}
