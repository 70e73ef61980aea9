//! Levels of isolation: the promises of each, tested by a program that attacks; and what a worker
//! says about its own level.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::ops::RangeInclusive;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::Trial;
use rustix::process::Signal;
use windrow_jobs::Isolation;

use crate::conformance::{arguments, path};
use crate::support::{
    Cluster, ClusterOptions, Dir, Process, as_user, case, eventually, free_port, root_case,
    sorted_lines, wait_for,
};

pub fn tests() -> Vec<Trial> {
    vec![
        case("isolation::levels_hold_what_the_documents_say", levels_hold),
        case("isolation::a_worker_does_not_start_with_less", not_with_less),
        root_case("isolation::a_job_has_a_user_of_its_own", own_user),
        root_case("isolation::processes_left_by_a_killed_worker_end", left_by_killed),
        root_case("isolation::unavailable_users_of_jobs_are_refused", no_users),
        root_case("isolation::users_of_jobs_can_read_shipped_files", shipped_files),
        case("isolation::an_unreadable_neighbour_stays_hidden", unreadable_neighbour),
        case("isolation::a_declared_path_that_became_a_link_is_not_followed", exchanged_path),
    ]
}

/// The flags of a worker with this level, on a kernel that supports all levels.
fn flags(level: Isolation) -> &'static [&'static str] {
    match level {
        Isolation::None => &["--no-landlock", "--no-seccomp"],
        Isolation::Files => &["--no-seccomp"],
        Isolation::Process => &[],
        Isolation::User => &OWN_USERS,
    }
}

/// User numbers that no account has, and a group for them.
pub const OWN_USERS: [&str; 4] =
    ["--job-users", "4290000000-4290000099", "--job-group", "4290000100"];
const OWN_FIRST: u32 = 4_290_000_000;
const GROUP_OF_JOBS: u32 = 4_290_000_100;

/// Makes a folder that others may pass through.
pub fn open_to_others(folder: &Path) {
    fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
}

/// An output folder that the users of jobs may write to, set up as docs/security.md says.
pub fn shared_output(dir: &Dir) -> PathBuf {
    chown(dir.path(), None, Some(GROUP_OF_JOBS)).unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o3775)).unwrap();
    dir.join("out")
}

/// What the attacks need, and the attacks.
struct Attacks {
    _dir: Dir,
    _abstract: UnixListener,
    _local: UnixListener,
    _post: UnixDatagram,
    _service: TcpListener,
    /// The job's instruction for each attack, by its name in the documents' table.
    acts: BTreeMap<&'static str, String>,
}

impl Attacks {
    fn on(cluster: &Cluster) -> Self {
        let (dir, worker) = (Dir::new(), cluster.workers[0].id());
        let name = path(dir.path());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let service = TcpListener::bind("127.0.0.1:0").unwrap();
        let file = dir.write("others", "as it was");
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
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

    /// Runs the attacks in a job. Returns, by name, whether each succeeded.
    fn tried(&self, cluster: &Cluster, level: Isolation) -> BTreeMap<&'static str, bool> {
        let dir = Dir::new();
        if level == Isolation::User {
            shared_output(&dir);
        }
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

/// The table of docs/security.md: by attack, the cells of the levels.
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

/// The table has exactly these attacks, and each cell is what the attack finds.
fn levels_hold() {
    let said = table();
    for (n, level) in Isolation::ALL.into_iter().enumerate() {
        let options = ClusterOptions { secured: true, ..ClusterOptions::default() };
        if level == Isolation::User && !rustix::process::geteuid().is_root() {
            eprintln!("LEFT OUT: who is not root cannot give jobs users of their own");
            continue;
        }
        let mut cluster = Cluster::with_options(0, options);
        open_to_others(cluster.dir().path());
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
        let found = attacks.tried(&cluster, level);
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
    assert!(!cluster.worker_dir(1).join("jobs").exists(), "the worker has started nothing");
    let mut command = cluster.worker_command(3);
    command.args(["--require-isolation", "all"]);
    Process::start(command).finish().expect_code(2).expect_said("none, files, process, user");
    let offered = cluster.member(0)["isolation"].as_str().unwrap().to_string();
    let shown = cluster.command(["workers"]).finish().expect_code(0).stdout;
    assert!(shown.contains("ISOLATION") && shown.contains(&format!(" {offered} ")), "{shown}");
}

/// A secured cluster whose worker gives each job a user of its own.
fn cluster_of_users() -> Cluster {
    let options = ClusterOptions { secured: true, ..ClusterOptions::default() };
    let mut cluster = Cluster::with_options(0, options);
    open_to_others(cluster.dir().path());
    cluster.add_worker_at(&cluster.url.clone(), &OWN_USERS);
    cluster.wait_for_workers(1);
    cluster
}

/// The files of a job's user become the worker's, its leftover processes end with it, and the next
/// job has another user.
fn own_user() {
    let cluster = cluster_of_users();
    assert_eq!(cluster.member(0)["isolation"], "user");
    let users: Vec<_> = (0..2).map(|_| user_of_a_job(&cluster)).collect();
    assert_ne!(users[0], users[1]);
    let files = fs::read_dir(cluster.jobs_dir(0)).unwrap().count();
    assert_eq!(files, 0, "folders of jobs are removed, whoever owns them");
}

/// A script that leaves behind a process without any mark of the job, and prints its user.
fn leave_behind(mark: &Path) -> String {
    let sleeper = "setsid env -i sleep 1000 < /dev/null > /dev/null 2>&1 &";
    format!("run {sleeper} id -u > {}", mark.display())
}

/// A file that a job may write to.
fn mark_in(dir: &Dir) -> PathBuf {
    let mark = dir.write("mark", "");
    fs::set_permissions(&mark, Permissions::from_mode(0o666)).unwrap();
    mark
}

/// Runs a job that leaves a process behind. Returns that process's user.
fn user_of_a_job(cluster: &Cluster) -> u32 {
    let dir = Dir::new();
    let (out, mark) = (shared_output(&dir), mark_in(&dir));
    // Commands that seccomp forbids to jobs that share a user.
    let copy =
        "run cd $HOME; echo text > one; chmod 640 one; touch -d yesterday one; cp -a one two";
    dir.write("in/acts", format!("{copy}\n{}\n", leave_behind(&mark)));
    let flags = ["--allow-write", &path(&mark), "--max-attempts", "1"];
    cluster.submit(arguments("reach", &dir, &flags)).expect_code(0);
    assert_eq!(sorted_lines(&out), ["done\t2"]);
    let owner = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().metadata().unwrap().uid();
    let owners: Vec<_> = fs::read_dir(&out).unwrap().map(owner).collect();
    assert!(owners.iter().all(|owner| *owner == 0), "{owners:?}");
    let user = fs::read_to_string(&mark).unwrap().trim().parse().unwrap();
    eventually("the end of all that the user runs", || processes_of(user..=user).is_empty());
    user
}

/// Uploaded executables and side files belong to the worker, and its jobs may use them; also those
/// from before the worker gave jobs users of their own.
fn shipped_files() {
    let options = ClusterOptions { secured: true, is_generic: true, ..ClusterOptions::default() };
    let mut cluster = Cluster::with_options(0, options);
    open_to_others(cluster.dir().path());
    let words = cluster.dir().join("words");
    fs::write(&words, "rye\n").unwrap();
    let file = format!("stop-words={}", path(&words));
    let run = |cluster: &Cluster| {
        let dir = Dir::new();
        let out = shared_output(&dir);
        dir.write("in/a.txt", "rye oats rye\n");
        cluster.submit(arguments("stop-words", &dir, &["--file", &file])).expect_code(0);
        assert_eq!(sorted_lines(&out), ["oats\t1"]);
    };
    for flags in [&[][..], &OWN_USERS] {
        let mut command = cluster.worker_command(0);
        command.args(flags);
        cluster.workers = vec![Process::start(command)];
        cluster.wait_for_workers(1);
        run(&cluster);
        cluster.workers[0].signal(Signal::TERM);
        cluster.wait_for_workers(0);
    }
}

fn processes_of(users: RangeInclusive<u32>) -> Vec<PathBuf> {
    let entries = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.join("status").exists())
        .filter(|path| fs::metadata(path).is_ok_and(|found| users.contains(&found.uid())))
        .collect()
}

/// Only its user identifies such a hidden process, since its worker and its job are gone.
fn left_by_killed() {
    let mut cluster = cluster_of_users();
    let dir = Dir::new();
    shared_output(&dir);
    let mark = mark_in(&dir);
    dir.write("in/acts", format!("{}\nrun sleep 600\n", leave_behind(&mark)));
    let flags = ["--allow-write", &path(&mark)];
    let submit = cluster.start_submit(arguments("reach", &dir, &flags));
    let user = || fs::read_to_string(&mark).unwrap().trim().parse().ok();
    let user: u32 = wait_for("the job's user", user);
    let names = || {
        let processes = processes_of(user..=user).into_iter();
        processes.filter_map(|path| fs::read(path.join("cmdline")).ok()).collect::<Vec<_>>()
    };
    let hidden = b"sleep\x001000\x00".to_vec();
    // Until it runs the last of its programs, it can still be found by the job's marks.
    eventually("the process that hides", || names().contains(&hidden));
    cluster.workers[0].kill();
    eventually("the end of the others", || names() == [hidden.clone()]);
    let mut command = cluster.worker_command(0);
    command.args(OWN_USERS);
    cluster.workers[0] = Process::start(command);
    eventually("the end of what was left", || processes_of(user..=user).is_empty());
    cluster.command(["cancel", "1"]).finish().expect_code(0);
    assert_ne!(submit.finish().code(), Some(0));
    // The second attempt has left a process behind, too.
    let all = OWN_FIRST..=OWN_FIRST + 99;
    eventually("the end of the second attempt's", || processes_of(all.clone()).is_empty());
}

fn no_users() {
    let cluster = cluster_of_users();
    let refused = |code: i32, flags: &[&str], said: &str| {
        let mut command = cluster.worker_command(0);
        command.args(flags);
        Process::start(command).finish().expect_code(code).expect_said(said);
    };
    fn of<'a>(numbers: &'a str, group: &'a str) -> [&'a str; 4] {
        ["--job-users", numbers, "--job-group", group]
    }
    refused(2, &["--job-users", "4290000000-4290000099"], "--job-group");
    refused(2, &of("9-1", "4290000100"), "such as 2000000000-2000000999");
    refused(2, &of("4290000000-4290000099", "no-such-group"), "/etc/group knows no group");
    refused(1, &of("0-9", "4290000100"), "above 0");
    refused(1, &of("1-65000", "4290000100"), "are killed with the job");
    refused(1, &of("4290000000-4290000099", "0"), "not root's");
    refused(1, &[&OWN_USERS[..], &["--in-process"]].concat(), "--in-process");
    let open = Cluster::start(0);
    let mut command = open.worker_command(0);
    command.args(OWN_USERS);
    Process::start(command).finish().expect_code(1).expect_said("a secured cluster");
}

/// A user that is not root, so that permissions apply to it.
const ORDINARY: u32 = 42_010;

/// The command, run by the ordinary user.
fn as_ordinary(command: Command) -> Command {
    if rustix::process::geteuid().is_root() { as_user(ORDINARY, "", &command) } else { command }
}

/// Gives a folder and its contents to the ordinary user.
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

/// A job makes the folder of a neighbour, a worker of the same user, unreadable; another job makes
/// it readable again once its own rules are in place, and looks for the key. Jobs of this worker
/// may change permissions by path, so only the rules can keep them out.
fn unreadable_neighbour() {
    let mut cluster = Cluster::start(0);
    // The worker runs as another user than the coordinator and the submitter.
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

/// The first attempt replaces the declared folder by a link, and dies. The next attempt must not
/// follow the link, on whichever worker it runs.
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
    // On the same worker the folder opened earlier decides, on another worker the link.
    match output.code() {
        Some(0) => {
            let refused = format!("refused write {notes}/profile\t1");
            assert!(sorted_lines(&dir.join("out")).contains(&refused));
        }
        _ => drop(output.expect_said("replaced by a link meanwhile")),
    }
}
