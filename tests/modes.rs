//! Permissions of Windrow's own files: private whatever the umask.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use libtest_mimic::Trial;

use crate::support::{
    Dir, Process, after, case, count_words, eventually, generated_words, sorted_lines, wait_for,
    windrow,
};

pub fn tests() -> Vec<Trial> {
    vec![
        case("modes::files_of_an_open_cluster_are_private", || nothing_is_for_others(false)),
        case("modes::files_of_a_secured_cluster_are_private", || nothing_is_for_others(true)),
        case("modes::folders_open_to_others_are_named", folders_that_others_enter),
        case("modes::results_have_the_mode_of_the_umask", results_have_the_mode_of_the_umask),
    ]
}

/// Processes under the most permissive umask, and how to start them.
struct Careless<'a> {
    dir: &'a Dir,
    secured: bool,
}

impl Careless<'_> {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = windrow(arguments);
        command.env("XDG_CONFIG_HOME", self.dir.join("config"));
        after("umask 000", &command)
    }

    fn start(&self, arguments: &[&str]) -> Process {
        Process::start(self.command(arguments))
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).to_str().unwrap().to_string()
    }

    fn token(&self, role: &str) -> String {
        let token = self.start(&["token", &self.path("security"), "--role", role]);
        token.finish().expect_code(0).stdout.trim().to_string()
    }

    fn coordinator(&self) -> (Process, String) {
        let (security, state) = (self.path("security"), self.path("state"));
        let mut arguments = vec!["coordinator", "--listen", "127.0.0.1:0", "--state", &state];
        if self.secured {
            self.start(&["init", &security]).finish().expect_code(0);
            arguments.extend(["--security", &security]);
        }
        let coordinator = self.start(&arguments);
        let url = wait_for("the coordinator's address", || {
            fs::read_to_string(self.dir.join("state/address")).ok()
        });
        (coordinator, url.trim().to_string())
    }

    fn worker(&self, url: &str) -> Process {
        let folder = self.path("worker");
        let mut arguments = vec!["worker", "--coordinator", url, "--dir", &folder];
        let token = self.secured.then(|| self.token("worker"));
        arguments.extend(token.iter().flat_map(|token| ["--token", token]));
        self.start(&arguments)
    }

    /// Panics if others may write or read below a folder of Windrow's.
    fn check(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for name in ["state", "security", "worker", "config"] {
            walk(&self.dir.join(name), &mut found);
        }
        found
    }
}

/// Skips files that are gone meanwhile.
fn walk(path: &Path, found: &mut BTreeSet<String>) {
    let Some(mode) = mode(path) else { return };
    assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
    found.insert(path.display().to_string());
    if path.ends_with("state/journal") {
        return; // Its contents become private a moment after their creation; see below.
    }
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        walk(&entry.path(), found);
    }
}

fn mode(path: &Path) -> Option<u32> {
    Some(fs::symlink_metadata(path).ok()?.permissions().mode() & 0o7777)
}

/// Whether everything below a folder is private, and it is not empty.
fn is_private(folder: &Path) -> bool {
    let mut paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).peekable();
    paths.peek().is_some()
        && paths.all(|path| {
            mode(&path).is_none_or(|mode| mode & 0o077 == 0)
                && (!path.is_dir() || is_private(&path))
        })
}

fn nothing_is_for_others(secured: bool) {
    let dir = Dir::new();
    let careless = Careless { dir: &dir, secured };
    let inputs = generated_words(&dir, 4, 20_000);
    let (_coordinator, url) = careless.coordinator();
    let _worker = careless.worker(&url);
    if secured {
        let token = careless.token("submitter");
        careless
            .start(&["login", "--coordinator", &url, "--token", &token])
            .finish()
            .expect_code(0);
    }
    let (input, output) = (careless.path("in"), careless.path("out"));
    let side_file = format!("notes={}", dir.write("notes", "x").display());
    let flags = ["--input", &input, "--output", &output, "--file", &side_file];
    // So little memory that it spills.
    let more = ["--coordinator", &url, "--memory", "512KiB", "--split-size", "32KiB"];
    let mut job = careless.start(&[&["submit", "word-count"], &flags[..], &more[..]].concat());
    let mut seen = BTreeSet::new();
    eventually("the job's end", || {
        seen.extend(careless.check());
        !job.is_running()
    });
    job.finish().expect_code(0);
    assert_eq!(sorted_lines(&dir.join("out")), count_words(&inputs));
    seen.extend(careless.check());
    eventually("a private journal", || is_private(&dir.join("state/journal")));
    let mut expected = vec!["state/journal", "state/programs/", "worker/jobs/job-1"];
    if secured {
        expected.extend(["worker/credentials/", "config/windrow/", "security/tokens/"]);
    }
    for part in expected {
        assert!(seen.iter().any(|path| path.contains(part)), "{part} was not seen: {seen:?}");
    }
}

/// A folder that the user chose keeps its permissions, with a warning that others can enter it;
/// Windrow's own files in it are made private.
fn folders_that_others_enter() {
    let dir = Dir::new();
    let careless = Careless { dir: &dir, secured: false };
    for name in ["state", "state/journal", "worker", "worker/jobs"] {
        fs::create_dir(dir.join(name)).unwrap();
        fs::set_permissions(dir.join(name), Permissions::from_mode(0o755)).unwrap();
    }
    let mode = |name: &str| mode(&dir.join(name)).unwrap();
    let (coordinator, url) = careless.coordinator();
    let worker = careless.worker(&url);
    for (role, name) in [(&coordinator, "state"), (&worker, "worker")] {
        let said = format!("'chmod 700 {}' keeps them out", careless.path(name));
        eventually("the warning", || role.stderr().contains(&said));
        assert_eq!(mode(name), 0o755);
    }
    eventually("tight folders", || mode("state/journal") == 0o700 && mode("worker/jobs") == 0o700);
}

/// Results have the permissions that their users' umask gives.
fn results_have_the_mode_of_the_umask() {
    let dir = Dir::new();
    let careless = Careless { dir: &dir, secured: false };
    generated_words(&dir, 1, 100);
    let (_coordinator, url) = careless.coordinator();
    let _worker = careless.worker(&url);
    let (input, output) = (careless.path("in"), careless.path("out"));
    let flags = ["submit", "word-count", "--input", &input, "--output", &output];
    let more = ["--reducers", "1", "--coordinator", &url];
    careless.start(&[&flags[..], &more[..]].concat()).finish().expect_code(0);
    for name in ["out/part-00000", "out/_SUCCESS"] {
        assert_eq!(mode(&dir.join(name)), Some(0o666), "{name}");
    }
}
