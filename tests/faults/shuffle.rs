//! Map outputs are damaged on disk, and their connections stall, break and slow down. Wrong data is
//! never used: it is fetched again, or its map runs again.

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::Trial;
use serde_json::Value;

use super::gated_job::GatedJob;
use crate::conformance::path;
use crate::support::{
    Cluster, ClusterOptions, Dir, Direction, Process, Proxy, case, eventually, free_port,
    read_parts, root_case, windrow,
};

pub fn tests() -> Vec<Trial> {
    let mut tests = vec![
        root_case("faults::shuffle::stalled", stalled),
        root_case("faults::shuffle::reset", reset),
        root_case("faults::shuffle::slow", slow),
        root_case("faults::shuffle::few_descriptors", few_descriptors),
    ];
    for damage in Damage::ALL {
        let name = format!("faults::shuffle::segment_{damage:?}").to_lowercase();
        let (near, far) = (format!("{name}::same_host"), format!("{name}::other_host"));
        tests.push(case(&near, move || damaged(damage, false)));
        tests.push(root_case(&far, move || damaged(damage, true)));
    }
    for (name, foreign) in [("task", Foreign::Task), ("job", Foreign::Job)] {
        let name = format!("faults::shuffle::segment_of_another_{name}");
        let (near, far) = (format!("{name}::same_host"), format!("{name}::other_host"));
        tests.push(case(&near, move || replaced(foreign, false)));
        tests.push(root_case(&far, move || replaced(foreign, true)));
    }
    tests
}

/// The damage to the file of a completed map output.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Deleted,
    Flipped,
    Truncated,
    Zeroed,
}

impl Damage {
    const ALL: [Self; 4] = [Self::Deleted, Self::Flipped, Self::Truncated, Self::Zeroed];

    fn strike(self, path: &Path) {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        match self {
            Self::Deleted => return fs::remove_file(path).unwrap(),
            Self::Flipped => bytes[middle] ^= 4,
            Self::Truncated => bytes.truncate(middle),
            Self::Zeroed => bytes.fill(0),
        }
        fs::write(path, bytes).unwrap();
    }
}

/// Two of three maps are done, with their outputs on disk, when one output is damaged. Reducers on
/// both workers notice, the holder's and the other's, and only that map runs again.
fn damaged(damage: Damage, own_hosts: bool) {
    let options = ClusterOptions { own_hosts, ..Default::default() };
    struck(&GatedJob::cluster_with(2, options), |segments| damage.strike(&segments[0]));
}

/// The owner of the output that replaces another.
#[derive(Clone, Copy)]
enum Foreign {
    Task,
    /// Another job's, of the same task and attempt.
    Job,
}

/// The replacement itself is undamaged: as from a folder restored from a copy, or a number given
/// twice.
fn replaced(foreign: Foreign, own_hosts: bool) {
    let options = ClusterOptions { own_hosts, ..Default::default() };
    let cluster = GatedJob::cluster_with(2, options);
    let others: Vec<(PathBuf, Vec<u8>)> = match foreign {
        Foreign::Task => Vec::new(),
        Foreign::Job => outputs_of_another_job(&cluster),
    };
    let place = |segments: &[PathBuf]| {
        let name = |path: &Path| path.file_name().unwrap().to_owned();
        let of_job = others.iter().find(|(path, _)| name(path) == name(&segments[0]));
        let bytes = of_job.map_or_else(|| fs::read(&segments[1]).unwrap(), |(_, it)| it.clone());
        fs::write(&segments[0], bytes).unwrap();
    };
    struck(&cluster, place);
    let said: String = cluster.workers.iter().map(Process::stderr).collect();
    assert!(said.contains("the file has the pairs of attempt 1 of map task"), "{said}");
}

/// The outputs of the three maps of a job with other input, with their file names.
fn outputs_of_another_job(cluster: &Cluster) -> Vec<(PathBuf, Vec<u8>)> {
    let gated = GatedJob::new(3, 220_000, &["--reducers", "2", "--memory", "512KiB"]);
    gated.open("map-go");
    let job = gated.submit(cluster);
    eventually("three maps' end", || cluster.status(job)["map"]["done"] == 3);
    let segments = segments_of(cluster);
    let read = segments.into_iter().map(|path| {
        let bytes = fs::read(&path).unwrap();
        (path, bytes)
    });
    let outputs = read.collect();
    gated.open("reduce-go");
    gated.finish(cluster, job);
    eventually("the removal of its outputs", || segments_of(cluster).is_empty());
    outputs
}

/// Two of three maps are done, with their outputs on disk, when `strike` changes the first of these
/// files. Reducers on both workers notice, and only that map runs again.
fn struck(cluster: &Cluster, strike: impl FnOnce(&[PathBuf])) {
    let gated = GatedJob::new(3, 200_000, &["--reducers", "2", "--memory", "512KiB"]);
    gated.open("reduce-go");
    let job = gated.submit(cluster);
    gated.wait_for_maps(3);
    gated.open("map-go-00.txt");
    gated.open("map-go-01.txt");
    eventually("two maps' end", || cluster.status(job)["map"]["done"] == 2);
    let segments = segments_of(cluster);
    assert_eq!(segments.len(), 2, "{segments:?}");
    strike(&segments);
    gated.open("map-go");
    let status = gated.finish(cluster, job);
    assert_eq!(status["map"]["lost"], 1, "{status}");
    assert_eq!(status["map"]["attempts"], 4, "{status}");
    assert!(status["reduce"]["attempts"].as_u64() > Some(2), "{status}");
}

/// The files of all completed map outputs.
fn segments_of(cluster: &Cluster) -> Vec<PathBuf> {
    let files = |folder: PathBuf| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let workers = (0..cluster.workers.len()).flat_map(|worker| files(cluster.jobs_dir(worker)));
    workers
        .filter(|path| path.is_dir())
        .flat_map(files)
        .filter(|path| path.extension().is_some_and(|extension| extension == "segment"))
        .collect()
}

/// Two workers on hosts of their own, with one map each; the second one reaches the first through
/// the proxy.
struct Wire {
    gated: GatedJob,
    cluster: Cluster,
    proxy: Proxy,
    job: u64,
}

impl Wire {
    /// So slow that the rest would take ten seconds.
    fn slow() -> Self {
        Self::in_use("1m", |proxy| proxy.throttle(Direction::ToClient, 32 * 1024))
    }

    /// Returns when both maps are done, and some of the first one's output has passed the proxy,
    /// but not all.
    fn in_use(fetch_timeout: &str, hold_back: impl FnOnce(&Proxy)) -> Self {
        let gated = GatedJob::new(2, 2_000_000, &["--reducers", "2", "--compress", "none"]);
        gated.open("reduce-go");
        let options = ClusterOptions { own_hosts: true, ..Default::default() };
        let mut cluster = GatedJob::cluster_with(0, options);
        let port = free_port();
        let listen = format!("127.0.0.1:{port}");
        let proxy = Proxy::to(listen.parse().unwrap());
        hold_back(&proxy);
        let advertise = proxy.address().to_string();
        let flags = ["--listen", &listen, "--advertise", &advertise];
        let url = cluster.url.clone();
        cluster.add_worker_at(&url, &flags);
        cluster.add_worker_at(&url, &["--fetch-timeout", fetch_timeout]);
        cluster.wait_for_workers(2);
        let job = gated.submit(&cluster);
        eventually("maps on two workers", || gated.map_processes().len() == 2);
        gated.open("map-go");
        eventually("data on its way", || proxy.forwarded_to_client() > 50_000);
        Self { gated, cluster, proxy, job }
    }

    fn finish(&self) -> Value {
        self.gated.finish(&self.cluster, self.job)
    }
}

/// The worker accepts connections, but sends nothing any more: the reduce is retried, on the holder
/// itself or, after two failures, with another map attempt's output.
fn stalled() {
    let wire = Wire::in_use("1s", |proxy| proxy.stall_after(Direction::ToClient, 80_000));
    let status = wire.finish();
    let failed = status["reduce"]["failed"].as_u64().unwrap();
    assert!((1..=2).contains(&failed), "{status}");
    assert_eq!(status["reduce"]["attempts"], 2 + failed, "{status}");
    assert_eq!(status["map"]["lost"], failed - 1, "{status}");
}

/// A broken stream is opened again, and resumes: no task is retried.
fn reset() {
    let wire = Wire::slow();
    // Before most of the data has arrived.
    wire.proxy.reset();
    eventually("a word about it", || wire.cluster.printed(wire.job, 1).contains("once more"));
    wire.proxy.heal();
    let status = wire.finish();
    assert_eq!(wire.proxy.accepted(), 2, "{status}");
    assert_eq!(status["map"]["attempts"], 2, "{status}");
    assert_eq!(status["reduce"]["failed"], 0, "{status}");
}

/// A sort on workers with these flags.
fn sort(dir: &Dir, options: ClusterOptions, flags: &[&str]) -> (Cluster, Vec<String>) {
    let input = path(&dir.join("in"));
    let generate = ["gen", "records", "--bytes", "12000000", "--output", &input];
    Process::start(windrow(generate)).finish().expect_code(0);
    let mut cluster = Cluster::with_options(0, options);
    let url = cluster.url.clone();
    (0..2).for_each(|_| cluster.add_worker_at(&url, flags));
    cluster.wait_for_workers(2);
    let output = path(&dir.join("out"));
    let flags = ["sort", "--record-bytes", "100", "--key-bytes", "0..10", "--input", &input];
    // With this little memory, outputs are files with several blocks for each reducer.
    let sizes = ["--split-size", "250KB", "--memory", "8MiB", "--reducers", "4", "--json"];
    let arguments = flags.into_iter().chain(sizes).chain(["--output", &output]);
    (cluster, arguments.map(String::from).collect())
}

/// Each process merges and serves more files than it may have open: it opens fewer at once, and no
/// attempt fails.
fn few_descriptors() {
    let dir = Dir::new();
    let options = ClusterOptions { own_hosts: true, ..Default::default() };
    let (cluster, arguments) = sort(&dir, options, &["--job-open-files", "96"]);
    let status = cluster.submit(&arguments).expect_code(0).last_json();
    assert_eq!(status["reduce"]["attempts"], 4, "{status}");
    assert_eq!(status["map"]["lost"], 0, "{status}");
    let sorted: Vec<u8> = read_parts(&dir.join("out")).into_values().flatten().collect();
    let keys: Vec<_> = sorted.chunks(100).map(|record| &record[..10]).collect();
    assert_eq!(keys.len(), 120_000);
    assert!(keys.is_sorted());
}

/// Slow is not broken.
fn slow() {
    let wire = Wire::slow();
    eventually("more data", || wire.proxy.forwarded_to_client() > 100_000);
    wire.proxy.heal();
    let status = wire.finish();
    assert_eq!(wire.proxy.accepted(), 1);
    assert_eq!(status["map"]["attempts"], 2, "{status}");
    assert_eq!(status["reduce"]["failed"], 0, "{status}");
}
