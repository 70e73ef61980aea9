//! A control group without free memory.

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::Trial;

use crate::conformance::path;
use crate::support::{Cluster, Dir, Process, after, eventually, root_case, windrow};

pub fn tests() -> Vec<Trial> {
    vec![root_case("faults::machine::killed_for_memory", killed_for_memory)]
}

/// A control group of this test, of version 1 or 2; `None` if none can be made.
struct MemoryGroup(PathBuf);

impl MemoryGroup {
    fn make(bytes: u64) -> Option<Self> {
        let name = format!("windrow-test-{}", std::process::id());
        let (root, limit) = [("memory", "memory.limit_in_bytes"), (".", "memory.max")]
            .map(|(root, limit)| (Path::new("/sys/fs/cgroup").join(root), limit))
            .into_iter()
            .find(|(root, _)| root.join("cgroup.procs").exists())?;
        let group = Self(root.join(name));
        fs::create_dir(&group.0).ok()?;
        fs::write(group.0.join(limit), bytes.to_string()).ok()?;
        // In version 2, and only with swap, which would be filled first.
        let _ = fs::write(group.0.join("memory.swap.max"), "0");
        Some(group)
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        eventually("an empty group", || fs::remove_dir(&self.0).is_ok() || !self.0.exists());
    }
}

fn killed_for_memory() {
    let Some(group) = MemoryGroup::make(64 << 20) else {
        eprintln!("no control group limits memory here");
        return;
    };
    let dir = Dir::new();
    let input = path(&dir.join("in"));
    let generate =
        windrow(["gen", "records", "--bytes", "64MiB", "--files", "1", "--output", &input]);
    Process::start(generate).finish().expect_code(0);
    let mut cluster = Cluster::start(0);
    let mut worker = cluster.worker_command(0);
    worker.args(["--memory", "1GiB"]);
    let join = format!("echo $$ > {}/cgroup.procs", group.0.display());
    cluster.workers.push(Process::start(after(&join, &worker)));
    cluster.wait_for_workers(1);
    let said = cluster.workers[0].stderr();
    assert!(said.contains("the control group of this worker has no more than 64 MiB"), "{said}");
    let flags = ["sort", "--record-bytes", "100", "--key-bytes", "0..10", "--input", &input];
    let output = path(&dir.join("out"));
    let failed = cluster.submit(flags.into_iter().chain(["--output", &output]));
    failed
        .expect_code(1)
        .expect_said(
            "the control group of its worker may not use more than 67108864 bytes of memory",
        )
        .expect_said("or the group more");
    drop(cluster);
}
