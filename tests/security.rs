//! A secured cluster of real processes: who joins, who is refused and with which words, and what a
//! submitter can reach.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use libtest_mimic::Trial;
use windrow_security::Credentials;

use crate::support::{
    Cluster, ClusterOptions, Dir, Process, after, case, count_words, eventually, generated_words,
    root_case, sorted_lines, wait_for, windrow,
};

pub fn tests() -> Vec<Trial> {
    vec![
        root_case("security::jobs_run_over_tls", jobs_run_over_tls),
        root_case("security::jobs_run_over_tls_in_the_worker", jobs_run_over_tls_in_the_worker),
        case("security::tokens_are_for_one_member_once", tokens_are_for_one_member_once),
        case("security::tokens_come_from_files", tokens_come_from_files),
        case("security::members_are_revoked_by_name", members_are_revoked_by_name),
        case("security::members_of_other_clusters_are_refused", others_are_refused),
        case("security::roles_are_kept_apart", roles_are_kept_apart),
        case("security::a_token_of_a_wrong_role_does_not_stick", a_token_of_a_wrong_role),
        case("security::credentials_of_another_cluster_do_not_stick", a_token_of_another_cluster),
        case("security::members_come_back_after_an_outage", an_outage),
        case("security::members_that_were_away_too_long_end", an_outage_for_too_long),
        case("security::one_worker_has_one_certificate", one_worker_one_certificate),
        case("security::short_lived_certificates_are_renewed", certificates_are_renewed),
        case("security::expired_credentials_say_so", expired_credentials_say_so),
        case("security::the_wrong_scheme_is_named", the_wrong_scheme_is_named),
        case("security::open_addresses_are_refused", open_addresses_are_refused),
        case("security::jobs_stay_in_allowed_folders", jobs_stay_in_allowed_folders),
        case("security::no_control_bytes_get_through", no_control_bytes_get_through),
    ]
}

fn secured(workers: usize) -> Cluster {
    Cluster::with_options(workers, ClusterOptions { secured: true, ..ClusterOptions::default() })
}

/// Logs in with a token of this cluster, and returns the folder of the credentials.
fn login(cluster: &Cluster, token: &str, folder: &str) -> (PathBuf, Process) {
    let folder = cluster.dir().join(folder);
    let mut command = windrow(["login", "--coordinator", &cluster.url, "--token", token]);
    command.arg("--credentials").arg(&folder);
    (folder, Process::start(command))
}

fn as_user(cluster: &Cluster, credentials: &Path, arguments: &[&str]) -> Process {
    let mut command = windrow(arguments);
    command.env("WINDROW_COORDINATOR", &cluster.url).env("WINDROW_CREDENTIALS", credentials);
    Process::start(command)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Workers on hosts of their own fetch from each other, over TLS, too.
fn jobs_run_over_tls() {
    let cluster = secured_hosts(2);
    count_words_on(&cluster);
}

/// Likewise, without processes of their own for jobs.
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

fn tokens_are_for_one_member_once() {
    let cluster = secured(0);
    let token = cluster.token("submitter");
    login(&cluster, &token, "first")
        .1
        .finish()
        .expect_code(0)
        .expect_said("logged in as submitter");
    let again = login(&cluster, &token, "second").1.finish();
    again.expect_code(1).expect_said("has been spent");
    let half = &token[..token.len() / 2];
    login(&cluster, half, "third").1.finish().expect_code(2).expect_said("not a whole join token");
    let late = cluster.token_with("submitter", &["--expires", "0s"]);
    let record = fs::read_dir(cluster.dir().join("security/tokens")).unwrap();
    let unspent = record.map(|entry| entry.unwrap().path()).find(|path| path.extension().is_none());
    let path = unspent.unwrap();
    let mut record: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    record["expires_unix_s"] = 1.into();
    fs::write(&path, record.to_string()).unwrap();
    login(&cluster, &late, "fourth").1.finish().expect_code(1).expect_said("has expired");
    for name in ["second", "third", "fourth"] {
        assert!(!cluster.dir().join(name).exists(), "{name} has credentials");
    }
}

/// So that no other user of the machine reads them among a process's arguments.
fn tokens_come_from_files() {
    let cluster = secured(0);
    let file = cluster.dir().join("w.token");
    let mut command = windrow(["token", "--role", "worker", "--out", text(&file)]);
    command.arg(cluster.dir().join("security"));
    let printed = Process::start(command).finish().expect_code(0);
    assert_eq!(printed.stdout, "");
    let mode = fs::metadata(&file).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    // As /dev/stdout is.
    let link = cluster.dir().join("link");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    for special in [link.as_path(), cluster.dir().path()] {
        let mut command = windrow(["token", "--role", "worker", "--out", text(special)]);
        command.arg(cluster.dir().join("security"));
        let refused = Process::start(command).finish().expect_code(1);
        refused.expect_said("is there, and no regular file");
    }
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    let folder = cluster.dir().join("w");
    let start = || {
        let flags = ["worker", "--coordinator", &cluster.url, "--token-file", text(&file)];
        let mut command = windrow(flags);
        command.arg("--dir").arg(&folder);
        Process::start(command)
    };
    let worker = start();
    cluster.wait_for_workers(1);
    drop(worker);
    cluster.wait_for_workers(0);
    // A supervisor starts it again with the same arguments, and the file may be gone by then.
    fs::remove_file(&file).unwrap();
    let _again = start();
    cluster.wait_for_workers(1);
    let login = |flags: &[&str], input: &str| {
        let typed = cluster.dir().write("typed", input);
        let flags = [&["login", "--coordinator", &cluster.url], flags].concat();
        let shell = format!("exec < {}", typed.display());
        let mut command = after(&shell, &windrow(flags));
        command.arg("--credentials").arg(cluster.dir().join("user"));
        Process::start(command).finish()
    };
    login(&["--token", "-"], &format!("{}\n", cluster.token("submitter"))).expect_code(0);
    login(&["--token-file", "/nonexistent"], "").expect_code(1).expect_said("--token-file");
    login(&[], "").expect_code(2).expect_said("name its file (--token-file)");
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
    as_user(&cluster, &ann, &["jobs"]).finish().expect_code(0);
    revoke("submitter/ann").expect_code(0).expect_said("is put out");
    revoke("submitter/ann").expect_code(0).expect_said("before");
    let refused = as_user(&cluster, &ann, &["jobs"]).finish().expect_code(1);
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
    // By hand, and wrong: it is said, and who was out stays out.
    fs::write(security.join("revoked"), "Submitter/ann\n").unwrap();
    eventually("word of it", || {
        cluster.coordinator.stderr().contains("line 1: 'Submitter/ann' names no member")
    });
    as_user(&cluster, &ann, &["jobs"]).finish().expect_code(1).expect_said("has been revoked");
    let mut another = windrow(["coordinator", "--listen", "127.0.0.1:0", "--security"]);
    another.arg(&security);
    let refused = Process::start(another).finish().expect_code(1);
    refused.expect_said("revoked, line 1: 'Submitter/ann' names no member");
}

/// Another authority, on either side: neither is the other's man in the middle.
fn others_are_refused() {
    let (ours, theirs) = (secured(0), secured(0));
    let token = theirs.token("submitter");
    let gone = theirs.url.clone();
    let refused = login(&ours, &token, "x").1.finish().expect_code(6);
    refused.expect_said("another authority than that of this cluster has signed its certificate");
    let asked = as_user(&ours, &theirs.admin(), &["jobs"]).finish().expect_code(6);
    asked.expect_said("another authority than that of this cluster has signed its certificate");
    assert!(login(&theirs, &token, "y").1.finish().code() == Some(0), "the token was not spent");
    let token = theirs.token("submitter");
    drop(theirs);
    let nobody = Process::start(windrow(["login", "--coordinator", &gone, "--token", &token]));
    nobody.finish().expect_code(6).expect_said("no windrow coordinator answers");
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
    as_user(&cluster, &ann, &flags).finish().expect_code(0);
    let refused = as_user(&cluster, &bob, &["cancel", "1"]).finish().expect_code(1);
    refused.expect_said("was submitted by ann");
    as_user(&cluster, &ann, &["cancel", "1"]).finish().expect_said("word-count succeeded");
    as_user(&cluster, &cluster.admin(), &["cancel", "1"])
        .finish()
        .expect_said("word-count succeeded");
    let worker = cluster.dir().join("worker-0/credentials");
    let refused = as_user(&cluster, &worker, &["jobs"]).finish().expect_code(1);
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

/// A token that was given by mistake is not spent, and nothing of it stays with the worker, or with
/// the user.
fn a_token_of_a_wrong_role() {
    let cluster = secured(0);
    let dir = Dir::new();
    let worker = |token: &str| {
        let mut command = windrow(["worker", "--coordinator", &cluster.url, "--token", token]);
        command.args(["--name", "w0", "--dir"]).arg(dir.join("w"));
        Process::start(command)
    };
    let (wrong, right) = (cluster.token("submitter"), cluster.token("worker"));
    worker(&wrong).finish().expect_code(1).expect_said("is for a new submitter");
    let refused = login(&cluster, &right, "user").1.finish().expect_code(1);
    refused.expect_said("is for a new worker");
    let joined = worker(&right);
    cluster.wait_for_workers(1);
    drop(joined);
    // Credentials of a wrong role that are there already, such as from an older release, do not
    // keep a token out.
    let (user, login) = login(&cluster, &wrong, "user");
    login.finish().expect_code(0);
    fs::copy(user.join("identity.pem"), dir.join("w/credentials/identity.pem")).unwrap();
    let _again = worker(&cluster.token("worker"));
    eventually("a worker of its own name", || {
        let text = fs::read(dir.join("w/credentials/identity.pem")).unwrap();
        text != fs::read(user.join("identity.pem")).unwrap()
    });
    cluster.wait_for_workers(1);
}

/// Nor do credentials of another cluster, such as one that was set up anew at the same address.
fn a_token_of_another_cluster() {
    let (former, cluster) = (secured(1), secured(0));
    let folder = cluster.dir().join("w/credentials");
    fs::create_dir_all(&folder).unwrap();
    fs::copy(former.worker_dir(0).join("credentials/identity.pem"), folder.join("identity.pem"))
        .unwrap();
    let token = cluster.token("worker");
    let mut command = windrow(["worker", "--coordinator", &cluster.url, "--token", &token]);
    command.arg("--dir").arg(cluster.dir().join("w"));
    let _worker = Process::start(command);
    cluster.wait_for_workers(1);
}

/// The coordinator is away for longer than certificates count. Its members come back by themselves,
/// as long as it allows.
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
    let alone = as_user(&cluster, &user, &["jobs"]).finish();
    assert!(matches!(alone.code(), Some(1 | 6)), "{alone:?}");
    // One that is started meanwhile waits, too: it has spent its token.
    let mut command = windrow(["worker", "--coordinator", &cluster.url, "--dir"]);
    command.arg(cluster.worker_dir(1));
    let _second = Process::start(command);
    cluster.restart_coordinator();
    cluster.wait_for_workers(2);
    as_user(&cluster, &user, &["jobs"]).finish().expect_code(0);
}

/// Until the certificate in a folder, which nobody renews, has run out.
fn wait_for_the_end(folder: &Path) {
    let ends = Credentials::load(folder).unwrap().certified().not_after;
    eventually("the end of a certificate", || SystemTime::now() > ends);
}

/// After that, a worker ends, so that its supervisor sees it.
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

/// A copied folder is not a second worker.
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

/// A worker that goes on for longer than its certificates last has renewed them.
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

fn expired_credentials_say_so() {
    let dir = Dir::new();
    let (_coordinator, url) = short_lived(&dir, "1s");
    let token = short_token(&dir, "submitter");
    let mut command = windrow(["login", "--coordinator", &url, "--token", &token]);
    command.arg("--credentials").arg(dir.join("user"));
    Process::start(command).finish().expect_code(0);
    let identity = fs::read(dir.join("user/identity.pem")).unwrap();
    eventually("the end of a second", || {
        // A command that comes early renews them.
        fs::write(dir.join("user/identity.pem"), &identity).unwrap();
        let mut command = windrow(["jobs", "--coordinator", &url]);
        command.arg("--credentials").arg(dir.join("user"));
        let output = Process::start(command).finish();
        output.code() == Some(1) && output.stderr.contains("the certificate expired at")
    });
}

/// A secured coordinator that gives certificates for so long, and its URL.
fn short_lived(dir: &Dir, life: &str) -> (Process, String) {
    let security = dir.join("security");
    Process::start(windrow(["init", text(&security)])).finish().expect_code(0);
    let flags = ["coordinator", "--listen", "127.0.0.1:0", "--certificate-lifetime", life];
    let mut command = windrow(flags);
    command.args(["--certificate-grace", "0s"]);
    command.arg("--security").arg(&security);
    let coordinator = Process::start(command);
    let url = url_of(&coordinator);
    (coordinator, url)
}

fn short_token(dir: &Dir, role: &str) -> String {
    let mut command = windrow(["token", "--role", role]);
    command.arg(dir.join("security"));
    Process::start(command).finish().expect_code(0).stdout.trim().to_string()
}

/// As a coordinator's log says it.
fn url_of(coordinator: &Process) -> String {
    wait_for("the coordinator's address", || {
        let log = coordinator.stderr();
        Some(log.split_once("ready at ")?.1.split_once('\n')?.0.to_string())
    })
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

fn jobs_stay_in_allowed_folders() {
    let dir = Dir::new();
    let inside = dir.write("data/in", "a\n");
    let outside = dir.write("secret/in", "b\n");
    std::os::unix::fs::symlink(&outside, dir.join("data/link")).unwrap();
    let mut command = windrow(["coordinator", "--listen", "127.0.0.1:0", "--allow-path"]);
    command.arg(dir.join("data"));
    let coordinator = Process::start(command);
    let url = url_of(&coordinator);
    let submit = |input: &Path, output: &Path| {
        let mut command = windrow(["submit", "word-count", "--detach", "--coordinator", &url]);
        command.arg("--input").arg(input).arg("--output").arg(output);
        Process::start(command).finish()
    };
    let output = dir.join("data/out");
    for input in [&outside, &dir.join("data/link"), &dir.join("data/*"), &dir.join("*/in")] {
        submit(input, &output).expect_code(1).expect_said("lies outside");
    }
    submit(&inside, &dir.join("out")).expect_code(1).expect_said("lies outside");
    submit(&inside, &output).expect_code(0);
}

/// Whatever a user names: what the coordinator logs and what commands print has no raw control byte
/// but the end of a line.
fn no_control_bytes_get_through() {
    const EVIL: &str =
        "evil\x1b[2J\x07\u{9b}31m\r\x08\nforged\u{202e}\u{2066}\u{200b}\u{2028}\u{85}ad\u{200d}min";
    let mut cluster = Cluster::start(0);
    let mut command = windrow(["worker", "--coordinator", &cluster.url, "--name", EVIL, "--dir"]);
    command.arg(cluster.worker_dir(0));
    cluster.workers.push(Process::start(command));
    cluster.wait_for_workers(1);
    let dir = Dir::new();
    let input = dir.write(EVIL, format!("{EVIL}\n").repeat(3));
    let missing = dir.join(format!("missing{EVIL}"));
    let output = dir.join(format!("out{EVIL}"));
    let count = ["word-count", "--input", text(&input), "--output"];
    let mut said = Vec::new();
    let mut run = |arguments: &[&str]| {
        let output = cluster.command(arguments.iter().copied()).finish();
        said.push(output.stdout);
        said.push(output.stderr);
    };
    run(&[&["submit"], &count[..], &[text(&output)]].concat());
    run(&[&["submit"], &count[..], &[text(&output)]].concat());
    run(&[&["submit"], &count[..], &[text(&output), "--json", "--overwrite"]].concat());
    run(&["submit", "word-count", "--input", text(&missing), "--output", text(&output)]);
    run(&[
        "submit",
        "grep",
        EVIL,
        "--input",
        text(&input),
        "--output",
        &format!("{}2", text(&output)),
    ]);
    run(&[
        "submit",
        "sum",
        "--by",
        EVIL,
        "--column",
        EVIL,
        "--input",
        text(&input),
        "--output",
        &format!("{}3", text(&output)),
    ]);
    run(&[
        "submit",
        "sum",
        "--by",
        "0",
        "--column",
        "0",
        "--input",
        text(&input),
        "--output",
        &format!("{}4", text(&output)),
    ]);
    run(&["jobs"]);
    run(&["jobs", "--json"]);
    run(&["workers"]);
    run(&["workers", "--json"]);
    run(&["status", "1"]);
    run(&["status", "2", "--json"]);
    run(&["jobs", "--coordinator", &format!("http://{EVIL}:1")]);
    run(&["jobs", "--coordinator", &format!("https://{EVIL}:1")]);
    said.push(cluster.coordinator.stderr());
    said.push(cluster.workers[0].stderr());
    assert!(said.iter().any(|text| text.contains("succeeded")), "{said:?}");
    said.iter().for_each(|text| refuse_raw(text));
}

/// Tabs are in the preview of a result, as they are in the result.
fn refuse_raw(text: &str) {
    let is_raw = |c: char| {
        let is_unseen = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}');
        (c.is_control() || is_unseen) && c != '\n' && c != '\t'
    };
    assert!(!text.contains(is_raw), "{text:?}");
    let forged = text.lines().find(|line| line.starts_with("forged"));
    assert_eq!(forged, None, "{text}");
}
