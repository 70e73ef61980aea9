//! Reports as a worker hears them from the process of a job. User code runs there: they are
//! believed no more than what comes over a network.

use std::time::Duration;

use windrow_jobs::{
    AttemptId, Audit, Counters, Death, Emitted, FailureCause, MemoryLimit, Place, WorkerId,
};
use windrow_proto::v1;
use windrow_proto::v1::failure::Cause;
use windrow_proto::v1::worker_message::Message;

use super::{Malformed, attempt_from};
use crate::model::{Finished, Part, Progress, Stats};

/// An attempt, and how it ended.
pub(crate) type Ended = (AttemptId, Result<Finished, FailureCause>);

/// The end of an attempt.
pub(crate) fn report_from(report: v1::WorkerMessage) -> Result<Ended, Malformed> {
    Ok(match report.message.ok_or(Malformed("no report"))? {
        Message::MapDone(v1::MapDone { attempt, stats, part, quarantine })
        | Message::ReduceDone(v1::ReduceDone { attempt, stats, part, quarantine }) => {
            let stats = stats_from(stats.unwrap_or_default())?;
            let (part, quarantine) = (part.map(part_from), quarantine.map(part_from));
            (attempt_from(attempt)?, Ok(Finished { stats, part, quarantine }))
        }
        Message::AttemptFailed(v1::AttemptFailed { attempt, failure }) => {
            (attempt_from(attempt)?, Err(failure_from(failure)?))
        }
        _ => return Err(Malformed("no end of an attempt")),
    })
}

/// How far the attempts of a process have come; those that make no sense are left out.
pub(crate) fn progress_from(
    heartbeat: v1::Heartbeat,
) -> impl Iterator<Item = (AttemptId, Progress)> {
    heartbeat.running.into_iter().filter_map(|running| {
        let v1::AttemptProgress { attempt, records, bytes, steps } = running;
        Some((attempt_from(attempt).ok()?, Progress::of(records, bytes, steps)))
    })
}

fn stats_from(stats: v1::AttemptStats) -> Result<Stats, Malformed> {
    let mut counters = Counters::default();
    for (name, n) in &stats.counters {
        counters.add(name, *n);
    }
    let skipped_example = stats.skipped_example;
    Ok(Stats {
        input_records: stats.input_records,
        input_bytes: stats.input_bytes,
        output_records: stats.output_records,
        output_bytes: stats.output_bytes,
        skipped_records: stats.skipped_records,
        skipped_example: skipped_example.map(|failure| failure_from(Some(failure))).transpose()?,
        elapsed: Duration::from_millis(stats.elapsed_ms),
        counters,
        audit: audit_from(stats.audit),
        emitted: stats
            .emitted
            .map(|v1::Emitted { keys, is_partial }| Emitted { keys: audit_from(keys), is_partial }),
    })
}

fn audit_from(audit: Option<v1::Audit>) -> Audit {
    let v1::Audit { records, digest } = audit.unwrap_or_default();
    Audit { records, digest }
}

fn part_from(part: v1::Part) -> Part {
    let v1::Part { path, bytes, records, crc64 } = part;
    Part { path: path.into(), bytes, records, crc64 }
}

fn failure_from(failure: Option<v1::Failure>) -> Result<FailureCause, Malformed> {
    use v1::failure::{
        BadRecords, Corrupt, FetchFailed, InputChanged, Io, OutOfMemory, ProcessDied, UserError,
        WorkerLost, process_died,
    };
    let failure = failure.ok_or(Malformed("no failure"))?;
    // A cause of a kind that is not known decodes as none: the executable of the job is newer.
    let Some(cause) = failure.cause else {
        let message = "the job's process names a cause of failure that this worker does not know: it is newer";
        return Ok(FailureCause::UserError { place: Place::default(), message: message.into() });
    };
    Ok(match cause {
        Cause::UserError(UserError { place, message }) => {
            FailureCause::UserError { place: place_from(place), message }
        }
        Cause::UserPanic(UserError { place, message }) => {
            FailureCause::UserPanic { place: place_from(place), message }
        }
        Cause::BadRecords(BadRecords { skipped, last }) => {
            let UserError { place, message } = last.unwrap_or_default();
            FailureCause::BadRecords { skipped, place: place_from(place), message }
        }
        Cause::Timeout(timeout) => {
            FailureCause::Timeout { after: Duration::from_millis(timeout.after_ms) }
        }
        Cause::FetchFailed(FetchFailed { map_task, map_attempt, worker, message }) => {
            FailureCause::FetchFailed { map_task, map_attempt, worker: WorkerId(worker), message }
        }
        Cause::Corrupt(Corrupt { file, offset, message }) => {
            FailureCause::Corrupt { file, offset, message }
        }
        Cause::InputChanged(InputChanged { file, message }) => {
            FailureCause::InputChanged { file, message }
        }
        Cause::Io(Io { path, message, disk_full }) => FailureCause::Io { path, message, disk_full },
        Cause::ProcessDied(ProcessDied { death, alone, place, output }) => {
            let death = match death.ok_or(Malformed("no death"))? {
                process_died::Death::Signal(number) => Death::Signal(number),
                process_died::Death::ExitCode(code) => Death::Exit(code),
            };
            let place = Box::new(place_from(place));
            FailureCause::ProcessDied { death, alone, place, output }
        }
        Cause::OutOfMemory(died @ OutOfMemory { limit_bytes, alone, .. }) => {
            let limit = memory_limit_from(died.limit());
            FailureCause::OutOfMemory { limit_bytes, limit, alone, place: place_from(died.place) }
        }
        Cause::Cancelled(_) => FailureCause::Cancelled,
        Cause::WorkerLost(WorkerLost { worker, reason }) => {
            FailureCause::WorkerLost { worker: WorkerId(worker), reason }
        }
        Cause::Unsupported(unsupported) => {
            FailureCause::Unsupported { message: unsupported.message }
        }
    })
}

/// Places that are not said are empty.
fn place_from(place: Option<v1::Place>) -> Place {
    super::place_from(place.unwrap_or_default())
}

fn memory_limit_from(limit: v1::MemoryLimit) -> MemoryLimit {
    match limit {
        v1::MemoryLimit::Unspecified | v1::MemoryLimit::Process => MemoryLimit::Process,
        v1::MemoryLimit::Group => MemoryLimit::Group,
        v1::MemoryLimit::Machine => MemoryLimit::Machine,
    }
}

#[cfg(test)]
mod tests {
    use windrow_jobs::{JobId, Stage, TaskId};

    use super::*;
    use crate::wire::{heartbeat_to, result_to};

    fn attempt(stage: Stage) -> AttemptId {
        AttemptId { task: TaskId { job: JobId(1), stage, index: 2 }, number: 3 }
    }

    #[test]
    fn success_is_heard_as_it_was_told() {
        let part = |records| Part { path: "/out/p".into(), bytes: 1, records, crc64: u64::MAX };
        let mut counters = Counters::default();
        counters.add("words", 7);
        let stats = Stats {
            input_records: 1,
            input_bytes: 2,
            output_records: 3,
            output_bytes: 4,
            skipped_records: 5,
            skipped_example: Some(FailureCause::Cancelled),
            elapsed: Duration::from_millis(6),
            counters,
            audit: Audit { records: 8, digest: 9 },
            emitted: Some(Emitted { keys: Audit { records: 10, digest: 11 }, is_partial: true }),
        };
        for stage in [Stage::Map, Stage::Reduce] {
            let told =
                Finished { stats: stats.clone(), part: Some(part(1)), quarantine: Some(part(2)) };
            let heard = report_from(result_to(attempt(stage), Ok(told.clone()))).unwrap();
            assert_eq!(heard, (attempt(stage), Ok(told)));
        }
    }

    #[test]
    fn every_cause_is_heard_as_it_was_told() {
        let text = || "text".to_string();
        let place = Place {
            file: "/f".into(),
            offset: Some(0),
            key: Some(String::new()),
            source: Some("a.rs:1:2".into()),
        };
        for cause in [
            FailureCause::UserError { place: Place::default(), message: text() },
            FailureCause::UserPanic { place: place.clone(), message: text() },
            FailureCause::BadRecords { skipped: 3, place, message: text() },
            FailureCause::Timeout { after: Duration::from_millis(1) },
            FailureCause::FetchFailed {
                map_task: 1,
                map_attempt: 2,
                worker: WorkerId(3),
                message: text(),
            },
            FailureCause::Corrupt { file: text(), offset: 4, message: text() },
            FailureCause::InputChanged { file: text(), message: text() },
            FailureCause::Io { path: text(), message: text(), disk_full: true },
            FailureCause::ProcessDied {
                death: Death::Signal(11),
                alone: true,
                place: Box::default(),
                output: text(),
            },
            FailureCause::ProcessDied {
                death: Death::Exit(0),
                alone: false,
                place: Box::default(),
                output: text(),
            },
            FailureCause::OutOfMemory {
                limit_bytes: 5,
                limit: MemoryLimit::Group,
                alone: true,
                place: Place::default(),
            },
            FailureCause::Cancelled,
            FailureCause::WorkerLost { worker: WorkerId(5), reason: text() },
            FailureCause::Unsupported { message: text() },
        ] {
            let told = result_to(attempt(Stage::Map), Err(cause.clone()));
            assert_eq!(report_from(told), Ok((attempt(Stage::Map), Err(cause))));
        }
    }

    #[test]
    fn progress_is_heard_and_nonsense_is_not() {
        let progress = Progress::of(1, 2, 3);
        let message = heartbeat_to([(attempt(Stage::Map), &progress)].into_iter(), 0).message;
        let Some(Message::Heartbeat(mut heartbeat)) = message else { panic!("no heartbeat") };
        heartbeat.running.push(v1::AttemptProgress::default());
        let heard: Vec<_> = progress_from(heartbeat).collect();
        assert_eq!(heard.len(), 1);
        assert_eq!((heard[0].0, heard[0].1.get()), (attempt(Stage::Map), (1, 2)));
        assert!(report_from(v1::WorkerMessage::default()).is_err());
    }
}
