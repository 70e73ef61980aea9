//! Certificates expire: they are renewed, also after an outage, or their members are told.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use libtest_mimic::Trial;
use windrow_security::Credentials;

use super::{as_member, login, text};
use crate::conformance::{gated, gates, processes};
use crate::support::{
    Cluster, ClusterOptions, Dir, Process, case, eventually, sorted_lines, wait_for, windrow,
};

pub fn tests() -> Vec<Trial> {
    vec![
        case("security::members_return_after_an_outage", an_outage),
        case("security::members_away_beyond_the_grace_period_end", an_outage_for_too_long),
        case("security::short_lived_certificates_are_renewed", certificates_are_renewed),
        case("security::a_job_that_outlasts_its_submitters_certificate", a_long_job),
        case("security::expired_credentials_say_so", expired_credentials_say_so),
    ]
}

/// The coordinator is down for longer than certificates are valid. Its members return by themselves
/// within the grace period.
fn an_outage() {
    let options = ClusterOptions {
        secured: true,
        certificate_lifetime: "3s",
        certificate_grace: "1h",
        ..Default::default()
    };
    let mut cluster = Cluster::with_options(1, options);
    let (user, login) = login(&cluster, &cluster.token("submitter"), "user");
    login.finish().expect_code(0);
    let mut command = windrow(["worker", "--coordinator", &cluster.url, "--dir"]);
    command.arg(cluster.worker_dir(1)).args(["--token", &cluster.token("worker")]);
    let second = Process::start(command);
    cluster.wait_for_workers(2);
    cluster.coordinator.kill();
    drop(second);
    wait_for_the_end(&cluster.worker_dir(0).join("credentials"));
    let alone = as_member(&cluster, &user, &["jobs"]).finish();
    assert!(matches!(alone.code(), Some(1 | 6)), "{alone:?}");
    // A worker that is started meanwhile waits, too: its token is spent.
    let mut command = windrow(["worker", "--coordinator", &cluster.url, "--dir"]);
    command.arg(cluster.worker_dir(1));
    let _second = Process::start(command);
    cluster.restart_coordinator();
    cluster.wait_for_workers(2);
    as_member(&cluster, &user, &["jobs"]).finish().expect_code(0);
}

/// Waits until the certificate in a folder, which nothing renews, has expired.
fn wait_for_the_end(folder: &Path) {
    let ends = Credentials::load(folder).unwrap().certified().not_after;
    eventually("the end of a certificate", || SystemTime::now() > ends);
}

/// After the grace period, a worker ends, so that its supervisor notices.
fn an_outage_for_too_long() {
    let options = ClusterOptions {
        secured: true,
        certificate_lifetime: "2s",
        certificate_grace: "0s",
        ..Default::default()
    };
    let mut cluster = Cluster::with_options(1, options);
    cluster.coordinator.kill();
    wait_for_the_end(&cluster.worker_dir(0).join("credentials"));
    cluster.restart_coordinator();
    let worker = cluster.workers.remove(0);
    worker.finish().expect_code(1).expect_said("ask for a new join token");
}

/// A worker that runs for longer than its certificates are valid has renewed them.
fn certificates_are_renewed() {
    let dir = Dir::new();
    let (_coordinator, url) = short_lived(&dir, "4s");
    let token = short_token(&dir, "worker");
    let mut command = windrow(["worker", "--coordinator", &url, "--token", &token, "--dir"]);
    command.arg(dir.join("worker"));
    let worker = Process::start(command);
    let identity = dir.join("worker/credentials/identity.pem");
    let first = wait_for("credentials", || fs::read(&identity).ok());
    eventually("other credentials", || fs::read(&identity).unwrap() != first);
    eventually("word of it", || worker.stderr().contains("the certificate was renewed"));
}

/// A waiting command renews its certificate, and sees the job's end.
fn a_long_job() {
    let options =
        ClusterOptions { secured: true, certificate_lifetime: "3s", ..Default::default() };
    let cluster = Cluster::with_options(1, options);
    let (user, login) = login(&cluster, &cluster.token("submitter"), "user");
    login.finish().expect_code(0);
    let ends = Credentials::load(&user).unwrap().certified().not_after;
    let dir = Dir::new();
    dir.write("in/a", "rye oats rye\n");
    let gates = gates(&dir);
    let writes = ["--allow-write", text(&gates)];
    let arguments = [vec!["submit".to_string()], gated(&dir, &writes)].concat();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let submit = as_member(&cluster, &user, &arguments);
    eventually("a task", || !processes(&gates, "map-").is_empty());
    eventually("the end of the first certificate", || SystemTime::now() > ends);
    eventually("word of another", || {
        Credentials::load(&user).unwrap().certified().not_after > ends
    });
    for stage in ["map", "reduce"] {
        fs::write(gates.join(format!("{stage}-go")), "").unwrap();
    }
    submit.finish().expect_code(0);
    assert_eq!(sorted_lines(&dir.join("out")), ["oats\t1", "rye\t2"]);
}

fn expired_credentials_say_so() {
    let dir = Dir::new();
    let (_coordinator, url) = short_lived(&dir, "1s");
    let token = short_token(&dir, "submitter");
    let mut command = windrow(["login", "--coordinator", &url, "--token", &token]);
    command.arg("--credentials").arg(dir.join("user"));
    Process::start(command).finish().expect_code(0);
    let identity = fs::read(dir.join("user/identity.pem")).unwrap();
    eventually("the end of a second", || {
        // A command that is early renews the certificate.
        fs::write(dir.join("user/identity.pem"), &identity).unwrap();
        let mut command = windrow(["jobs", "--coordinator", &url]);
        command.arg("--credentials").arg(dir.join("user"));
        let output = Process::start(command).finish();
        output.code() == Some(1) && output.stderr.contains("the certificate expired at")
    });
}

/// A secured coordinator that issues certificates of this lifetime, and its URL.
fn short_lived(dir: &Dir, life: &str) -> (Process, String) {
    let security = dir.join("security");
    Process::start(windrow(["init", text(&security)])).finish().expect_code(0);
    let flags = ["coordinator", "--listen", "127.0.0.1:0", "--certificate-lifetime", life];
    let mut command = windrow(flags);
    command.args(["--certificate-grace", "0s"]);
    command.arg("--security").arg(&security);
    let coordinator = Process::start(command);
    let url = coordinator.url();
    (coordinator, url)
}

fn short_token(dir: &Dir, role: &str) -> String {
    let mut command = windrow(["token", "--role", role]);
    command.arg(dir.join("security"));
    Process::start(command).finish().expect_code(0).stdout.trim().to_string()
}
