//! Connections: TLS within a cluster, one authority for both ends, and no address that is open by
//! mistake.

use libtest_mimic::Trial;

use super::{as_member, login, secured, text};
use crate::support::{
    Cluster, ClusterOptions, Dir, Process, case, count_words, generated_words, root_case,
    sorted_lines, windrow,
};

pub fn tests() -> Vec<Trial> {
    vec![
        root_case("security::jobs_run_over_tls", jobs_run_over_tls),
        root_case("security::jobs_run_over_tls_in_the_worker", jobs_run_over_tls_in_the_worker),
        case("security::members_of_other_clusters_are_refused", others_are_refused),
        case("security::the_wrong_scheme_is_named", the_wrong_scheme_is_named),
        case("security::open_addresses_are_refused", open_addresses_are_refused),
    ]
}

/// Workers on hosts of their own fetch from each other, over TLS, too.
fn jobs_run_over_tls() {
    let cluster = secured_hosts(2);
    count_words_on(&cluster);
}

/// The same in workers that run jobs in their own process.
fn jobs_run_over_tls_in_the_worker() {
    let mut cluster = secured_hosts(0);
    for n in 0..2 {
        let mut command = cluster.worker_command(n);
        command.arg("--in-process");
        cluster.workers.push(Process::start(command));
    }
    cluster.wait_for_workers(2);
    count_words_on(&cluster);
}

fn secured_hosts(workers: usize) -> Cluster {
    let options = ClusterOptions { secured: true, own_hosts: true, ..ClusterOptions::default() };
    Cluster::with_options(workers, options)
}

fn count_words_on(cluster: &Cluster) {
    let dir = Dir::new();
    let files = generated_words(&dir, 4, 20_000);
    let (input, output) = (dir.join("in"), dir.join("out"));
    let flags = ["--reducers", "4", "--split-size", "8KiB"];
    let arguments = ["word-count", "--input", text(&input), "--output", text(&output)];
    cluster.submit(arguments.into_iter().chain(flags)).expect_code(0);
    assert_eq!(sorted_lines(&output), count_words(&files));
}

/// Another authority at either end: neither can be a man in the middle.
fn others_are_refused() {
    let (ours, theirs) = (secured(0), secured(0));
    let token = theirs.token("submitter");
    let gone = theirs.url.clone();
    let refused = login(&ours, &token, "x").1.finish().expect_code(6);
    refused.expect_said("another authority than that of this cluster has signed its certificate");
    let asked = as_member(&ours, &theirs.admin(), &["jobs"]).finish().expect_code(6);
    asked.expect_said("another authority than that of this cluster has signed its certificate");
    assert!(login(&theirs, &token, "y").1.finish().code() == Some(0), "the token was not spent");
    let token = theirs.token("submitter");
    drop(theirs);
    let nobody = Process::start(windrow(["login", "--coordinator", &gone, "--token", &token]));
    nobody.finish().expect_code(6).expect_said("no windrow coordinator answers");
}

fn the_wrong_scheme_is_named() {
    let (plain, tls) = (Cluster::start(0), secured(0));
    let http = tls.url.replace("https://", "http://");
    let asked = Process::start(windrow(["jobs", "--coordinator", &http])).finish();
    asked.expect_code(6).expect_said("say https://");
    let mut command = windrow(["worker", "--coordinator", &http, "--token", &tls.token("worker")]);
    command.arg("--dir").arg(tls.dir().join("w"));
    Process::start(command).finish().expect_code(2).expect_said("say https://");
    let https = plain.url.replace("http://", "https://");
    let mut command = windrow(["jobs", "--coordinator", &https]);
    command.arg("--credentials").arg(tls.admin());
    Process::start(command).finish().expect_code(6).expect_said("does not speak TLS; say http://");
    let mut command = windrow(["jobs", "--coordinator", &tls.url]);
    command.arg("--credentials").arg(tls.dir().join("none"));
    Process::start(command).finish().expect_code(2).expect_said("windrow login");
}

fn open_addresses_are_refused() {
    let dir = Dir::new();
    let security = dir.join("security");
    Process::start(windrow(["init", text(&security)])).finish().expect_code(0);
    let refused = |arguments: &[&str], said: &str| {
        Process::start(windrow(arguments)).finish().expect_code(2).expect_said(said);
    };
    refused(&["coordinator", "--listen", "0.0.0.0:0"], "can be reached from other machines");
    refused(&["worker", "--listen", "0.0.0.0:0"], "can be reached from other machines");
    refused(&["coordinator", "--listen", "0.0.0.0:0", "--insecure"], "--allow-path");
    let folder = text(&security);
    refused(&["coordinator", "--listen", "0.0.0.0:0", "--security", folder], "--allow-path");
    refused(&["coordinator", "--security", folder, "--insecure"], "cannot be used with");
}
