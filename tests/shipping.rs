//! Executables and side files are sent where they are needed. The cluster runs the plain `windrow`
//! executable; the foreign program is this test.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use libtest_mimic::Trial;

use crate::AS_WINDROW;
use crate::conformance::{arguments, gated, gates, path, wait_until_succeeded};
use crate::support::{
    Cluster, ClusterOptions, Dir, Direction, Mode, Output, Process, Proxy, both, case, count_words,
    eventually, generated_words, sorted_lines,
};

pub fn tests() -> Vec<Trial> {
    let mut tests = both("shipping::side_file", side_file);
    tests.extend([
        case("shipping::a_foreign_program_is_sent_once", a_foreign_program_is_sent_once),
        case("shipping::two_submitters_at_once", two_submitters_at_once),
        case("shipping::coordinator_killed_in_an_upload", coordinator_killed_in_an_upload),
        case("shipping::worker_cut_off_in_a_download", worker_cut_off_in_a_download),
        case("shipping::two_versions_run_at_once", two_versions_run_at_once),
        case("shipping::a_side_file_that_is_missing", a_side_file_that_is_missing),
        case("shipping::a_worker_without_processes", a_worker_without_processes),
        case(
            "shipping::a_hanging_sample_does_not_block_other_submissions",
            a_hanging_sample_does_not_block_other_submissions,
        ),
    ]);
    tests
}

/// A cluster of `windrow`, without the test's jobs.
fn generic_cluster(workers: usize) -> Cluster {
    Cluster::with_options(workers, ClusterOptions { is_generic: true, ..Default::default() })
}

/// The bytes that a submission says it sent.
fn shipped_bytes(output: &Output) -> u64 {
    let events = output.stdout.lines().map(|line| serde_json::from_str(line).unwrap());
    let shipped = |event: serde_json::Value| {
        (event["event"] == "shipped").then(|| event["bytes"].as_u64().unwrap())
    };
    events.filter_map(shipped).next().unwrap()
}

/// The digest of the executable in the manifest of a result.
fn program_of(output: &Path) -> String {
    let manifest = fs::read(output.join("_SUCCESS")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    manifest["job"]["program_digest"].as_str().unwrap().to_string()
}

fn digest_of(program: &Path) -> String {
    blake3::hash(&fs::read(program).unwrap()).to_string()
}

fn a_foreign_program_is_sent_once() {
    let cluster = generic_cluster(3);
    let dir = Dir::new();
    let inputs = generated_words(&dir, 6, 1_000);
    let submit = |folder: &str| {
        let mut flags = arguments("trouble", &dir, &["--json", "--split-size", "1KB"]);
        let output = flags.iter().position(|flag| flag == "--output").unwrap() + 1;
        flags[output] = path(&dir.join(folder));
        let output = cluster.submit(flags).expect_code(0);
        assert_eq!(sorted_lines(&dir.join(folder)), count_words(&inputs));
        shipped_bytes(&output)
    };
    let size = fs::metadata("/proc/self/exe").unwrap().len();
    assert_eq!(submit("first"), size);
    assert_eq!(submit("second"), 0);
    assert_eq!(program_of(&dir.join("first")), digest_of(Path::new("/proc/self/exe")));
    // Kept once by the coordinator, and once by each worker that had tasks.
    let programs = |folder: &str| fs::read_dir(cluster.dir().join(folder).join("programs"));
    assert_eq!(programs("state").unwrap().count(), 1);
    let kept = (0..3).filter_map(|n| Some(programs(&format!("worker-{n}")).ok()?.count()));
    assert!(kept.into_iter().all(|files| files == 1));
}

/// The worker resumes an interrupted download: what has arrived is not sent again.
fn worker_cut_off_in_a_download() {
    const CUT_AFTER_BYTES: u64 = 60 << 20;
    let mut cluster = generic_cluster(0);
    let proxy = Proxy::to_url(&cluster.url);
    cluster.add_worker_at(&proxy.url(), &[]);
    cluster.wait_for_workers(1);
    proxy.stall_after(Direction::ToClient, CUT_AFTER_BYTES);
    let dir = Dir::new();
    dir.write("in/a.txt", "rye oats rye\n");
    let large = dir.join("large");
    File::create(&large).unwrap().set_len(100 << 20).unwrap();
    let file = format!("stop-words={}", path(&large));
    let submitter = cluster.start_submit(arguments("trouble", &dir, &["--file", &file]));
    // Chunks pass whole, or not at all.
    let cut = || proxy.forwarded_to_client() > CUT_AFTER_BYTES - (1 << 20);
    eventually("a part of the program and the file", cut);
    proxy.reset();
    proxy.heal();
    submitter.finish().expect_code(0);
    assert_eq!(sorted_lines(&dir.join("out")), ["oats\t1", "rye\t2"]);
    let sizes = [Path::new("/proc/self/exe"), &large].map(|path| fs::metadata(path).unwrap().len());
    let sent = proxy.forwarded_to_client();
    // Only what was on its way is lost, much less than what had arrived.
    let most = sizes.iter().sum::<u64>() + CUT_AFTER_BYTES / 2;
    assert!(sent < most, "{sent} bytes were sent of {sizes:?}");
}

fn two_submitters_at_once() {
    let cluster = generic_cluster(1);
    let dirs = [Dir::new(), Dir::new()];
    let submitters = dirs.each_ref().map(|dir| {
        dir.write("in/a.txt", "rye oats rye\n");
        cluster.start_submit(arguments("trouble", dir, &["--json"]))
    });
    for (submitter, dir) in submitters.into_iter().zip(&dirs) {
        submitter.finish().expect_code(0);
        assert_eq!(sorted_lines(&dir.join("out")), ["oats\t1", "rye\t2"]);
    }
    assert_eq!(fs::read_dir(cluster.state().join("programs")).unwrap().count(), 1);
}

/// The submitter resumes an interrupted upload by itself.
fn coordinator_killed_in_an_upload() {
    let mut cluster = generic_cluster(1);
    let dir = Dir::new();
    dir.write("in/a.txt", "rye oats rye\n");
    // Large enough to take a while.
    let large = dir.join("large");
    File::create(&large).unwrap().set_len(900 << 20).unwrap();
    let file = format!("stop-words={}", path(&large));
    let submitter = cluster.start_submit(arguments("trouble", &dir, &["--file", &file]));
    let programs = cluster.state().join("programs");
    let half_sent = || {
        let files = fs::read_dir(&programs).into_iter().flatten();
        let mut parts = files.flatten().filter(|file| file.path().extension().is_some());
        parts.any(|part| part.metadata().is_ok_and(|part| part.len() > 100 << 20))
    };
    eventually("a part of the file", half_sent);
    cluster.restart_coordinator();
    submitter.finish().expect_code(0);
    assert_eq!(sorted_lines(&dir.join("out")), ["oats\t1", "rye\t2"]);
}

fn two_versions_run_at_once() {
    let cluster = generic_cluster(2);
    let dir = Dir::new();
    let inputs = generated_words(&dir, 2, 1_000);
    let gates = gates(&dir);
    let waiting = cluster.submit_detached(gated(&dir, &["--split-size", "1KB"]));
    eventually("running maps", || fs::read_dir(&gates).unwrap().count() > 0);
    // The same code in an executable with another digest.
    let other = dir.join("other-version");
    fs::copy("/proc/self/exe", &other).unwrap();
    File::options().append(true).open(&other).unwrap().write_all(b"changed").unwrap();
    let elsewhere = Dir::new();
    let mut flags = arguments("trouble", &elsewhere, &["--json"]);
    let input = flags.iter().position(|flag| flag == "--input").unwrap() + 1;
    flags[input] = path(&dir.join("in"));
    let submitted = submit_with(&other, &cluster, &flags).expect_code(0);
    assert_eq!(shipped_bytes(&submitted), fs::metadata(&other).unwrap().len());
    assert_eq!(sorted_lines(&elsewhere.join("out")), count_words(&inputs));
    fs::write(gates.join("map-go"), "").unwrap();
    fs::write(gates.join("reduce-go"), "").unwrap();
    wait_until_succeeded(&cluster, waiting);
    assert_eq!(sorted_lines(&dir.join("out")), count_words(&inputs));
}

fn submit_with(program: &Path, cluster: &Cluster, flags: &[String]) -> Output {
    let mut command = Command::new(program);
    command.args([AS_WINDROW, "submit"]).args(flags).env("WINDROW_COORDINATOR", &cluster.url);
    Process::start(command).finish()
}

fn side_file(mode: &Mode) {
    let dir = Dir::new();
    dir.write("in/a.txt", "the rye and the oats\n");
    let list = dir.write("the.txt", "the\nand\n");
    let file = format!("stop-words={}", path(&list));
    mode.run(arguments("stop-words", &dir, &["--file", &file])).expect_code(0);
    assert_eq!(sorted_lines(&dir.join("out")), ["oats\t1", "rye\t1"]);
}

fn a_side_file_that_is_missing() {
    let dir = Dir::new();
    dir.write("in/a.txt", "x");
    let run = |flags: &[&str]| Mode::Embedded.run(arguments("stop-words", &dir, flags));
    run(&[]).expect_code(2).expect_said("the side file 'stop-words' is missing");
    run(&["--file", "stop-words=/nowhere/x"]).expect_code(2).expect_said("/nowhere/x");
    run(&["--file", "../x=/etc/hostname"]).expect_code(2).expect_said("cannot name a side file");
}

fn a_worker_without_processes() {
    let cluster = generic_cluster(0);
    let mut worker = cluster.worker_command(0);
    worker.arg("--in-process");
    let _worker = Process::start(worker);
    cluster.wait_for_workers(1);
    let dir = Dir::new();
    dir.write("in/a.txt", "x");
    let refused = cluster.submit(arguments("trouble", &dir, &[])).expect_code(1);
    refused.expect_said("--in-process").expect_said("another program");
}

/// The mapper of an ordered job hangs in its submitter; another submission succeeds meanwhile.
fn a_hanging_sample_does_not_block_other_submissions() {
    let cluster = Cluster::start(1);
    let dir = Dir::new();
    dir.write("in/a.txt", "words enough\n");
    let flags = arguments("hanging-sort", &dir, &["--reducers", "2"]);
    let mut hanging = cluster.start_submit(flags);
    eventually("a mapper that hangs", || dir.join("in/a.txt.seen").exists());
    let other = Dir::new();
    other.write("in/a.txt", "rye oats\n");
    cluster.submit(arguments("sort", &other, &["--reducers", "2"])).expect_code(0);
    assert!(hanging.is_running());
    assert!(cluster.command(["jobs", "--json"]).finish().stdout.lines().count() == 1);
}
