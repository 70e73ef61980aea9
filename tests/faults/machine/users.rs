//! Coordinator and worker run as different users.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use libtest_mimic::Trial;

use crate::conformance::path;
use crate::support::{
    Cluster, ClusterOptions, Dir, Process, as_user, count_words, generated_words, root_case,
    sorted_lines, windrow,
};

pub fn tests() -> Vec<Trial> {
    vec![root_case("faults::machine::users_of_their_own", users_of_their_own)]
}

const COORDINATOR: u32 = 42_001;
const WORKER: u32 = 42_002;
const BOTH: u32 = 42_003;

/// It works with a common group and a folder that grants it; without, the error comes before
/// anything is computed.
fn users_of_their_own() {
    let dir = Dir::new();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let inputs = generated_words(&dir, 1, 1_000);
    for (name, user, group, mode) in [
        ("state", COORDINATOR, COORDINATOR, 0o700),
        ("worker", WORKER, WORKER, 0o700),
        ("open", 0, 0, 0o777),
        ("shared", 0, BOTH, 0o3775),
    ] {
        fs::create_dir(dir.join(name)).unwrap();
        std::os::unix::fs::chown(dir.join(name), Some(user), Some(group)).unwrap();
        fs::set_permissions(dir.join(name), Permissions::from_mode(mode)).unwrap();
    }
    let options = ClusterOptions { state: Some(dir.join("unused")), ..Default::default() };
    let mut cluster = Cluster::with_options(0, options);
    let listen = cluster.url.trim_start_matches("http://").to_string();
    let state = path(&dir.join("state"));
    let users = format!("{COORDINATOR},{WORKER}");
    let mut coordinator = windrow(["coordinator", "--listen", &listen, "--state", &state]);
    coordinator.args(["--allow-user", &users]);
    let groups = BOTH.to_string();
    cluster.coordinator.kill();
    cluster.coordinator = Process::start(as_user(COORDINATOR, &groups, &coordinator));
    let folder = path(&dir.join("worker"));
    let mut worker = windrow(["worker", "--coordinator", &cluster.url, "--dir", &folder]);
    worker.args(["--allow-user", &users]);
    cluster.workers.push(Process::start(as_user(WORKER, &groups, &worker)));
    cluster.share_with(&users);
    cluster.wait_for_workers(1);
    let count = |folder: &str, flags: &[&str]| {
        let (input, output) = (path(&dir.join("in")), path(&dir.join(folder).join("out")));
        let count = ["word-count", "--input", &input, "--output", &output];
        cluster.submit([&count[..], flags].concat())
    };
    let refused = count("open", &[]).expect_code(1);
    refused
        .expect_said(&format!("runs as user {WORKER}"))
        .expect_said(&format!("belongs to user {COORDINATOR}"))
        .expect_said("map task 0 failed")
        .expect_said("docs/security.md");
    assert!(!dir.join("open/out").exists());
    for flags in [&[][..], &["--overwrite"]] {
        count("shared", flags).expect_code(0);
        assert_eq!(sorted_lines(&dir.join("shared/out")), count_words(&inputs));
    }
    // Only the coordinator moves and removes what it has made there.
    let shared = path(&dir.join("shared"));
    let harm = format!("cd {shared}; mv out mine || rm -r out/_SUCCESS || mkdir out/_temporary");
    let mut shell = Command::new("sh");
    shell.args(["-c", &harm]);
    assert!(!as_user(WORKER, &groups, &shell).status().unwrap().success());
}
