//! Explains in one line why a job failed or waits: what, where, how often, and what the user can
//! do.
//!
//! The command line, the log and the status all show this text. It contains messages of user code
//! and file names, so control characters are escaped.

use std::time::Duration;

use windrow_jobs::{BadRecordBudget, FailureCause, JobSpec, MemoryLimit, PlatformNeeds, TaskId};
use windrow_scheduler::{JobFailure, Time, Waiting};

/// Why a job has failed. `spec` is the job's, if it is known.
pub(crate) fn failure(failure: &JobFailure, spec: Option<&JobSpec>) -> String {
    let text = match failure {
        JobFailure::Task { task, attempts, cause } => {
            let times = if *attempts == 1 { "1 attempt" } else { &format!("{attempts} attempts") };
            let (stage, index) = (task.stage, task.index);
            format!("{stage} task {index} failed after {times}: {cause}{}", advice(cause, spec))
        }
        JobFailure::BadRecords { skipped, of, budget, example } => {
            too_many_bad_records(*skipped, *of, *budget, example.as_ref())
        }
        JobFailure::Poison { task, records, cause } => format!(
            "{} task {}: each of {records} records has killed the process that tried it, and the search for more has ended; \
             the last one: {cause}; correct the input or the job's code, and run it again",
            task.stage, task.index
        ),
        JobFailure::Audit { written, read } => format!(
            "the reducers have not read what the maps wrote ({written:?} against {read:?}); this is a bug, or faulty \
             memory: check the memory, and run the job again"
        ),
        JobFailure::NoWorkers => {
            let wait = spec.map_or(Duration::ZERO, |spec| spec.options.worker_wait);
            format!(
                "there was no worker for {}; start one with 'windrow worker', and submit the job again \
                 (or let it wait longer with --worker-wait)",
                seconds(wait)
            )
        }
        JobFailure::NoFit => {
            let wait = spec.map_or(Duration::ZERO, |spec| spec.options.worker_wait);
            let needs = spec.map_or_else(String::new, |spec| needs(&spec.program.needs));
            format!(
                "there was no worker that can run its program{needs} for {}; start one on a machine that can, or build the program \
                 for the machines that are there, and submit the job again (or let it wait longer with --worker-wait)",
                seconds(wait)
            )
        }
        JobFailure::OutputLost(cause) => {
            format!(
                "after a restart of the coordinator, it could not take over its output folder: {cause}"
            )
        }
        JobFailure::Publish(cause) => {
            format!(
                "all tasks were done, but the output could not be published: {cause}{}",
                advice(cause, spec)
            )
        }
    };
    windrow_jobs::one_line(&text)
}

/// Why no task of a job runs.
pub(crate) fn waiting(waiting: &Waiting, now: Time) -> String {
    let text = match waiting {
        Waiting::NoWorkers { gives_up_at } => {
            format!("there is no worker; the job gives up in {}", whole_seconds(*gives_up_at, now))
        }
        Waiting::NoFit { gives_up_at } => format!(
            "no present worker can run its program; the job gives up in {}",
            whole_seconds(*gives_up_at, now)
        ),
        Waiting::Silent { attempt, worker, attempts, since } => {
            let (TaskId { stage, index, .. }, number) = (attempt.task, attempt.number);
            let others = match attempts - 1 {
                0 => String::new(),
                others => format!(" and {others} more"),
            };
            format!(
                "no progress for {}: {stage} task {index} (attempt {number}, on {worker}){others} may hang",
                whole_seconds(now, *since)
            )
        }
        Waiting::Away { worker, workers } => {
            let others = match workers.saturating_sub(1) {
                0 => String::new(),
                others => format!(" and {others} more"),
            };
            format!(
                "no connected worker can run the job; waiting for {worker}{others} to come back"
            )
        }
        Waiting::Slots => "all suitable workers are busy with other jobs".to_string(),
        Waiting::Backoff => "failed tasks wait for their next attempt".to_string(),
        Waiting::Publication { again_at, cause } => format!(
            "all tasks are done, but the output could not be published: {cause}; retrying in {}",
            whole_seconds(*again_at, now)
        ),
    };
    windrow_jobs::one_line(&text)
}

fn too_many_bad_records(
    skipped: u64,
    of: Option<u64>,
    budget: BadRecordBudget,
    example: Option<&FailureCause>,
) -> String {
    let of = of.map_or_else(String::new, |read| format!(" of {read}"));
    let example = example.map_or_else(String::new, |cause| format!(", such as {cause}"));
    let are = if skipped == 1 && of.is_empty() { "record is" } else { "records are" };
    format!(
        "{skipped}{of} {are} bad, more than --skip-bad-records {budget} allows{example}; correct the \
         input or the job's code, or raise the limit, and run it again"
    )
}

/// What the user can do, with a separator; empty if that is obvious.
fn advice(cause: &FailureCause, spec: Option<&JobSpec>) -> &'static str {
    let skips = spec.is_some_and(|spec| spec.options.skip_bad_records.is_some());
    match cause {
        // What names no record cannot be left out.
        FailureCause::UserError { place, .. } | FailureCause::UserPanic { place, .. }
            if !place.names_record() =>
        {
            "; correct the job's code, and run it again"
        }
        FailureCause::UserError { .. } if skips => {
            "; correct the record or the job's code, and run it again"
        }
        FailureCause::UserError { .. } => {
            "; correct the record or the job's code, or leave such records out with --skip-bad-records, \
             and run it again"
        }
        FailureCause::UserPanic { .. } if skips => "; correct the job's code, and run it again",
        FailureCause::UserPanic { .. } => {
            "; correct the job's code, or leave such records out with --skip-bad-records, and run it again"
        }
        FailureCause::BadRecords { .. } => "; correct the input, and run the job again",
        FailureCause::ProcessDied { place, .. } if !skips && place.names_record() => {
            "; correct the job's code, or leave such records out with --skip-bad-records, and run it again"
        }
        FailureCause::ProcessDied { .. } => {
            "; correct the job's code, or what it calls, and run it again"
        }
        FailureCause::OutOfMemory { limit: MemoryLimit::Group, .. } => {
            "; give the worker less --memory than its control group may use, or the group more, and run it again"
        }
        FailureCause::OutOfMemory { limit: MemoryLimit::Machine, .. } => {
            "; give the workers of that machine less --memory, and run it again"
        }
        FailureCause::OutOfMemory { .. } => {
            "; give the worker or the job more memory (--memory), or have the job's code use less, and run it again"
        }
        FailureCause::Timeout { .. } => "; raise the limit if the task is only slow",
        FailureCause::Io { disk_full: true, .. } => "; free some space, and run the job again",
        FailureCause::InputChanged { .. } => {
            "; leave the input alone while the job runs, and run it again"
        }
        FailureCause::Corrupt { .. } => "; check the disk, and run the job again",
        FailureCause::FetchFailed { .. } => "; check that the workers reach each other",
        FailureCause::WorkerLost { .. } => "; see the workers' logs: the task itself may kill them",
        _ => "",
    }
}

/// What a program needs of a machine, in parentheses.
fn needs(needs: &PlatformNeeds) -> String {
    let arch = (!needs.arch.is_empty()).then(|| format!("made for {}", needs.arch));
    let interpreter = (!needs.interpreter.is_empty())
        .then(|| format!("with the dynamic linker {}", needs.interpreter));
    let glibc = needs.glibc.map(|version| format!("glibc {version} or newer"));
    let all: Vec<_> = arch.into_iter().chain(interpreter).chain(glibc).collect();
    if all.is_empty() { String::new() } else { format!(" ({})", all.join(", ")) }
}

/// The time from now to `at`, for people.
fn whole_seconds(at: Time, now: Time) -> String {
    seconds(Duration::from_secs(at.since(now).as_secs()))
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use windrow_jobs::{JobId, JobOptions, RecordPlace, StageId, TaskId};

    use super::*;

    #[test]
    fn only_what_names_a_record_is_said_to_be_left_out() {
        let task = TaskId { job: JobId(1), stage: StageId::MAP, index: 3 };
        let explained = |place| {
            let message = "odd".to_string();
            let causes = [
                FailureCause::UserError {
                    place: RecordPlace::clone(&place),
                    message: message.clone(),
                },
                FailureCause::UserPanic { place, message },
            ];
            causes.map(|cause| failure(&JobFailure::Task { task, attempts: 1, cause }, None))
        };
        let file = RecordPlace::in_file("/data/a");
        for text in explained(file.clone().at(0)) {
            assert!(text.contains("--skip-bad-records"), "{text}");
        }
        for text in [file, RecordPlace::default()].into_iter().flat_map(explained) {
            assert!(text.ends_with("; correct the job's code, and run it again"), "{text}");
        }
    }

    #[test]
    fn a_failed_task_is_explained_with_place_count_and_advice() {
        let place = RecordPlace::in_file("/data/a").at(12);
        let task = TaskId { job: JobId(1), stage: StageId::MAP, index: 3 };
        let cause = FailureCause::UserError { place, message: "bad\x1b[31m field\n".into() };
        let text = failure(&JobFailure::Task { task, attempts: 4, cause }, None);
        assert_eq!(
            text,
            "map task 3 failed after 4 attempts: /data/a at byte 12: bad\\u{1b}[31m field\\n; \
             correct the record or the job's code, or leave such records out with --skip-bad-records, and run it \
             again"
        );
    }

    #[test]
    fn too_many_bad_records_are_explained_with_budget_and_example() {
        let place = RecordPlace::in_file("/a").at(12);
        let example = Some(FailureCause::UserError { place, message: "odd".into() });
        let share = "0.01%".parse().unwrap();
        let bad = JobFailure::BadRecords { skipped: 4, of: Some(9), budget: share, example };
        assert_eq!(
            failure(&bad, None),
            "4 of 9 records are bad, more than --skip-bad-records 0.01% allows, such as /a at byte 12: odd; correct \
             the input or the job's code, or raise the limit, and run it again"
        );
    }

    #[test]
    fn a_job_without_workers_says_how_long_it_waited() {
        let spec = JobSpec {
            job: "grep".into(),
            params: "{}".into(),
            inputs: Vec::new(),
            output: "/out".parse().unwrap(),
            options: JobOptions {
                worker_wait: Duration::from_millis(1_500),
                ..JobOptions::default()
            },
            program: windrow_jobs::JobExecutable::default(),
            files: Vec::new(),
            writable: Vec::new(),
        };
        let text = failure(&JobFailure::NoWorkers, Some(&spec));
        assert!(text.starts_with("there was no worker for 1.5 s; start one"), "{text}");
    }
}
