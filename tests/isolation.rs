//! Levels of isolation: what each promises, tried by a program that attacks; and what a worker says
//! of its own.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::path::Path;
use std::process::Command;

use libtest_mimic::Trial;
use windrow_jobs::Isolation;

use crate::conformance::{arguments, path};
use crate::support::{
    Cluster, ClusterOptions, Dir, Process, as_user, case, free_port, sorted_lines,
};

pub fn tests() -> Vec<Trial> {
    vec![
        case("isolation::levels_hold_what_the_documents_say", levels_hold),
        case("isolation::a_worker_does_not_start_with_less", not_with_less),
        case("isolation::a_neighbour_that_was_made_unreadable", unreadable_neighbour),
        case("isolation::a_declared_path_is_exchanged_between_attempts", exchanged_path),
    ]
}

/// Flags of a worker that has this level, on a kernel that knows all.
fn flags(level: Isolation) -> &'static [&'static str] {
    match level {
        Isolation::None => &["--no-landlock", "--no-seccomp"],
        Isolation::Files => &["--no-seccomp"],
        Isolation::Process => &[],
    }
}

/// What an attack needs to be there, and what the job is to do.
struct Attacks {
    _dir: Dir,
    _abstract: UnixListener,
    _local: UnixListener,
    _post: UnixDatagram,
    _service: TcpListener,
    /// By the name that the table in the documents has for it.
    acts: BTreeMap<&'static str, String>,
}

impl Attacks {
    fn on(cluster: &Cluster) -> Self {
        let (dir, worker) = (Dir::new(), cluster.workers[0].id());
        let name = path(dir.path());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let service = TcpListener::bind("127.0.0.1:0").unwrap();
        let file = dir.write("others", "as it was");
        let key = cluster.worker_dir(0).join("credentials/identity.pem");
        assert!(key.is_file());
        let at = |act: &str, path: &Path| format!("{act} {}", path.display());
        let acts = [
            ("its worker's credentials", at("read", &key)),
            ("other files of the user, to read", at("read", &file)),
            ("other files of the user, to write", at("write", &file)),
            ("its worker's folder", at("list", &cluster.worker_dir(0))),
            ("permissions of files, by name", at("chmod", &dir.join("others"))),
            ("permissions of files that it may read", at("fchmod", &file)),
            ("permissions of files that it may not read", at("bare", &key)),
            ("to leave a program that runs as its worker's user", "disguise".to_string()),
            ("signals to its worker", format!("ask {worker}")),
            ("limits of its worker", format!("limit {worker}")),
            ("the priority of its worker", format!("slow {worker}")),
            ("shared memory of System V", "share".to_string()),
            ("local services, by a socket's file", at("local", &dir.join("socket"))),
            ("local services, by an abstract socket", format!("abstract {name}")),
            ("local services, by a datagram", at("post", &dir.join("post"))),
            ("services on the network", format!("connect {}", service.local_addr().unwrap())),
            ("to listen at a TCP port", format!("listen 127.0.0.1:{}", free_port())),
            ("to listen at a TCP port that the kernel chooses", "wait".to_string()),
            ("to receive at a UDP port", "receive 127.0.0.1:0".to_string()),
        ];
        Self {
            _abstract: UnixListener::bind_addr(&address).unwrap(),
            _post: UnixDatagram::bind(dir.join("post")).unwrap(),
            _local: UnixListener::bind(dir.join("socket")).unwrap(),
            _service: service,
            _dir: dir,
            acts: acts.into(),
        }
    }

    /// What a job finds, by the name of the attack: whether it was done.
    fn tried(&self, cluster: &Cluster) -> BTreeMap<&'static str, bool> {
        let dir = Dir::new();
        let lines: String = self.acts.values().map(|act| format!("try {act}\n")).collect();
        dir.write("in/acts", lines);
        cluster.submit(arguments("reach", &dir, &["--max-attempts", "1"])).expect_code(0);
        let found = sorted_lines(&dir.join("out"));
        let was = |outcome: &str, act: &str| found.contains(&format!("{outcome} {act}\t1"));
        let outcome = |act: &String| match (was("done", act), was("refused", act)) {
            (true, false) => true,
            (false, true) => false,
            _ => panic!("{act}: {found:?}"),
        };
        self.acts.iter().map(|(name, act)| (*name, outcome(act))).collect()
    }
}

/// The table of docs/security.md: by attack, what it says of each level.
fn table() -> BTreeMap<String, Vec<String>> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/security.md");
    let page = fs::read_to_string(page).unwrap();
    let levels: Vec<_> = Isolation::ALL.iter().map(|level| format!("`{level}`")).collect();
    let head = format!("| what a job reaches | {} |", levels.join(" | "));
    let mut lines = page.lines().skip_while(|line| *line != head);
    assert!(lines.next().is_some(), "{head}");
    let cells = |line: &str| {
        let cells = line.trim_matches('|').split('|').map(|cell| cell.trim().to_string());
        let mut cells: Vec<_> = cells.collect();
        let name = cells.remove(0);
        (name, cells)
    };
    lines.skip(1).take_while(|line| line.starts_with('|')).map(cells).collect()
}

/// Each attack is in the table, the table has no other, and each cell is what the attack finds.
fn levels_hold() {
    let said = table();
    for (n, level) in Isolation::ALL.into_iter().enumerate() {
        let options = ClusterOptions { secured: true, ..ClusterOptions::default() };
        let mut cluster = Cluster::with_options(0, options);
        cluster.add_worker_at(&cluster.url.clone(), flags(level));
        cluster.wait_for_workers(1);
        let offered = cluster.member(0)["isolation"].as_str().unwrap().to_string();
        let offered: Isolation = offered.parse().unwrap();
        assert!(offered <= level, "{offered}");
        if offered < level {
            eprintln!("LEFT OUT: this kernel has no more than '{offered}'");
            continue;
        }
        let attacks = Attacks::on(&cluster);
        let found = attacks.tried(&cluster);
        assert!(said.keys().map(String::as_str).eq(found.keys().copied()), "{said:?}: {found:?}");
        for (attack, done) in found {
            match &*said[attack][n] {
                "yes" => assert!(done, "{level}: {attack}"),
                "no" => assert!(!done, "{level}: {attack}"),
                depends => assert!(depends.starts_with("before "), "{level}: {attack}: {depends}"),
            }
        }
        assert!(cluster.workers[0].is_running());
    }
}

fn not_with_less() {
    let cluster = Cluster::start(1);
    let refusal = |n: usize, flags: &[&str]| {
        let mut command = cluster.worker_command(n);
        command.args(flags);
        Process::start(command).finish().expect_code(1)
    };
    let require = ["--require-isolation", "process"];
    refusal(1, &[&require[..], &["--no-seccomp"]].concat())
        .expect_said("asks for 'process'")
        .expect_said("--no-seccomp lets jobs");
    refusal(2, &["--require-isolation", "files", "--in-process"]).expect_said("--in-process runs");
    assert!(!cluster.worker_dir(1).join("jobs").exists(), "it has begun nothing");
    let mut command = cluster.worker_command(3);
    command.args(["--require-isolation", "all"]);
    Process::start(command).finish().expect_code(2).expect_said("none, files, process");
    let offered = cluster.member(0)["isolation"].as_str().unwrap().to_string();
    let shown = cluster.command(["workers"]).finish().expect_code(0).stdout;
    assert!(shown.contains("ISOLATION") && shown.contains(&format!(" {offered} ")), "{shown}");
}

/// Some user that is not root, whose permissions count for itself.
const ORDINARY: u32 = 42_010;

/// The command as an ordinary user runs it.
fn as_ordinary(command: Command) -> Command {
    if rustix::process::geteuid().is_root() { as_user(ORDINARY, "", &command) } else { command }
}

/// Gives a folder, with all that is in it, to the ordinary user.
fn give_away(folder: &Path) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    chown(folder, Some(ORDINARY), Some(ORDINARY)).unwrap();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { give_away(&path) } else { chown(&path, Some(ORDINARY), None).unwrap() }
    }
}

/// One job makes the folder of another worker of the same user unreadable, another one makes it
/// readable again once its own rules are made, and looks for the key. Jobs of this worker may
/// change permissions by name, so that it is the rules that keep them out.
fn unreadable_neighbour() {
    let mut cluster = Cluster::start(0);
    // The worker is another user than the coordinator, and its jobs' submitter.
    cluster.restart_coordinator_as(|mut command| {
        command.args(["--allow-user", &ORDINARY.to_string()]);
        command
    });
    fs::set_permissions(cluster.dir().path(), Permissions::from_mode(0o755)).unwrap();
    let dir = Dir::new();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let neighbour = cluster.worker_dir(1);
    for (folder, name) in [(cluster.worker_dir(0), ""), (neighbour.clone(), "credentials")] {
        fs::create_dir_all(folder.join(name)).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
    }
    let key = neighbour.join("credentials/identity.pem");
    fs::write(&key, "PRIVATE KEY").unwrap();
    fs::write(neighbour.join("windrow-worker.lock"), "").unwrap();
    for folder in [&cluster.worker_dir(0), &neighbour] {
        give_away(folder);
    }
    let mut command = cluster.worker_command(0);
    command.args(["--job-chmod", "--allow-user", "0"]);
    cluster.workers.push(Process::start(as_ordinary(command)));
    cluster.wait_for_workers(1);
    let run = |acts: &[String], name: &str| {
        dir.write(format!("{name}/in/acts"), acts.join("\n") + "\n");
        let out = dir.join(format!("{name}/out"));
        fs::create_dir(&out).unwrap();
        give_away(&out);
        fs::set_permissions(&out, Permissions::from_mode(0o2777)).unwrap();
        let input = path(&dir.join(format!("{name}/in")));
        let flags = ["reach", "--input", &input, "--output", &path(&out), "--max-attempts", "1"];
        cluster.submit(flags).expect_code(0);
        sorted_lines(&out)
    };
    let (neighbour, key) = (neighbour.display(), key.display());
    let found = run(&[format!("try lock {neighbour}")], "first");
    assert_eq!(found, [format!("done lock {neighbour}\t1")]);
    let acts = ["chmod", "list"].map(|act| format!("try {act} {neighbour}"));
    let found = run(&[&acts[..], &[format!("try read {key}")]].concat(), "second");
    assert_eq!(
        found,
        [
            format!("done chmod {neighbour}\t1"),
            format!("refused list {neighbour}\t1"),
            format!("refused read {key}\t1")
        ]
    );
}

/// The first attempt puts a link in the place of what was declared, and dies. The next one must not
/// be led elsewhere by it, by whichever worker it is run.
fn exchanged_path() {
    let cluster = Cluster::start(2);
    let (dir, home) = (Dir::new(), Dir::new());
    let data = dir.join("data");
    fs::create_dir_all(data.join("notes")).unwrap();
    let (notes, home) = (path(&data.join("notes")), path(home.path()));
    let acts = [format!("exchange {notes} {home}"), format!("try write {notes}/profile")];
    dir.write("in/acts", acts.join("\n") + "\n");
    let declared = ["--allow-write", &path(&data), "--allow-write", &notes];
    let output = cluster.submit(arguments("reach", &dir, &declared));
    assert!(data.join("notes.moved").is_dir(), "the first attempt has not begun: {output:?}");
    assert!(!Path::new(&home).join("profile").exists());
    // On the same worker it is refused by what was opened before, on another one by the link.
    match output.code() {
        Some(0) => {
            let refused = format!("refused write {notes}/profile\t1");
            assert!(sorted_lines(&dir.join("out")).contains(&refused));
        }
        _ => drop(output.expect_said("a link in it by now")),
    }
}
