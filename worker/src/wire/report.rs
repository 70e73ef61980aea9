//! Reports and heartbeats: encoded for the coordinator, and decoded from the process of a job.
//! User code runs in that process: its messages are trusted no more than those from a network.

use std::time::Duration;

use windrow_jobs::{
    AttemptId, Audit, Counters, Emitted, FailureCause, JobId, PartHandle, StageId, Upload, WorkerId,
};
use windrow_proto::v1::worker_message::Message;
use windrow_proto::{runs, v1};

use super::failure::{failure_from, failure_to};
use super::{Malformed, attempt_from, attempt_to};
use crate::model::{Finished, Progress, Stats};

/// A heartbeat: the running attempts and their progress.
pub(crate) fn heartbeat_to<'a>(
    running: impl Iterator<Item = (AttemptId, &'a Progress)>,
    sequence: u64,
) -> v1::WorkerMessage {
    message(Message::Heartbeat(progress_to(running, sequence)))
}

/// Running attempts, and how far they have come.
pub(crate) fn progress_to<'a>(
    running: impl Iterator<Item = (AttemptId, &'a Progress)>,
    sequence: u64,
) -> v1::Heartbeat {
    let progress = running.map(|(attempt, progress)| {
        let (records, bytes) = progress.get();
        let attempt = Some(attempt_to(attempt));
        v1::AttemptProgress { attempt, records, bytes, steps: progress.steps() }
    });
    v1::Heartbeat { running: progress.collect(), sequence }
}

/// What a worker still holds after its call broke.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    /// Running attempts.
    pub running: Vec<AttemptId>,
    /// Attempts that are over and were not noted.
    pub unanswered: Vec<AttemptId>,
    /// Attempts whose map output is here.
    pub outputs: Vec<AttemptId>,
}

/// The resumption of a session as `worker` of `cluster`, which has seen `epoch` there.
pub(crate) fn return_to(
    worker: WorkerId,
    cluster: &str,
    epoch: u64,
    inventory: Inventory,
) -> v1::Return {
    let all = |attempts: Vec<AttemptId>| runs::packed(attempts.into_iter().map(attempt_to));
    v1::Return {
        worker: worker.0,
        cluster: cluster.to_string(),
        epoch,
        running: all(inventory.running),
        unanswered: all(inventory.unanswered),
        outputs: all(inventory.outputs),
    }
}

/// How an attempt ended.
pub(crate) fn result_to(
    attempt: AttemptId,
    result: Result<Finished, FailureCause>,
) -> v1::WorkerMessage {
    let id = Some(attempt_to(attempt));
    message(match result {
        Ok(Finished { stats, part, bad_records }) => {
            let stats = Some(stats_to(stats));
            let (part, bad_records) = (part.map(part_to), bad_records.map(part_to));
            match attempt.task.stage {
                StageId::MAP => {
                    Message::MapDone(v1::MapDone { attempt: id, stats, part, bad_records })
                }
                _ => Message::ReduceDone(v1::ReduceDone { attempt: id, stats, part, bad_records }),
            }
        }
        Err(cause) => {
            let failure = Some(failure_to(cause));
            Message::AttemptFailed(v1::AttemptFailed { attempt: id, failure })
        }
    })
}

/// Map outputs that died with the process that held them.
pub(crate) fn outputs_lost_to(outputs: impl IntoIterator<Item = AttemptId>) -> v1::WorkerMessage {
    let outputs = runs::packed(outputs.into_iter().map(attempt_to));
    message(Message::OutputsLost(v1::OutputsLost { outputs }))
}

/// The processes of a job that was released with this ticket have ended.
pub(crate) fn released_to(JobId(job): JobId, ticket: u64) -> v1::WorkerMessage {
    message(Message::JobReleased(v1::JobReleased { job, ticket }))
}

fn message(message: Message) -> v1::WorkerMessage {
    v1::WorkerMessage { message: Some(message) }
}

fn stats_to(stats: Stats) -> v1::AttemptStats {
    v1::AttemptStats {
        input_records: stats.input_records,
        input_bytes: stats.input_bytes,
        output_records: stats.output_records,
        output_bytes: stats.output_bytes,
        elapsed_ms: stats.elapsed.as_millis() as u64,
        counters: stats.counters.iter().map(|(name, n)| (name.to_string(), n)).collect(),
        audit: Some(audit_to(stats.audit)),
        emitted: stats.emitted.map(|Emitted { keys, is_partial }| v1::Emitted {
            keys: Some(audit_to(keys)),
            is_partial,
        }),
        skipped_records: stats.skipped_records,
        skipped_example: stats.skipped_example.map(failure_to),
    }
}

fn audit_to(Audit { records, digest }: Audit) -> v1::Audit {
    v1::Audit { records, digest }
}

fn part_to(part: PartHandle) -> v1::Part {
    let PartHandle { location, bytes, records, crc64, upload } = part;
    let upload = upload.map(|Upload { id, pieces }| v1::Upload {
        id: id.into(),
        pieces: pieces.into_iter().map(Into::into).collect(),
    });
    v1::Part { location: location.to_string(), bytes, records, crc64, upload }
}

/// An attempt, and how it ended.
pub(crate) type Ended = (AttemptId, Result<Finished, FailureCause>);

/// The end of an attempt.
pub(crate) fn report_from(report: v1::WorkerMessage) -> Result<Ended, Malformed> {
    Ok(match report.message.ok_or(Malformed("no report"))? {
        Message::MapDone(v1::MapDone { attempt, stats, part, bad_records })
        | Message::ReduceDone(v1::ReduceDone { attempt, stats, part, bad_records }) => {
            let stats = stats_from(stats.unwrap_or_default())?;
            let part = part.map(part_from).transpose()?;
            let bad_records = bad_records.map(part_from).transpose()?;
            (attempt_from(attempt)?, Ok(Finished { stats, part, bad_records }))
        }
        Message::AttemptFailed(v1::AttemptFailed { attempt, failure }) => {
            (attempt_from(attempt)?, Err(failure_from(failure)?))
        }
        _ => return Err(Malformed("no end of an attempt")),
    })
}

/// The progress of the attempts of a process; malformed entries are left out.
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

fn part_from(part: v1::Part) -> Result<PartHandle, Malformed> {
    let v1::Part { location, bytes, records, crc64, upload } = part;
    let location = location.parse().map_err(|_| Malformed("a part without a location"))?;
    let upload = upload.map(|v1::Upload { id, pieces }| Upload {
        id: id.into(),
        pieces: pieces.into_iter().map(Into::into).collect(),
    });
    Ok(PartHandle { location, bytes, records, crc64, upload })
}

#[cfg(test)]
mod tests {
    use windrow_jobs::{Death, MemoryLimit, RecordPlace, TaskId};

    use super::*;

    fn attempt(stage: StageId) -> AttemptId {
        AttemptId { task: TaskId { job: JobId(1), stage, index: 2 }, number: 3 }
    }

    #[test]
    fn success_survives_the_round_trip() {
        let part = |records| PartHandle {
            location: "/out/p".parse().unwrap(),
            bytes: 1,
            records,
            crc64: u64::MAX,
            upload: Some(Upload { id: "u".into(), pieces: vec!["a".into(), "b".into()] }),
        };
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
        for stage in StageId::ALL {
            let told =
                Finished { stats: stats.clone(), part: Some(part(1)), bad_records: Some(part(2)) };
            let heard = report_from(result_to(attempt(stage), Ok(told.clone()))).unwrap();
            assert_eq!(heard, (attempt(stage), Ok(told)));
        }
    }

    #[test]
    fn every_cause_survives_the_round_trip() {
        let text = || "text".to_string();
        let source = Some("a.rs:1:2".into());
        let place = RecordPlace::from_fields(("/f".into(), Some(0), Some(String::new()), source));
        for cause in [
            FailureCause::UserError { place: RecordPlace::default(), message: text() },
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
                place: RecordPlace::default(),
            },
            FailureCause::Cancelled,
            FailureCause::WorkerLost { worker: WorkerId(5), reason: text() },
            FailureCause::Unsupported { message: text() },
            FailureCause::RecordTooLong { place: RecordPlace::default(), message: text() },
        ] {
            let told = result_to(attempt(StageId::MAP), Err(cause.clone()));
            assert_eq!(report_from(told), Ok((attempt(StageId::MAP), Err(cause))));
        }
    }

    #[test]
    fn progress_is_decoded_and_malformed_entries_are_skipped() {
        let progress = Progress::of(1, 2, 3);
        let message = heartbeat_to([(attempt(StageId::MAP), &progress)].into_iter(), 0).message;
        let Some(Message::Heartbeat(mut heartbeat)) = message else { panic!("no heartbeat") };
        heartbeat.running.push(v1::AttemptProgress::default());
        let heard: Vec<_> = progress_from(heartbeat).collect();
        assert_eq!(heard.len(), 1);
        assert_eq!((heard[0].0, heard[0].1.get()), (attempt(StageId::MAP), (1, 2)));
        assert!(report_from(v1::WorkerMessage::default()).is_err());
    }

    #[test]
    fn the_audit_is_reported() {
        let audit = Audit { records: 3, digest: 4 };
        let sent = stats_to(Stats { audit, ..Stats::default() }).audit;
        assert_eq!(sent, Some(v1::Audit { records: 3, digest: 4 }));
    }
}
