//! A word count that can be held at any task, and its output without faults.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::conformance::{arguments, gates, path, processes, wait_until_succeeded};
use crate::support::{Cluster, ClusterOptions, Dir, Mode, eventually, generated_words, read_parts};

/// A gated word count with its input, its gates, and its expected parts.
pub struct GatedJob {
    pub dir: Dir,
    inputs: Vec<PathBuf>,
    gates: PathBuf,
    flags: Vec<String>,
    expected: BTreeMap<String, Vec<u8>>,
}

impl GatedJob {
    /// A job of `maps` files of `bytes` each, with one map task a file. It runs once embedded,
    /// without faults.
    pub fn new(maps: usize, bytes: usize, flags: &[&str]) -> Self {
        let dir = Dir::new();
        let inputs = generated_words(&dir, maps, bytes);
        let gates = gates(&dir);
        let split_size = format!("{bytes}B");
        let flags: Vec<String> = [&["--split-size", &split_size], flags]
            .concat()
            .into_iter()
            .map(String::from)
            .collect();
        let mut job = Self { dir, inputs, gates, flags, expected: BTreeMap::new() };
        job.open("map-go");
        job.open("reduce-go");
        Mode::Embedded.run(job.arguments()).expect_code(0);
        let output = job.dir.join("out");
        job.expected = read_parts(&output);
        fs::remove_dir_all(output).unwrap();
        fs::remove_dir_all(&job.gates).unwrap();
        fs::create_dir(&job.gates).unwrap();
        job
    }

    /// A cluster whose workers each have room for two maps at their gates: a waiting map keeps its
    /// core.
    pub fn cluster(workers: usize) -> Cluster {
        Self::cluster_with(workers, ClusterOptions::default())
    }

    /// The same with other options.
    pub fn cluster_with(workers: usize, options: ClusterOptions) -> Cluster {
        Cluster::with_options(workers, ClusterOptions { threads: 2, ..options })
    }

    /// Opens a gate: `map-go`, `map-go-<process>`, `map-go-<file>` or `reduce-go`.
    pub fn open(&self, gate: &str) {
        fs::write(self.gates.join(gate), "").unwrap();
    }

    /// The arguments of `submit`.
    pub fn arguments(&self) -> Vec<String> {
        let gates = path(&self.gates);
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        arguments("gated-word-count", &self.dir, &[&["--gates", &gates], &flags[..]].concat())
    }

    /// Submits the job and returns its number.
    pub fn submit(&self, cluster: &Cluster) -> u64 {
        cluster.submit_detached(self.arguments())
    }

    /// How many map calls have reached their gates, counted once for each process and file.
    pub fn maps(&self) -> usize {
        self.marks("map-").len()
    }

    /// The processes that have reached a map gate.
    pub fn map_processes(&self) -> BTreeSet<u32> {
        processes(&self.gates, "map-")
    }

    /// The processes that have reached a reduce gate.
    pub fn reduce_processes(&self) -> BTreeSet<u32> {
        processes(&self.gates, "reduce-")
    }

    /// The files whose maps have reached their gates in this process.
    pub fn files_in(&self, process: u32) -> Vec<String> {
        let prefix = format!("map-{process}-");
        self.marks(&prefix).iter().map(|name| name[prefix.len()..].to_string()).collect()
    }

    /// The file of one of the maps that have reached their gates.
    pub fn first_at_its_gate(&self) -> String {
        let mark = self.marks("map-").into_iter().min().unwrap();
        mark.splitn(3, '-').nth(2).unwrap().to_string()
    }

    /// The files whose maps have not reached their gates.
    pub fn waiting_inputs(&self) -> Vec<&PathBuf> {
        let marks = self.marks("map-");
        let has_come = |input: &PathBuf| {
            let name = input.file_name().unwrap().to_string_lossy();
            marks.iter().any(|mark| mark.ends_with(&*name))
        };
        self.inputs.iter().filter(|input| !has_come(input)).collect()
    }

    /// Waits until this many maps are at their gates.
    pub fn wait_for_maps(&self, n: usize) {
        eventually(&format!("{n} running maps"), || self.maps() == n);
    }

    /// Waits for the job to succeed, compares its output with that of the run without faults, and
    /// returns its status.
    #[track_caller]
    pub fn finish(&self, cluster: &Cluster, job: u64) -> Value {
        wait_until_succeeded(cluster, job);
        self.check_output();
        cluster.status(job)
    }

    /// Compares the output with that of the run without faults.
    #[track_caller]
    pub fn check_output(&self) {
        assert!(read_parts(&self.dir.join("out")) == self.expected, "another output");
    }

    fn marks(&self, prefix: &str) -> Vec<String> {
        let names = fs::read_dir(&self.gates).unwrap();
        names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with(prefix) && !name.contains("-go"))
            .collect()
    }
}
