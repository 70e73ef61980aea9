//! Causes of failures, and the places that they name.

use std::time::Duration;

use windrow_jobs::{BadRecord, Death, FailureCause, MemoryLimit, RecordPlace, WorkerId};
use windrow_proto::v1;
use windrow_proto::v1::failure::Cause;

use super::Malformed;

/// Longest text of a failure that is sent, in bytes. User code may put whole records into its
/// messages.
const TEXT_BYTES_MAX: usize = 16 << 10;

/// Longest note after a text that was cut.
const NOTE_BYTES_MAX: usize = 64;

/// `text`, cut if it is too long for a message. A text that was cut before, in the process of its
/// job, stays as it is.
fn capped(mut text: String) -> String {
    if text.len() > TEXT_BYTES_MAX + NOTE_BYTES_MAX {
        let bytes = text.len();
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        text.push_str(&format!("... ({bytes} bytes)"));
    }
    text
}

pub(super) fn failure_to(cause: FailureCause) -> v1::Failure {
    v1::Failure { cause: Some(cause_to(cause)) }
}

fn cause_to(cause: FailureCause) -> Cause {
    use v1::failure::{
        BadRecords, Cancelled, Corrupt, FetchFailed, InputChanged, Io, OutOfMemory, ProcessDied,
        Timeout, Unsupported, UserError, WorkerLost,
    };
    match cause {
        FailureCause::UserError { place, message } => {
            let message = capped(message);
            Cause::UserError(UserError { place: Some(place_to(place)), message })
        }
        FailureCause::RecordTooLong { place, message } => {
            Cause::RecordTooLong(UserError { place: Some(place_to(place)), message })
        }
        FailureCause::UserPanic { place, message } => {
            let message = capped(message);
            Cause::UserPanic(UserError { place: Some(place_to(place)), message })
        }
        FailureCause::BadRecords { skipped, place, message } => {
            let last = UserError { place: Some(place_to(place)), message: capped(message) };
            Cause::BadRecords(BadRecords { skipped, last: Some(last) })
        }
        FailureCause::Timeout { after } => {
            Cause::Timeout(Timeout { after_ms: after.as_millis() as u64 })
        }
        FailureCause::FetchFailed { map_task, map_attempt, worker, message } => {
            let message = capped(message);
            Cause::FetchFailed(FetchFailed { map_task, map_attempt, worker: worker.0, message })
        }
        FailureCause::Corrupt { file, offset, message } => {
            Cause::Corrupt(Corrupt { file, offset, message: capped(message) })
        }
        FailureCause::ProcessDied { death, alone, place, output } => {
            let (death, place) = (Some(death_to(death)), Some(place_to(*place)));
            Cause::ProcessDied(ProcessDied { death, alone, place, output: capped(output) })
        }
        FailureCause::OutOfMemory { limit_bytes, limit, alone, place } => {
            let (place, limit) = (Some(place_to(place)), memory_limit_to(limit).into());
            Cause::OutOfMemory(OutOfMemory { limit_bytes, alone, place, limit })
        }
        FailureCause::InputChanged { file, message } => {
            Cause::InputChanged(InputChanged { file, message: capped(message) })
        }
        FailureCause::Io { path, message, disk_full } => {
            Cause::Io(Io { path, message: capped(message), disk_full })
        }
        FailureCause::Cancelled => Cause::Cancelled(Cancelled {}),
        FailureCause::WorkerLost { worker, reason } => {
            Cause::WorkerLost(WorkerLost { worker: worker.0, reason })
        }
        FailureCause::Unsupported { message } => {
            Cause::Unsupported(Unsupported { message: capped(message) })
        }
        // Another attempt may succeed, or fail with a cause that can be sent.
        other => Cause::UserError(UserError { place: None, message: capped(other.to_string()) }),
    }
}

pub(super) fn failure_from(failure: Option<v1::Failure>) -> Result<FailureCause, Malformed> {
    use v1::failure::{
        BadRecords, Corrupt, FetchFailed, InputChanged, Io, OutOfMemory, ProcessDied, UserError,
        WorkerLost, process_died,
    };
    let failure = failure.ok_or(Malformed("no failure"))?;
    // A cause of an unknown kind decodes as none: the executable of the job is newer.
    let Some(cause) = failure.cause else {
        let message = "the job's process reports a failure of a kind that this worker does not know; the job's program is newer";
        return Ok(FailureCause::UserError {
            place: RecordPlace::default(),
            message: message.into(),
        });
    };
    Ok(match cause {
        Cause::UserError(UserError { place, message }) => {
            FailureCause::UserError { place: said_place_from(place), message }
        }
        Cause::RecordTooLong(UserError { place, message }) => {
            FailureCause::RecordTooLong { place: said_place_from(place), message }
        }
        Cause::UserPanic(UserError { place, message }) => {
            FailureCause::UserPanic { place: said_place_from(place), message }
        }
        Cause::BadRecords(BadRecords { skipped, last }) => {
            let UserError { place, message } = last.unwrap_or_default();
            FailureCause::BadRecords { skipped, place: said_place_from(place), message }
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
            let place = Box::new(said_place_from(place));
            FailureCause::ProcessDied { death, alone, place, output }
        }
        Cause::OutOfMemory(died @ OutOfMemory { limit_bytes, alone, .. }) => {
            let limit = memory_limit_from(died.limit());
            FailureCause::OutOfMemory {
                limit_bytes,
                limit,
                alone,
                place: said_place_from(died.place),
            }
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

fn death_to(death: Death) -> v1::failure::process_died::Death {
    use v1::failure::process_died::Death as Sent;
    match death {
        Death::Signal(number) => Sent::Signal(number),
        Death::Exit(code) => Sent::ExitCode(code),
    }
}

pub(super) fn poison_from(
    v1::failure::UserError { place, message }: v1::failure::UserError,
) -> BadRecord {
    BadRecord { place: said_place_from(place), message, record: None }
}

pub(super) fn poison_to(bad: BadRecord) -> v1::failure::UserError {
    let BadRecord { place, message, .. } = bad;
    v1::failure::UserError { place: Some(place_to(place)), message }
}

/// Empty if there is none.
fn said_place_from(place: Option<v1::RecordPlace>) -> RecordPlace {
    place_from(place.unwrap_or_default())
}

pub(crate) fn place_from(
    v1::RecordPlace { file, offset, key, source }: v1::RecordPlace,
) -> RecordPlace {
    RecordPlace::from_fields((file, offset, key, source))
}

pub(crate) fn place_to(place: RecordPlace) -> v1::RecordPlace {
    let (file, offset, key, source) = place.into_fields();
    v1::RecordPlace { file, offset, key, source }
}

fn memory_limit_to(limit: MemoryLimit) -> v1::MemoryLimit {
    match limit {
        MemoryLimit::Group => v1::MemoryLimit::Group,
        MemoryLimit::Machine => v1::MemoryLimit::Machine,
        // A test sees to it that there is no other.
        _ => v1::MemoryLimit::Process,
    }
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
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(capped("short".into()), "short");
        let long = "é".repeat(TEXT_BYTES_MAX);
        let cut = capped(format!("x{long}"));
        assert!(cut.ends_with("é... (32769 bytes)"), "{}", &cut[cut.len() - 40..]);
        assert!(cut.len() < TEXT_BYTES_MAX + 30);
        assert_eq!(capped(cut.clone()), cut);
    }
}
