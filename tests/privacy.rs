//! Embedded mode opens no socket, and leaves no file outside its output; servers listen on loopback
//! only.

use std::fs;
use std::path::Path;

use libtest_mimic::Trial;

use crate::conformance::{gated, gates, processes};
use crate::support::{
    Cluster, Dir, Process, case, eventually, generated_words, root_case, windrow,
};

pub fn tests() -> Vec<Trial> {
    vec![
        case("privacy::embedded_opens_no_socket", embedded_opens_no_socket),
        case("privacy::embedded_leaves_nothing", embedded_leaves_nothing),
        case("privacy::no_temporary_folder_stays", no_temporary_folder_stays),
        // Only root can see a role's descriptors.
        root_case("privacy::servers_listen_on_loopback", servers_listen_on_loopback),
    ]
}

fn embedded_opens_no_socket() {
    let dir = Dir::new();
    generated_words(&dir, 1, 1_000);
    let gates = gates(&dir);
    let mut command = windrow(["run"]);
    command.args(gated(&dir, &[]));
    let run = Process::start(command);
    eventually("a running map", || !processes(&gates, "map-").is_empty());
    assert_eq!(internet_sockets(run.id()), Vec::<String>::new());
    fs::write(gates.join("map-go"), "").unwrap();
    fs::write(gates.join("reduce-go"), "").unwrap();
    run.finish().expect_code(0);
}

/// The temporary folder, the home folder and the current folder are all inside `dir`. What a
/// command keeps on purpose, the digest of its executable, is kept where caches belong.
fn embedded_leaves_nothing() {
    let dir = Dir::new();
    dir.write("in/a", "x y\n");
    dir.write("home/keep", "");
    let mut command =
        windrow(["run", "word-count", "--input", "in", "--output", "out", "--reducers", "1"]);
    command.current_dir(dir.path()).env("TMPDIR", dir.join("home")).env("HOME", dir.join("home"));
    command.env("XDG_CACHE_HOME", dir.join("cache"));
    Process::start(command).finish().expect_code(0);
    let (kept, tree): (Vec<_>, Vec<_>) =
        dir.tree().into_iter().partition(|path| path.starts_with("cache"));
    let expected = ["home", "home/keep", "in", "in/a", "out", "out/_SUCCESS", "out/part-00000"];
    assert_eq!(tree, expected);
    // Nothing is kept of an executable that was built a moment ago.
    let digests = ["cache", "cache/windrow", "cache/windrow/digests"];
    assert!(kept.is_empty() || kept == digests, "{kept:?}");
}

/// However a run ends: refused, or killed.
fn no_temporary_folder_stays() {
    let dir = Dir::new();
    generated_words(&dir, 1, 1_000);
    let gates = gates(&dir);
    let temporary = Dir::new();
    let mut refused = windrow(["run", "word-count", "--input", "nosuch", "--output", "out"]);
    refused.current_dir(dir.path()).env("TMPDIR", temporary.path());
    Process::start(refused).finish().expect_code(1).expect_said("no input matches");
    let mut killed = windrow(["run"]);
    killed.args(gated(&dir, &[])).env("TMPDIR", temporary.path());
    let mut killed = Process::start(killed);
    eventually("a running map", || !processes(&gates, "map-").is_empty());
    killed.kill();
    assert_eq!(temporary.tree(), Vec::<String>::new());
}

fn servers_listen_on_loopback() {
    let cluster = Cluster::start(1);
    let ids = [cluster.coordinator.id(), cluster.workers[0].id()];
    let sockets: Vec<String> = ids.into_iter().flat_map(internet_sockets).collect();
    assert!(sockets.len() >= 2, "{sockets:?}");
    for local in sockets {
        // The kernel prints the address as hexadecimal in host order: 127.0.0.1.
        assert!(local.starts_with("0100007F:"), "{local} is not on loopback");
    }
}

/// Local addresses of the process's TCP sockets, and the names of any UDP ones.
fn internet_sockets(process: u32) -> Vec<String> {
    let inodes: Vec<String> = fs::read_dir(format!("/proc/{process}/fd"))
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .filter_map(|target| {
            let target = target.to_string_lossy().into_owned();
            Some(target.strip_prefix("socket:[")?.strip_suffix(']')?.to_string())
        })
        .collect();
    ["tcp", "tcp6", "udp", "udp6"]
        .iter()
        .flat_map(|table| {
            let table = Path::new("/proc").join(process.to_string()).join("net").join(table);
            let lines = fs::read_to_string(table).unwrap_or_default();
            lines.lines().skip(1).map(str::to_string).collect::<Vec<_>>()
        })
        .filter_map(|line| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            inodes.iter().any(|inode| inode == columns[9]).then(|| columns[1].to_string())
        })
        .collect()
}
