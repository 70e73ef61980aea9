//! A word count of a few small tasks that wait at gates, so that faults hit them while they run,
//! and how to judge its end.

use std::fs;
use std::path::{Path, PathBuf};

use crate::conformance::{arguments, gated, gates};
use crate::support::{
    Cluster, ClusterOptions, Dir, count_words, eventually, generated_words, read_parts,
    sorted_lines,
};

/// Four map tasks and two reduce tasks, with their own input, output and gates.
pub struct SmallJob {
    pub dir: Dir,
    pub inputs: Vec<PathBuf>,
    pub gates: PathBuf,
}

/// Any two workers run all tasks of a stage at once. With fewer threads, a task at its gate would
/// block another for seconds.
pub fn all_at_once() -> ClusterOptions {
    ClusterOptions { threads: 2, ..Default::default() }
}

pub const MAPS: usize = 4;
pub const REDUCES: usize = 2;

impl SmallJob {
    pub fn new() -> Self {
        let dir = Dir::new();
        let inputs = generated_words(&dir, MAPS, 1_000);
        let gates = gates(&dir);
        Self { dir, inputs, gates }
    }

    /// The arguments of `submit`.
    pub fn arguments(&self, flags: &[&str]) -> Vec<String> {
        let sizes = ["--split-size", "1KB", "--reducers", "2"];
        gated(&self.dir, &[&sizes, flags].concat())
    }

    /// The same job without gates.
    pub fn ungated(&self, flags: &[&str]) -> Vec<String> {
        let sizes = ["--split-size", "1KB", "--reducers", "2"];
        arguments("word-count", &self.dir, &[&sizes, flags].concat())
    }

    pub fn output(&self) -> PathBuf {
        self.dir.join("out")
    }

    /// Opens the gates of a stage ("map", "reduce").
    pub fn open(&self, stage: &str) {
        fs::write(self.gates.join(format!("{stage}-go")), "").unwrap();
    }

    pub fn open_all(&self) {
        self.open("map");
        self.open("reduce");
    }

    /// Waits until `n` attempts of a stage are at their gates.
    pub fn wait_for(&self, stage: &str, n: usize) {
        eventually(&format!("{n} running {stage}s"), || marks(&self.gates, stage) == n);
    }

    /// The output is that of a run without faults, its manifest fits, and nothing else is left. A
    /// coordinator removes the staging folder only after it has said that the job succeeded.
    #[track_caller]
    pub fn assert_output(&self) {
        let temporary = self.output().join("_temporary");
        eventually("the end of what is temporary", || !temporary.exists());
        assert_eq!(sorted_lines(&self.output()), count_words(&self.inputs));
        assert_manifest(&self.output());
    }

    /// No output is visible, and nothing is left.
    #[track_caller]
    pub fn assert_no_output(&self) {
        assert!(!self.output().exists(), "left behind: {:?}", self.dir.tree());
    }
}

/// The manifest names exactly the existing parts, with their sizes.
#[track_caller]
pub fn assert_manifest(output: &Path) {
    let manifest = fs::read(output.join("_SUCCESS")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let told = manifest["parts"].as_array().unwrap().iter();
    let told: Vec<_> = told
        .map(|part| (part["name"].as_str().unwrap().to_string(), part["bytes"].as_u64().unwrap()))
        .collect();
    let there = read_parts(output).into_iter();
    assert_eq!(told, there.map(|(name, bytes)| (name, bytes.len() as u64)).collect::<Vec<_>>());
}

/// No attempt of a stage has failed: a fault of a machine must not count as a failure.
#[track_caller]
pub fn assert_none_failed(cluster: &Cluster, job: u64) {
    let status = cluster.status(job);
    assert_eq!(status["state"], "succeeded", "{status}");
    assert_eq!(status["map"]["failed"], 0, "{status}");
    assert_eq!(status["reduce"]["failed"], 0, "{status}");
}

fn marks(gates: &Path, stage: &str) -> usize {
    let prefix = format!("{stage}-");
    let names = fs::read_dir(gates).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(&prefix) && !name.ends_with("-go")).count()
}
