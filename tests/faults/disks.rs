//! Disks fill up, and input disappears during the job.

use std::fs;
use std::path::Path;

use libtest_mimic::Trial;

use super::gated_job::GatedJob;
use crate::conformance::{arguments, path};
use crate::support::{
    Cluster, Dir, Mode, Process, SmallDisk, both, count_words, eventually, generated_words,
    read_parts, root_case, sorted_lines, windrow,
};

pub fn tests() -> Vec<Trial> {
    let mut tests = vec![
        root_case("faults::disks::worker_full", workers_disk_full),
        root_case("faults::disks::output_full", outputs_disk_full),
        root_case("faults::disks::output_replaces_runs", output_replaces_runs),
    ];
    tests.extend(both("faults::disks::input_deleted", input_deleted));
    tests
}

/// One of two workers has no disk space for its map outputs: it removes what it has begun, and the
/// other worker runs the maps.
fn workers_disk_full() {
    let dir = Dir::new();
    let inputs = generated_words(&dir, 8, 200_000);
    let mut cluster = Cluster::start(0);
    let small = SmallDisk::mount(cluster.dir(), "worker-0");
    fs::write(small.path().join("ballast"), vec![0; SmallDisk::BYTES - 8 * 1024]).unwrap();
    cluster.add_worker();
    cluster.add_worker();
    cluster.wait_for_workers(2);
    // Without a combiner and with little memory, so that segments are files as large as their
    // input.
    let flags = ["--split-size", "200KB", "--max-attempts", "20", "--memory", "512KiB", "--json"];
    let status = cluster.submit(arguments("trouble", &dir, &flags)).expect_code(0).last_json();
    let failed = status["map"]["failed"].as_u64().unwrap();
    assert!(failed >= 1, "{status}");
    assert_eq!(cluster.member(0)["failed"], failed);
    assert_eq!(status["map"]["attempts"], 8 + failed, "{status}");
    assert_eq!(status["map"]["lost"], 0, "{status}");
    assert_eq!(sorted_lines(&dir.join("out")), count_words(&inputs));
    let jobs = cluster.jobs_dir(0);
    eventually("an empty disk", || fs::read_dir(&jobs).unwrap().count() == 0);
    // Unmounted before the folder around it is removed with the cluster.
    drop(small);
}

/// The output does not fit: the job fails, says so, and frees the disk space.
fn outputs_disk_full() {
    let dir = Dir::new();
    generated_words(&dir, 2, 1_000_000);
    let small = SmallDisk::mount(&dir, "small");
    let cluster = Cluster::start(2);
    let output = path(&small.path().join("out"));
    let flags = ["grep", "word", "--max-attempts", "2", "--output", &output, "--input"];
    let input = path(&dir.join("in"));
    cluster
        .submit(flags.into_iter().chain([input.as_str()]))
        .expect_code(1)
        .expect_said("No space left on device")
        .expect_said(&path(small.path()))
        .expect_said("free some space");
    assert_eq!(fs::read_dir(small.path()).unwrap().count(), 0, "left behind: {:?}", dir.tree());
}

/// A sort beyond memory, on a disk without space for all runs and the whole output at once.
fn output_replaces_runs() {
    const INPUT_BYTES: usize = 24_000_000;
    let dir = Dir::new();
    let small = SmallDisk::mount_of(INPUT_BYTES * 3 / 2, &dir, "small");
    let (input, output) = (path(&dir.join("in")), path(&small.path().join("out")));
    let bytes = INPUT_BYTES.to_string();
    let generate = windrow(["gen", "records", "--bytes", &bytes, "--output", &input]);
    Process::start(generate).finish().expect_code(0);
    let flags = ["sort", "--record-bytes", "100", "--key-bytes", "0..10", "--input", &input];
    let bounds = ["--memory", "4MiB", "--reducers", "12", "--output", &output];
    Mode::Embedded.run(flags.into_iter().chain(bounds)).expect_code(0);
    let sorted: Vec<u8> = read_parts(Path::new(&output)).into_values().flatten().collect();
    let keys: Vec<_> = sorted.chunks(100).map(|record| &record[..10]).collect();
    assert_eq!(keys.len(), INPUT_BYTES / 100);
    assert!(keys.is_sorted());
}

/// Files are deleted before their maps begin. Other workers try, too, since perhaps only one worker
/// does not see the file.
fn input_deleted(mode: &Mode) {
    let gated = GatedJob::new(16, 1_000, &["--threads", "1"]);
    let job = mode.start(gated.arguments());
    eventually("running maps", || gated.maps() > 0);
    for input in gated.waiting_inputs() {
        fs::remove_file(input).unwrap();
    }
    gated.open("map-go");
    gated.open("reduce-go");
    job.finish()
        .expect_code(1)
        .expect_said(&path(&gated.dir.join("in")))
        .expect_said("No such file");
    assert!(!gated.dir.join("out").exists(), "left behind: {:?}", gated.dir.tree());
}
