//! Join tokens: each makes one member, of its role and its cluster.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use libtest_mimic::Trial;

use super::{login, secured, text};
use crate::support::{Dir, Process, after, case, eventually, windrow};

pub fn tests() -> Vec<Trial> {
    vec![
        case("security::tokens_are_for_one_member_once", tokens_are_for_one_member_once),
        case("security::tokens_come_from_files", tokens_come_from_files),
        case("security::valid_credentials_are_kept", good_credentials_are_kept),
        case("security::a_token_of_a_wrong_role_is_not_kept", a_token_of_a_wrong_role),
        case("security::credentials_of_another_cluster_are_replaced", a_token_of_another_cluster),
    ]
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

/// A user who loses the key could not cancel the jobs submitted with it.
fn good_credentials_are_kept() {
    let cluster = secured(0);
    let token = cluster.token_with("submitter", &["--name", "ann"]);
    login(&cluster, &token, "ann").1.finish().expect_code(0);
    let folder = cluster.dir().join("ann");
    let file = folder.join("identity.pem");
    let before = fs::read(&file).unwrap();
    let token = cluster.token("submitter");
    let mut again = windrow(["token", "--role", "submitter", "--name", "ann"]);
    again.arg(cluster.dir().join("security"));
    Process::start(again).finish().expect_code(0).expect_said("has had a token before");
    let refused = login(&cluster, &token, "ann").1.finish().expect_code(2);
    refused.expect_said("has the credentials of submitter ann").expect_said("--replace");
    assert_eq!(fs::read(&file).unwrap(), before);
    let at = ["--coordinator", &cluster.url, "--credentials", text(&folder)];
    let replace = windrow([&["login", "--replace", "--token", &token], &at[..]].concat());
    Process::start(replace).finish().expect_code(0);
    assert_ne!(fs::read(&file).unwrap(), before);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let jobs = Process::start(windrow([&["jobs"], &at[..]].concat())).finish().expect_code(0);
    jobs.expect_said("chmod 600");
}

/// Other users of the machine could read tokens among a process's arguments.
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
        refused.expect_said("is not a regular file");
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
    // A supervisor restarts it with the same arguments, when the file may be gone.
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

/// A token for the wrong role is not spent, and leaves nothing with the worker or user.
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
    // Existing credentials of a wrong role, such as from an older release, do not prevent the use
    // of a token.
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

/// Nor do credentials of another cluster, such as one newly set up at the same address.
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
