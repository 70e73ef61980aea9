//! Conversion of a worker's messages in its session.

use std::time::Duration;

use windrow_jobs::{Audit, Emitted, JobId, Location, PartHandle, StageId, Upload};
use windrow_proto::v1;
use windrow_proto::v1::worker_message::Message;
use windrow_scheduler::{AttemptProgress, AttemptStats};

use super::failure::failure_from;
use super::{Malformed, attempt_from, attempts_from};
use crate::driver::Report;
use crate::output::Reported;

/// The report in a message after the hello; `None` for a message of a kind that a newer worker
/// knows.
pub(in crate::rpc) fn report_from(message: v1::WorkerMessage) -> Result<Option<Report>, Malformed> {
    message.message.map(report).transpose()
}

fn report(message: Message) -> Result<Report, Malformed> {
    match message {
        Message::Hello(_) => Err(Malformed("a second hello".to_string())),
        Message::Heartbeat(heartbeat) => {
            let running = heartbeat.running.into_iter().map(progress_from);
            let sequence = heartbeat.sequence;
            Ok(Report::Heartbeat { running: running.collect::<Result<_, _>>()?, sequence })
        }
        Message::MapDone(v1::MapDone { attempt, stats, part, bad_records }) => {
            done(StageId::MAP, attempt, stats, part, bad_records)
        }
        Message::ReduceDone(v1::ReduceDone { attempt, stats, part, bad_records }) => {
            let part = part.ok_or_else(|| Malformed::missing("part"))?;
            done(StageId::REDUCE, attempt, stats, Some(part), bad_records)
        }
        Message::AttemptFailed(v1::AttemptFailed { attempt, failure }) => {
            Ok(Report::Failed { attempt: attempt_from(attempt)?, cause: failure_from(failure)? })
        }
        Message::Printed(_) => Err(Malformed("a log is no report".to_string())),
        Message::Draining(v1::Draining {}) => Ok(Report::Draining),
        Message::JobReleased(v1::JobReleased { job, ticket }) => {
            Ok(Report::Released { job: JobId(job), ticket })
        }
        Message::OutputsLost(v1::OutputsLost { outputs }) => {
            Ok(Report::OutputsLost { outputs: attempts_from(&outputs)? })
        }
    }
}

fn done(
    stage: StageId,
    attempt: Option<v1::AttemptId>,
    stats: Option<v1::AttemptStats>,
    part: Option<v1::Part>,
    bad_records: Option<v1::Part>,
) -> Result<Report, Malformed> {
    let attempt = attempt_from(attempt)?;
    if attempt.task.stage != stage {
        return Err(Malformed(format!("{attempt} reported as a {stage} attempt")));
    }
    let stats = stats_from(stats.ok_or_else(|| Malformed::missing("stats"))?)?;
    let part = part.map(part_from).transpose()?;
    let bad_records = bad_records.map(part_from).transpose()?;
    Ok(Report::Done { attempt, stats, reported: Reported { part, bad_records } })
}

/// The handle as the worker tells it: whoever knows the job compares the location.
fn part_from(part: v1::Part) -> Result<PartHandle, Malformed> {
    let v1::Part { location, bytes, records, crc64, upload } = part;
    let location = Location::parse(&location).map_err(|error| Malformed(error.to_string()))?;
    let upload = upload.map(|v1::Upload { id, pieces }| Upload {
        id: id.into(),
        pieces: pieces.into_iter().map(Into::into).collect(),
    });
    Ok(PartHandle { location, bytes, records, crc64, upload })
}

fn stats_from(stats: v1::AttemptStats) -> Result<AttemptStats, Malformed> {
    let emitted = stats.emitted.map(|v1::Emitted { keys, is_partial }| {
        Ok::<_, Malformed>(Emitted { keys: audit_from(keys)?, is_partial })
    });
    let example = stats.skipped_example.map(|failure| failure_from(Some(failure)));
    Ok(AttemptStats {
        input_records: stats.input_records,
        input_bytes: stats.input_bytes,
        output_records: stats.output_records,
        output_bytes: stats.output_bytes,
        elapsed: Duration::from_millis(stats.elapsed_ms),
        counters: stats.counters.into_iter().collect(),
        skipped_records: stats.skipped_records,
        skipped_example: example.transpose()?.map(Box::new),
        audit: audit_from(stats.audit)?,
        emitted: emitted.transpose()?,
    })
}

fn audit_from(audit: Option<v1::Audit>) -> Result<Audit, Malformed> {
    let v1::Audit { records, digest } = audit.ok_or_else(|| Malformed::missing("audit"))?;
    Ok(Audit { records, digest })
}

fn progress_from(progress: v1::AttemptProgress) -> Result<AttemptProgress, Malformed> {
    let v1::AttemptProgress { attempt, records, bytes, steps } = progress;
    Ok(AttemptProgress { attempt: attempt_from(attempt)?, records, bytes, steps })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(message: Message) -> v1::WorkerMessage {
        v1::WorkerMessage { message: Some(message) }
    }

    fn attempt(stage: StageId) -> Option<v1::AttemptId> {
        Some(v1::AttemptId { job: 1, stage: stage.to_number(), task: 2, attempt: 3 })
    }

    #[test]
    fn invalid_messages_are_refused() {
        let stats =
            || Some(v1::AttemptStats { audit: Some(v1::Audit::default()), ..Default::default() });
        let part = || Some(v1::Part::default());
        let map = StageId::MAP;
        for senseless in [
            message(Message::Hello(v1::Hello::default())),
            message(Message::Heartbeat(v1::Heartbeat {
                running: vec![v1::AttemptProgress::default()],
                sequence: 1,
            })),
            message(Message::MapDone(v1::MapDone {
                attempt: None,
                stats: stats(),
                part: None,
                ..Default::default()
            })),
            message(Message::MapDone(v1::MapDone {
                attempt: attempt(map),
                stats: None,
                ..Default::default()
            })),
            message(Message::ReduceDone(v1::ReduceDone {
                attempt: attempt(map),
                stats: stats(),
                part: part(),
                bad_records: None,
            })),
            message(Message::ReduceDone(v1::ReduceDone {
                attempt: attempt(StageId::REDUCE),
                stats: stats(),
                ..Default::default()
            })),
            message(Message::ReduceDone(v1::ReduceDone {
                attempt: attempt(StageId::REDUCE),
                stats: stats(),
                part: Some(v1::Part { location: "ftp://host/part".into(), ..Default::default() }),
                bad_records: None,
            })),
            message(Message::AttemptFailed(v1::AttemptFailed {
                attempt: attempt(map),
                failure: None,
            })),
            message(Message::OutputsLost(v1::OutputsLost {
                outputs: vec![v1::Attempts { runs: vec![1], ..Default::default() }],
            })),
        ] {
            assert!(report_from(senseless.clone()).is_err(), "{senseless:?}");
        }
    }

    #[test]
    fn a_message_of_an_unknown_kind_is_ignored() {
        // Field 77 of a later protocol.
        let newer = <v1::WorkerMessage as prost::Message>::decode(&[0xea, 4, 1, 7][..]).unwrap();
        assert!(matches!(report_from(newer), Ok(None)));
    }

    #[test]
    fn results_keep_their_counts() {
        let stats = v1::AttemptStats {
            input_records: 1,
            input_bytes: 2,
            output_records: 3,
            output_bytes: 4,
            elapsed_ms: 5,
            counters: [("six".to_string(), 6)].into(),
            audit: Some(v1::Audit { records: 10, digest: 11 }),
            emitted: Some(v1::Emitted {
                keys: Some(v1::Audit { records: 12, digest: 13 }),
                is_partial: true,
            }),
            skipped_records: 7,
            skipped_example: None,
        };
        let part = v1::Part {
            location: "/elsewhere".into(),
            bytes: 7,
            records: 8,
            crc64: 9,
            upload: Some(v1::Upload { id: "10".into(), pieces: vec!["a".into(), "b".into()] }),
        };
        let done = v1::ReduceDone {
            attempt: attempt(StageId::REDUCE),
            stats: Some(stats),
            part: Some(part.clone()),
            bad_records: Some(part),
        };
        let Ok(Some(Report::Done { attempt, stats, reported })) =
            report_from(message(Message::ReduceDone(done)))
        else {
            panic!("refused")
        };
        assert_eq!(attempt.to_string(), "job-1/reduce-00002.3");
        let handle = PartHandle {
            location: "/elsewhere".parse().unwrap(),
            bytes: 7,
            records: 8,
            crc64: 9,
            upload: Some(Upload { id: "10".into(), pieces: vec!["a".into(), "b".into()] }),
        };
        assert_eq!(reported, Reported { part: Some(handle.clone()), bad_records: Some(handle) });
        assert_eq!(
            stats,
            AttemptStats {
                input_records: 1,
                input_bytes: 2,
                output_records: 3,
                output_bytes: 4,
                elapsed: Duration::from_millis(5),
                counters: [("six", 6)].into_iter().collect(),
                skipped_records: 7,
                audit: Audit { records: 10, digest: 11 },
                emitted: Some(Emitted {
                    keys: Audit { records: 12, digest: 13 },
                    is_partial: true,
                }),
                ..AttemptStats::default()
            }
        );
    }
}
