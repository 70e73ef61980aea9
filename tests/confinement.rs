//! What user code can access: its own job's files, and what its submitter has declared. With real
//! workers, on a kernel with Landlock.

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::Trial;

use crate::conformance::{arguments, gated, gates, path, processes, wait_until_succeeded};
use crate::faults::gated_job::GatedJob;
use crate::support::{
    Cluster, ClusterOptions, Dir, Output, Process, case, count_words, eventually, free_port,
    generated_words, sorted_lines, windrow,
};

pub fn tests() -> Vec<Trial> {
    vec![
        case("confinement::jobs_harm_neither_worker_nor_others", jobs_harm_nobody),
        case("confinement::a_declared_path_is_writable", a_declared_path_is_writable),
        case("confinement::files_beside_the_worker_can_be_read", beside_the_worker),
        case("confinement::neighbours_credentials_are_hidden", neighbours_are_hidden),
        case("confinement::outputs_of_neighbours_can_be_read", outputs_of_neighbours_can_be_read),
        case("confinement::confinement_can_be_switched_off", confinement_can_be_switched_off),
        case("confinement::declared_paths_stay_in_allowed_folders", declared_paths_are_checked),
        case("confinement::declared_paths_reach_no_outputs", declared_paths_reach_no_outputs),
    ]
}

/// Runs a job that does only this. Its task has one attempt.
fn reach(cluster: &Cluster, act: &str, flags: &[&str]) -> (Dir, Output) {
    let dir = Dir::new();
    dir.write("in/acts", format!("{act}\n"));
    let flags = [&["--max-attempts", "1"], flags].concat();
    let output = cluster.submit(arguments("reach", &dir, &flags));
    (dir, output)
}

fn refused(cluster: &Cluster, act: &str, said: &str) {
    let (_dir, output) = reach(cluster, act, &[]);
    output.expect_code(1).expect_said(act).expect_said(said);
}

fn done(cluster: &Cluster, act: &str, flags: &[&str]) {
    let (dir, output) = reach(cluster, act, flags);
    output.expect_code(0);
    assert_eq!(sorted_lines(&dir.join("out")), ["done\t1"]);
}

fn shown(path: &Path) -> std::path::Display<'_> {
    path.display()
}

/// A job tries to reach its worker's key, another job's data and output, and everything else.
fn jobs_harm_nobody() {
    let (dir, elsewhere) = (Dir::new(), Dir::new());
    let options = ClusterOptions { secured: true, ..ClusterOptions::default() };
    let mut cluster = Cluster::with_options(1, options);
    let inputs = generated_words(&dir, 2, 1_000);
    let gates = gates(&dir);
    let job = cluster.submit_detached(gated(&dir, &[]));
    eventually("a running map", || !processes(&gates, "map-").is_empty());
    for process in processes(&gates, "map-") {
        // Of a worker and its job, the kernel should kill the job first when memory runs out.
        let score = fs::read_to_string(format!("/proc/{process}/oom_score_adj")).unwrap();
        assert_eq!(score.trim(), "500");
    }
    let kept = elsewhere.write("kept", "as it was");
    let worker = cluster.worker_dir(0);
    let key = worker.join("credentials/identity.pem");
    let others = cluster.jobs_dir(0).join(format!("job-{job}"));
    assert!(key.is_file() && others.is_dir());

    let staging = fs::read_dir(dir.join("out/_temporary")).unwrap().find_map(|entry| {
        let path: PathBuf = entry.unwrap().path();
        path.is_dir().then_some(path)
    });
    for act in [
        format!("read {}", shown(&key)),
        format!("write {}", shown(&key)),
        format!("list {}", shown(&others)),
        format!("read {}", shown(&others.join("printed-1.log"))),
        format!("remove {}", shown(&others)),
        format!("write {}", shown(&staging.unwrap().join("part-00000.1"))),
        format!("remove {}", shown(&dir.join("out"))),
        format!("write {}", shown(&kept)),
        format!("write {}", shown(&elsewhere.join("new"))),
        format!("read /proc/{}/mem", cluster.workers[0].id()),
    ] {
        refused(&cluster, &act, "Permission denied");
    }
    let worker = format!("signal {}", cluster.workers[0].id());
    refused(&cluster, &worker, "Operation not permitted");
    done(&cluster, "temporary", &[]);

    assert_eq!(fs::read_to_string(kept).unwrap(), "as it was");
    assert!(fs::read_to_string(key).unwrap().contains("PRIVATE KEY"));
    fs::write(gates.join("map-go"), "").unwrap();
    fs::write(gates.join("reduce-go"), "").unwrap();
    wait_until_succeeded(&cluster, job);
    assert_eq!(sorted_lines(&dir.join("out")), count_words(&inputs));
    assert!(cluster.workers[0].is_running());
}

fn a_declared_path_is_writable() {
    let cluster = Cluster::start(1);
    let dir = Dir::new();
    let (note, file) = (dir.write("notes/old", ""), dir.write("one", ""));
    let notes = path(note.parent().unwrap());
    let act = format!("write {notes}/new");
    refused(&cluster, &act, "Permission denied");
    done(&cluster, &act, &["--allow-write", &notes]);
    assert_eq!(fs::read_to_string(dir.join("notes/new")).unwrap(), "harm");
    let both = ["--allow-write", &notes, "--allow-write", &path(&file)];
    done(&cluster, &format!("write {}", shown(&file)), &both);

    let worker = path(&cluster.worker_dir(0));
    for (declared, code, said) in [
        ("notes", 2, "must be an absolute path"),
        (&*path(&dir.join("missing")), 1, "No such file"),
        (&*worker, 1, "it overlaps with this worker's folder"),
        ("/", 2, "the job's output"),
    ] {
        let (_dir, output) = reach(&cluster, &act, &["--allow-write", declared]);
        output.expect_code(code).expect_said(said);
    }
}

/// Input and output are in the folder that also holds the worker's folder.
fn beside_the_worker() {
    let cluster = Cluster::start(2);
    let inputs = generated_words(cluster.dir(), 4, 1_000);
    let flags = ["--split-size", "1KB", "--reducers", "3"];
    cluster.submit(arguments("word-count", cluster.dir(), &flags)).expect_code(0);
    assert_eq!(sorted_lines(&cluster.dir().join("out")), count_words(&inputs));
}

/// On either worker, a job cannot read the keys or programs of both.
fn neighbours_are_hidden() {
    let options = ClusterOptions { secured: true, ..ClusterOptions::default() };
    let cluster = Cluster::with_options(2, options);
    for n in 0..2 {
        let worker = cluster.worker_dir(n);
        let key = worker.join("credentials/identity.pem");
        assert!(key.is_file());
        for act in [
            format!("read {}", shown(&key)),
            format!("list {}", shown(&worker.join("credentials"))),
            format!("list {}", shown(&worker)),
            format!("write {}", shown(&worker.join("jobs/new"))),
        ] {
            refused(&cluster, &act, "Permission denied");
        }
        let (_dir, output) = reach(&cluster, "temporary", &["--allow-write", &path(&worker)]);
        output.expect_code(1).expect_said("worker's folder");
    }
}

/// Nothing answers at the address that the workers advertise, so map outputs must be read from the
/// neighbour's files.
fn outputs_of_neighbours_can_be_read() {
    let gated = GatedJob::new(4, 200_000, &["--reducers", "2", "--memory", "512KiB"]);
    let mut cluster = GatedJob::cluster(0);
    let nowhere = format!("127.0.0.1:{}", free_port());
    for _ in 0..2 {
        cluster.add_worker_at(&cluster.url.clone(), &["--advertise", &nowhere]);
    }
    cluster.wait_for_workers(2);
    let job = gated.submit(&cluster);
    gated.wait_for_maps(4);
    assert_eq!(gated.map_processes().len(), 2, "both workers have map outputs");
    gated.open("map-go");
    gated.open("reduce-go");
    let status = gated.finish(&cluster, job);
    assert_eq!(status["map"]["attempts"], 4, "{status}");
    assert_eq!(status["reduce"]["failed"], 0, "{status}");
}

fn confinement_can_be_switched_off() {
    let mut cluster = Cluster::start(0);
    cluster.add_worker_at(&cluster.url.clone(), &["--no-landlock"]);
    cluster.wait_for_workers(1);
    let dir = Dir::new();
    done(&cluster, &format!("write {}", shown(&dir.join("new"))), &[]);
    assert_eq!(fs::read_to_string(dir.join("new")).unwrap(), "harm");
}

fn declared_paths_are_checked() {
    let mut cluster = Cluster::start(0);
    let dir = Dir::new();
    for folder in ["data/notes", "other"] {
        fs::create_dir_all(dir.join(folder)).unwrap();
    }
    std::os::unix::fs::symlink(dir.join("other"), dir.join("data/link")).unwrap();
    let input = path(&dir.write("data/in", "temporary\n"));
    cluster.restart_coordinator_as(|mut command| {
        command.arg("--allow-path").arg(dir.join("data"));
        command
    });
    let output = path(&dir.join("data/out"));
    let submit = |declared: &str| {
        let mut command = windrow(["submit", "reach", "--detach", "--coordinator", &cluster.url]);
        command.args(["--input", &input, "--output", &output]);
        command.arg("--allow-write").arg(dir.join(declared));
        Process::start(command).finish()
    };
    for outside in ["other", "data/link"] {
        submit(outside).expect_code(1).expect_said("add to them with --allow-path");
    }
    submit("data/notes").expect_code(0);
}

/// In a folder with the outputs of all users, one output is removed and forged, and so is the
/// staging folder of a running job.
fn declared_paths_reach_no_outputs() {
    let cluster = Cluster::start(1);
    let dir = Dir::new();
    let results = path(&dir.join("results"));
    let input = path(&dir.write("in/a.txt", "rye oats rye\n"));
    let published = path(&dir.join("results/bob"));
    let flags = ["word-count", "--input", &input, "--output", &published];
    cluster.submit(flags).expect_code(0);
    let whole = fs::read(dir.join("results/bob/_SUCCESS")).unwrap();
    let act = format!("run cd {results} && mv bob stolen && mkdir bob && touch bob/_SUCCESS");
    for declared in [&results, &published, &path(&dir.join("results/bob/part-00000"))] {
        let (_dir, output) = reach(&cluster, &act, &["--allow-write", declared]);
        output
            .expect_code(1)
            .expect_said(&format!("{published} is an output, with _SUCCESS in it"))
            .expect_said("declare a folder in which no outputs lie");
    }
    assert_eq!(fs::read(dir.join("results/bob/_SUCCESS")).unwrap(), whole);

    let gated = GatedJob::new(1, 1_000, &[]);
    let job = gated.submit(&cluster);
    let arguments = gated.arguments();
    let output = arguments.iter().skip_while(|flag| *flag != "--output").nth(1).unwrap();
    let around = path(Path::new(output).parent().unwrap());
    for declared in [&around, output, &format!("{output}/_temporary")] {
        let act = format!("remove {output}/_temporary");
        let (_dir, refused) = reach(&cluster, &act, &["--allow-write", declared]);
        refused.expect_code(1).expect_said(&format!("the output of job-{job}"));
    }
    gated.open("map-go");
    gated.open("reduce-go");
    gated.finish(&cluster, job);
    gated.check_output();
}
