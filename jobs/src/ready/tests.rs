//! Runs ready jobs like the command line, with flags.

use clap::Command;

use crate::failure::FailureCause;
use crate::job::Job;
use crate::testing;

pub(super) type Files<'a> = [(&'a str, &'a str)];

fn try_run(job: &Job, flags: &[&str], inputs: &[&Files<'_>]) -> Result<String, FailureCause> {
    let command = job.augment_args(Command::new("job").no_binary_name(true));
    let matches = command.try_get_matches_from(flags).unwrap();
    testing::run_inputs(job, &job.params_from_args(&matches).unwrap(), inputs)
}

/// The output of a job.
pub(super) fn run(job: &Job, flags: &[&str], files: &Files<'_>) -> String {
    try_run(job, flags, &[files]).unwrap()
}

/// The output of a job of two inputs.
pub(super) fn run_two(job: &Job, flags: &[&str], left: &Files<'_>, right: &Files<'_>) -> String {
    try_run(job, flags, &[left, right]).unwrap()
}

/// The error of a job.
pub(super) fn error(job: &Job, flags: &[&str], files: &Files<'_>) -> String {
    try_run(job, flags, &[files]).unwrap_err().to_string()
}

#[test]
fn every_job_explains_itself() {
    for job in super::all() {
        assert!(!job.about().is_empty(), "{}", job.name());
        for argument in job.augment_args(Command::new("job")).get_arguments() {
            assert!(argument.get_help().is_some(), "{} {argument}", job.name());
        }
    }
}
