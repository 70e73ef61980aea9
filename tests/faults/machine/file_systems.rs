//! File systems with restrictions.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use libtest_mimic::Trial;

use crate::conformance::{arguments, path};
use crate::support::{
    Cluster, Dir, Process, count_words, generated_words, generic_windrow, root_case, sorted_lines,
    windrow,
};

pub fn tests() -> Vec<Trial> {
    vec![
        root_case("faults::machine::noexec", noexec),
        root_case("faults::machine::no_inodes", no_inodes),
    ]
}

/// A file system, mounted with these options.
struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(dir: &Dir, name: &str, options: &str) -> Self {
        let folder = dir.join(name);
        fs::create_dir_all(&folder).unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(&folder)
            .status();
        assert!(mount.unwrap().success());
        Self(folder)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: a process of the test may still have a file open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Uploaded executables cannot run there; the worker's own can.
fn noexec() {
    let (dir, disk) = (Dir::new(), Dir::new());
    let inputs = generated_words(&dir, 1, 1_000);
    let mounted = Mounted::tmpfs(&disk, "noexec", "noexec,size=400m");
    let mut cluster = Cluster::start(0);
    let folder = path(&mounted.0.join("w"));
    let worker = windrow(["worker", "--coordinator", &cluster.url, "--dir", &folder]);
    cluster.workers.push(Process::start(worker));
    cluster.wait_for_workers(1);
    let said = cluster.workers[0].stderr();
    assert!(said.contains(&folder) && said.contains("mounted noexec"), "{said}");
    let mut other = generic_windrow(["submit"]);
    other.args(arguments("word-count", &dir, &[])).args(["--coordinator", &cluster.url]);
    let failed = Process::start(other).finish().expect_code(1);
    failed.expect_said("mounted noexec").expect_said(&folder).expect_said("--dir");
    cluster.submit(arguments("word-count", &dir, &[])).expect_code(0);
    assert_eq!(sorted_lines(&dir.join("out")), count_words(&inputs));
    drop(cluster);
    drop(mounted);
}

fn no_inodes() {
    let (dir, disk) = (Dir::new(), Dir::new());
    generated_words(&dir, 1, 1_000);
    let mounted = Mounted::tmpfs(&disk, "small", "size=100m,nr_inodes=5");
    let mut cluster = Cluster::start(0);
    let folder = path(&mounted.0.join("w"));
    let worker = windrow(["worker", "--coordinator", &cluster.url, "--dir", &folder]);
    cluster.workers.push(Process::start(worker));
    cluster.wait_for_workers(1);
    let failed = cluster.submit(arguments("word-count", &dir, &["--max-attempts", "1"]));
    failed.expect_code(1).expect_said("no inodes").expect_said(&folder);
    // An output cannot be created there, either.
    let output = path(&mounted.0.join("out"));
    let input = path(&dir.join("in"));
    let run = windrow(["run", "word-count", "--input", &input, "--output", &output]);
    Process::start(run).finish().expect_code(1).expect_said("no inodes");
    drop(cluster);
    drop(mounted);
}
