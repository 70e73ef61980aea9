//! Conversion of causes of failure.

use std::time::Duration;

use windrow_jobs::{Death, FailureCause, MemoryLimit, RecordPlace, WorkerId};
use windrow_proto::v1;
use windrow_proto::v1::failure::Cause;

use super::{Malformed, millis};

pub(super) fn failure_from(failure: Option<v1::Failure>) -> Result<FailureCause, Malformed> {
    let failure = failure.ok_or_else(|| Malformed::missing("failure"))?;
    // A message of an unknown kind decodes as `None`.
    let Some(cause) = failure.cause else { return Ok(unknown()) };
    Ok(match cause {
        Cause::UserError(error) => FailureCause::UserError {
            place: place_from(error.place),
            message: capped(error.message),
        },
        Cause::RecordTooLong(error) => FailureCause::RecordTooLong {
            place: place_from(error.place),
            message: capped(error.message),
        },
        Cause::UserPanic(panic) => FailureCause::UserPanic {
            place: place_from(panic.place),
            message: capped(panic.message),
        },
        Cause::BadRecords(v1::failure::BadRecords { skipped, last }) => {
            let v1::failure::UserError { place, message } = last.unwrap_or_default();
            FailureCause::BadRecords { skipped, place: place_from(place), message: capped(message) }
        }
        Cause::Timeout(timeout) => {
            FailureCause::Timeout { after: Duration::from_millis(timeout.after_ms) }
        }
        Cause::FetchFailed(v1::failure::FetchFailed { map_task, map_attempt, worker, message }) => {
            let (worker, message) = (WorkerId(worker), capped(message));
            FailureCause::FetchFailed { map_task, map_attempt, worker, message }
        }
        Cause::Corrupt(v1::failure::Corrupt { file, offset, message }) => {
            FailureCause::Corrupt { file: capped(file), offset, message: capped(message) }
        }
        Cause::ProcessDied(v1::failure::ProcessDied { death, alone, place, output }) => {
            let death = death_from(death)?;
            let (place, output) = (Box::new(place_from(place)), capped(output));
            FailureCause::ProcessDied { death, alone, place, output }
        }
        Cause::OutOfMemory(died @ v1::failure::OutOfMemory { limit_bytes, alone, .. }) => {
            let limit = memory_limit_from(died.limit());
            FailureCause::OutOfMemory { limit_bytes, limit, alone, place: place_from(died.place) }
        }
        Cause::InputChanged(v1::failure::InputChanged { file, message }) => {
            FailureCause::InputChanged { file: capped(file), message: capped(message) }
        }
        Cause::Io(v1::failure::Io { path, message, disk_full }) => {
            FailureCause::Io { path: capped(path), message: capped(message), disk_full }
        }
        Cause::Cancelled(_) => FailureCause::Cancelled,
        Cause::WorkerLost(v1::failure::WorkerLost { worker, reason }) => {
            FailureCause::WorkerLost { worker: WorkerId(worker), reason: capped(reason) }
        }
        Cause::Unsupported(v1::failure::Unsupported { message }) => {
            FailureCause::Unsupported { message: capped(message) }
        }
    })
}

/// The cause is unknown: another attempt may succeed, or fail with a known cause.
fn unknown() -> FailureCause {
    FailureCause::UserError {
        place: RecordPlace::default(),
        message: "its worker reports a cause of failure that this coordinator does not know: the worker is newer".into(),
    }
}

pub(super) fn failure_to(cause: &FailureCause) -> v1::Failure {
    let cause = match cause.clone() {
        FailureCause::UserError { place, message } => {
            Cause::UserError(v1::failure::UserError { place: Some(place_to(place)), message })
        }
        FailureCause::RecordTooLong { place, message } => {
            Cause::RecordTooLong(v1::failure::UserError { place: Some(place_to(place)), message })
        }
        FailureCause::UserPanic { place, message } => {
            Cause::UserPanic(v1::failure::UserError { place: Some(place_to(place)), message })
        }
        FailureCause::BadRecords { skipped, place, message } => {
            let last = v1::failure::UserError { place: Some(place_to(place)), message };
            Cause::BadRecords(v1::failure::BadRecords { skipped, last: Some(last) })
        }
        FailureCause::Timeout { after } => {
            Cause::Timeout(v1::failure::Timeout { after_ms: millis(after) })
        }
        FailureCause::FetchFailed { map_task, map_attempt, worker, message } => {
            Cause::FetchFailed(v1::failure::FetchFailed {
                map_task,
                map_attempt,
                worker: worker.0,
                message,
            })
        }
        FailureCause::Corrupt { file, offset, message } => {
            Cause::Corrupt(v1::failure::Corrupt { file, offset, message })
        }
        FailureCause::ProcessDied { death, alone, place, output } => {
            let (death, place) = (Some(death_to(death)), Some(place_to(*place)));
            Cause::ProcessDied(v1::failure::ProcessDied { death, alone, place, output })
        }
        FailureCause::OutOfMemory { limit_bytes, limit, alone, place } => {
            let (place, limit) = (Some(place_to(place)), memory_limit_to(limit).into());
            Cause::OutOfMemory(v1::failure::OutOfMemory { limit_bytes, alone, place, limit })
        }
        FailureCause::InputChanged { file, message } => {
            Cause::InputChanged(v1::failure::InputChanged { file, message })
        }
        FailureCause::Io { path, message, disk_full } => {
            Cause::Io(v1::failure::Io { path, message, disk_full })
        }
        FailureCause::Cancelled => Cause::Cancelled(v1::failure::Cancelled {}),
        FailureCause::WorkerLost { worker, reason } => {
            Cause::WorkerLost(v1::failure::WorkerLost { worker: worker.0, reason })
        }
        FailureCause::Unsupported { message } => {
            Cause::Unsupported(v1::failure::Unsupported { message })
        }
        other => {
            let message = other.to_string();
            Cause::UserError(v1::failure::UserError { place: None, message })
        }
    };
    v1::Failure { cause: Some(cause) }
}

fn death_from(death: Option<v1::failure::process_died::Death>) -> Result<Death, Malformed> {
    use v1::failure::process_died::Death as Sent;
    match death.ok_or_else(|| Malformed::missing("death"))? {
        Sent::Signal(number) => Ok(Death::Signal(number)),
        Sent::ExitCode(code) => Ok(Death::Exit(code)),
    }
}

fn death_to(death: Death) -> v1::failure::process_died::Death {
    use v1::failure::process_died::Death as Sent;
    match death {
        Death::Signal(number) => Sent::Signal(number),
        Death::Exit(code) => Sent::ExitCode(code),
    }
}

fn place_from(place: Option<v1::RecordPlace>) -> RecordPlace {
    let v1::RecordPlace { file, offset, key, source } = place.unwrap_or_default();
    let key = key.map(capped);
    RecordPlace::from_fields((capped(file), offset, key, source.map(capped)))
}

/// Longest stored text of a failure, in bytes. Workers cut theirs a little shorter.
const TEXT_BYTES_MAX: usize = 17 << 10;

fn capped(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    text
}

pub(super) fn place_to(place: RecordPlace) -> v1::RecordPlace {
    let (file, offset, key, source) = place.into_fields();
    v1::RecordPlace { file, offset, key, source }
}

fn memory_limit_from(limit: v1::MemoryLimit) -> MemoryLimit {
    match limit {
        v1::MemoryLimit::Unspecified | v1::MemoryLimit::Process => MemoryLimit::Process,
        v1::MemoryLimit::Group => MemoryLimit::Group,
        v1::MemoryLimit::Machine => MemoryLimit::Machine,
    }
}

fn memory_limit_to(limit: MemoryLimit) -> v1::MemoryLimit {
    match limit {
        MemoryLimit::Group => v1::MemoryLimit::Group,
        MemoryLimit::Machine => v1::MemoryLimit::Machine,
        // A test sees to it that there is no other.
        _ => v1::MemoryLimit::Process,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_memory_limit_survives_the_round_trip() {
        for limit in MemoryLimit::ALL {
            assert_eq!(memory_limit_from(memory_limit_to(limit)), limit);
        }
    }

    #[test]
    fn every_cause_survives_the_round_trip() {
        let source = Some("a.rs:1:2".into());
        let place = RecordPlace::from_fields(("/f".into(), Some(0), Some(String::new()), source));
        let text = || "text".to_string();
        for cause in [
            FailureCause::UserError { place: RecordPlace::default(), message: text() },
            FailureCause::UserPanic { place: place.clone(), message: text() },
            FailureCause::BadRecords { skipped: 6, place: place.clone(), message: text() },
            FailureCause::ProcessDied {
                death: Death::Signal(9),
                alone: true,
                place: Box::new(place.clone()),
                output: text(),
            },
            FailureCause::ProcessDied {
                death: Death::Exit(0),
                alone: false,
                place: Box::default(),
                output: String::new(),
            },
            FailureCause::OutOfMemory {
                limit_bytes: 7,
                limit: MemoryLimit::Machine,
                alone: true,
                place,
            },
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
            FailureCause::Cancelled,
            FailureCause::WorkerLost { worker: WorkerId(5), reason: text() },
            FailureCause::Unsupported { message: text() },
            FailureCause::RecordTooLong { place: RecordPlace::default(), message: text() },
        ] {
            assert_eq!(failure_from(Some(failure_to(&cause))), Ok(cause));
        }
    }

    #[test]
    fn long_texts_are_cut() {
        let long = "é".repeat(1 << 20);
        let place = RecordPlace::from_fields((long.clone(), None, Some(long.clone()), None));
        let heard =
            failure_from(Some(failure_to(&FailureCause::UserError { place, message: long })));
        let Ok(FailureCause::UserError { place, message }) = heard else { panic!("{heard:?}") };
        for text in [place.file, place.key.unwrap(), message] {
            assert_eq!(text.len(), TEXT_BYTES_MAX);
        }
    }

    #[test]
    fn an_unknown_cause_is_accepted_and_a_missing_one_is_refused() {
        assert!(failure_from(None).is_err());
        let newer = failure_from(Some(v1::Failure { cause: None })).unwrap();
        assert_eq!(newer.class(), windrow_jobs::FailureClass::Attempt);
    }
}
