//! Members may do what their roles allow, until they are revoked.

use std::fs;

use libtest_mimic::Trial;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::{as_member, login, secured, text};
use crate::support::{Dir, Process, case, eventually, windrow};

pub fn tests() -> Vec<Trial> {
    vec![
        case("security::members_are_revoked_by_name", members_are_revoked_by_name),
        case("security::a_pipe_in_place_of_the_revocation_list_does_not_block", pipe_as_list),
        case("security::roles_are_kept_apart", roles_are_kept_apart),
        case("security::one_worker_has_one_certificate", one_worker_one_certificate),
    ]
}

fn members_are_revoked_by_name() {
    let cluster = secured(1);
    let warning = "a worker runs as the coordinator's user on the coordinator's machine";
    eventually("a warning", || cluster.coordinator.stderr().contains(warning));
    let security = cluster.dir().join("security");
    let token = cluster.token_with("submitter", &["--name", "ann"]);
    let (ann, login) = login(&cluster, &token, "ann");
    login.finish().expect_code(0);
    let revoke =
        |member: &str| Process::start(windrow(["revoke", text(&security), member])).finish();
    revoke("Submitter/ann").expect_code(2).expect_said("write ROLE/NAME");
    revoke("submitter/anne").expect_code(1).expect_said("has given no token to submitter/anne");
    as_member(&cluster, &ann, &["jobs"]).finish().expect_code(0);
    revoke("submitter/ann").expect_code(0).expect_said("is revoked");
    revoke("submitter/ann").expect_code(0).expect_said("before");
    let refused = as_member(&cluster, &ann, &["jobs"]).finish().expect_code(1);
    refused.expect_said("has been revoked");
    let log = |name: &str| fs::read_to_string(cluster.state().join(name)).unwrap_or_default();
    let is_noted = |name: &str, what: &str, outcome: &str| {
        let lines = log(name);
        let mut lines = lines.lines().map(|line| serde_json::from_str(line).unwrap());
        lines.any(|line: serde_json::Value| {
            let who = [&line["who"], &line["subject"]].map(|who| who.as_str().unwrap_or_default());
            who.iter().any(|who| who.ends_with("submitter/ann"))
                && line["what"] == what
                && line["outcome"] == outcome
        })
    };
    eventually("what Ann did, and what not, in the audit log", || {
        is_noted("audit.log", "enroll", "done") && is_noted("refusals.log", "List", "refused")
    });
    // An invalid edit by hand is reported, and revoked members stay revoked.
    fs::write(security.join("revoked"), "Submitter/ann\n").unwrap();
    eventually("word of it", || {
        cluster.coordinator.stderr().contains("line 1: 'Submitter/ann' names no member")
    });
    as_member(&cluster, &ann, &["jobs"]).finish().expect_code(1).expect_said("has been revoked");
    let mut another = windrow(["coordinator", "--listen", "127.0.0.1:0", "--security"]);
    another.arg(&security);
    let refused = Process::start(another).finish().expect_code(1);
    refused.expect_said("revoked, line 1: 'Submitter/ann' names no member");
}

/// While the list is unreadable and afterwards, revoked members stay out, and others are admitted.
fn pipe_as_list() {
    let cluster = secured(0);
    let token = cluster.token_with("submitter", &["--name", "ann"]);
    let (ann, login) = login(&cluster, &token, "ann");
    login.finish().expect_code(0);
    let list = cluster.dir().join("security/revoked");
    let jobs_of_ann = || as_member(&cluster, &ann, &["jobs"]).finish();
    fs::write(&list, "submitter/ann\n").unwrap();
    jobs_of_ann().expect_code(1).expect_said("has been revoked");
    fs::remove_file(&list).unwrap();
    mknodat(CWD, &list, FileType::Fifo, Mode::RWXU, 0).unwrap();
    eventually("word of it", || {
        let said = cluster.coordinator.stderr();
        said.contains("revoked, it is no regular file") && said.contains("stays out")
    });
    cluster.command(["jobs"]).finish().expect_code(0);
    jobs_of_ann().expect_code(1).expect_said("has been revoked");
    fs::remove_file(&list).unwrap();
    jobs_of_ann().expect_code(0);
}

fn roles_are_kept_apart() {
    let cluster = secured(1);
    let dir = Dir::new();
    let input = dir.write("in", "a b\n");
    let submitter = |name: &str| {
        let token = cluster.token_with("submitter", &["--name", name]);
        let (credentials, login) = login(&cluster, &token, name);
        login.finish().expect_code(0);
        credentials
    };
    let (ann, bob) = (submitter("ann"), submitter("bob"));
    let output = dir.join("out");
    let flags = ["submit", "word-count", "--input", text(&input), "--output", text(&output)];
    as_member(&cluster, &ann, &flags).finish().expect_code(0);
    let refused = as_member(&cluster, &bob, &["cancel", "1"]).finish().expect_code(1);
    refused.expect_said("was submitted by ann");
    as_member(&cluster, &ann, &["cancel", "1"]).finish().expect_said("word-count succeeded");
    as_member(&cluster, &cluster.admin(), &["cancel", "1"])
        .finish()
        .expect_said("word-count succeeded");
    let worker = cluster.dir().join("worker-0/credentials");
    let refused = as_member(&cluster, &worker, &["jobs"]).finish().expect_code(1);
    refused.expect_said("is a worker and may not call");
    let mut command = windrow(["worker", "--coordinator", &cluster.url, "--dir"]);
    fs::create_dir_all(dir.join("w/credentials")).unwrap();
    fs::copy(ann.join("identity.pem"), dir.join("w/credentials/identity.pem")).unwrap();
    command.arg(dir.join("w"));
    Process::start(command)
        .finish()
        .expect_code(1)
        .expect_said("w/credentials are those of a submitter")
        .expect_said("--role worker");
}

/// A copy of a worker's folder is not a second worker.
fn one_worker_one_certificate() {
    let cluster = secured(1);
    let copy = cluster.dir().join("copy/credentials");
    fs::create_dir_all(&copy).unwrap();
    let original = cluster.dir().join("worker-0/credentials/identity.pem");
    fs::copy(original, copy.join("identity.pem")).unwrap();
    let mut command = windrow(["worker", "--coordinator", &cluster.url, "--dir"]);
    command.arg(cluster.dir().join("copy"));
    Process::start(command)
        .finish()
        .expect_code(1)
        .expect_said("give each worker its own join token");
}
