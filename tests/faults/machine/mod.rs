//! What a role depends on: its log and terminal, signals, users, and the limits of its machine.

mod deaths;
mod file_systems;
mod limits;
mod memory;
mod signals;
mod standard_files;
mod users;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::Trial;

use crate::conformance::arguments;
use crate::support::{Cluster, Dir, count_words, generated_words, sorted_lines, windrow};

pub fn tests() -> Vec<Trial> {
    [
        deaths::tests(),
        file_systems::tests(),
        limits::tests(),
        memory::tests(),
        signals::tests(),
        standard_files::tests(),
        users::tests(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn word_count_is_right(cluster: &Cluster) {
    let dir = Dir::new();
    let inputs = generated_words(&dir, 4, 1_000);
    cluster.submit(arguments("word-count", &dir, &[])).expect_code(0);
    assert_eq!(sorted_lines(&dir.join("out")), count_words(&inputs));
}

/// A worker without `--dir`.
fn homeless_worker(cluster: &Cluster, temporary: &Path) -> Command {
    let mut command = windrow(["worker", "--coordinator", &cluster.url, "--threads", "1"]);
    command.env("TMPDIR", temporary);
    command
}

fn temporary_folders(temporary: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(temporary).unwrap().map(|entry| entry.unwrap().path());
    let is_one = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(prefix);
    entries.filter(is_one).collect()
}
