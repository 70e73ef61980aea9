//! Parameters from flags to program, and the registry.

use clap::Command;
use serde::{Deserialize, Serialize};

use super::*;
use crate::prelude::*;

#[derive(clap::Args, Serialize, Deserialize)]
struct Threshold {
    /// Smallest length
    #[arg(long, default_value_t = 3)]
    at_least: usize,
}

struct Long(usize);

impl Mapper for Long {
    type Input = Line;
    type Key = str;
    type Value = u64;

    fn map(&self, line: &str, out: &mut impl Emit<str, u64>) -> Result<()> {
        if line.len() >= self.0 { out.emit(line, 1) } else { Ok(()) }
    }
}

fn long_lines() -> Job {
    Job::with_params("long-lines", |params: &Threshold| match params.at_least {
        0 => Err(Error::new("--at-least must be above 0")),
        least => Ok(Job::new("long-lines", Long(least)).combine(Sum).reduce(Sum)),
    })
    .with_about("Count long lines")
}

fn fixed(name: &str) -> Job {
    Job::new(name, Long(1)).about("All").map_only()
}

fn build_error(job: &Job, params: &str) -> String {
    job.build(params).err().unwrap().to_string()
}

#[test]
fn flags_become_json_from_which_a_program_is_built() {
    let job = long_lines();
    assert_eq!((job.name(), job.about()), ("long-lines", "Count long lines"));
    let command = job.augment_args(Command::new("run"));
    let matches = command.try_get_matches_from(["run", "--at-least", "5"]).unwrap();
    let params = job.params_from_args(&matches).unwrap();
    assert_eq!(params, r#"{"at_least":5}"#);
    assert!(!job.build(&params).unwrap().is_map_only());
}

#[test]
fn wrong_parameters_are_named() {
    let job = long_lines();
    assert_eq!(
        build_error(&job, "{}"),
        "job long-lines: bad parameters: missing field `at_least` at line 1 column 2"
    );
    assert_eq!(
        build_error(&job, r#"{"at_least":1,"at_most":2}"#),
        "job long-lines: unknown parameter 'at_most'"
    );
    assert_eq!(
        build_error(&job, r#"{"at_least":0}"#),
        "job long-lines: --at-least must be above 0"
    );
    assert!(build_error(&job, r#"{"at_least":1} x"#).contains("trailing characters"));
}

#[test]
fn a_job_without_parameters_takes_none() {
    let job = fixed("all");
    let matches = job.augment_args(Command::new("run")).try_get_matches_from(["run"]).unwrap();
    let program = job.build(&job.params_from_args(&matches).unwrap()).unwrap();
    assert!(program.is_map_only());
    assert_eq!(build_error(&job, r#"{"x":1}"#), "job all: unknown parameter 'x'");
}

#[test]
fn the_registry_finds_and_suggests() {
    let jobs = ["word-count", "grep", "inverted-index"].map(fixed);
    let registry = Registry::new(jobs.into_iter().chain([long_lines()]));
    let names: Vec<_> = registry.iter().map(Job::name).collect();
    assert_eq!(names, ["grep", "inverted-index", "long-lines", "word-count"]);
    assert!(registry.get("grep").is_some() && registry.get("gerp").is_none());
    assert_eq!(registry.suggest("gerp"), Some("grep"));
    assert_eq!(registry.suggest("wordcount"), Some("word-count"));
    assert_eq!(registry.suggest("sort"), None);
}
