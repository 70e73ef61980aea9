use std::io::ErrorKind::PermissionDenied;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

/// A worker's folder with two jobs, a side file and a secret, another one's, and things beside
/// them.
struct Bench {
    dir: TempDir,
    worker: PathBuf,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = fs::canonicalize(dir.path()).unwrap();
        let worker = at.join("worker");
        for folder in ["jobs/job-1", "jobs/job-2", "credentials", "programs"] {
            fs::create_dir_all(worker.join(folder)).unwrap();
        }
        for folder in ["in", "out", "notes", "other/jobs", "other/credentials"] {
            fs::create_dir_all(at.join(folder)).unwrap();
        }
        for file in [
            "worker/windrow-worker.lock",
            "worker/jobs/job-2/segment",
            "worker/credentials/key",
            "worker/programs/file",
            "in/a",
            "other/windrow-worker.lock",
            "other/credentials/key",
        ] {
            fs::write(at.join(file), "x").unwrap();
        }
        symlink(&worker, at.join("link")).unwrap();
        Self { dir, worker }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn rules(&self, writable: &[PathBuf]) -> Result<RulesetCreated, ConfineError> {
        let side_file = self.worker.join("programs/file");
        let needs = Needs {
            folder: &self.worker.join("jobs/job-1"),
            staging: &self.at("out"),
            writable,
            program: &File::open("/proc/self/exe").unwrap(),
            side_files: vec![&side_file],
        };
        rules(&self.worker, &needs)
    }

    /// Tries something on a thread that is bound by the rules.
    fn bound<T: Send>(&self, writable: &[&str], try_it: impl Fn(&Self) -> T + Send + Sync) -> T {
        let writable: Vec<_> = writable.iter().map(|name| self.at(name)).collect();
        self.bound_by(self.rules(&writable).unwrap(), try_it)
    }

    fn bound_by<T: Send>(
        &self,
        rules: RulesetCreated,
        try_it: impl Fn(&Self) -> T + Send + Sync,
    ) -> T {
        std::thread::scope(|scope| {
            let tried = scope.spawn(|| {
                rules.restrict_self().unwrap();
                try_it(self)
            });
            tried.join().unwrap()
        })
    }
}

#[test]
fn the_workers_folder_is_hidden_but_for_what_is_the_jobs() {
    if !is_enforced() {
        return;
    }
    Bench::new().bound(&[], |bench| {
        for refused in
            ["worker/jobs/job-2/segment", "worker/credentials/key", "link/credentials/key"]
        {
            let error = fs::read(bench.at(refused)).unwrap_err();
            assert_eq!(error.kind(), PermissionDenied, "{refused}");
        }
        for refused in
            ["worker", "worker/jobs/job-2", "worker/credentials", "worker/programs", "link"]
        {
            assert_eq!(fs::read_dir(bench.at(refused)).unwrap_err().kind(), PermissionDenied);
        }
        for read in ["worker/programs/file", "in/a"] {
            assert_eq!(fs::read(bench.at(read)).unwrap(), b"x", "{read}");
        }
        fs::read_dir(bench.at("in")).unwrap();
        fs::read_to_string("/proc/self/statm").unwrap();
        fs::write(bench.at("worker/jobs/job-1/segment"), "mine").unwrap();
        fs::rename(bench.at("worker/jobs/job-1/segment"), bench.at("worker/jobs/job-1/done"))
            .unwrap();
    });
}

#[test]
fn nothing_is_written_but_where_that_was_said() {
    if !is_enforced() {
        return;
    }
    Bench::new().bound(&["notes"], |bench| {
        for written in ["out/part", "notes/mine", "worker/jobs/job-1/scratch"] {
            fs::write(bench.at(written), "").unwrap();
        }
        fs::write("/dev/null", "x").unwrap();
        for refused in
            ["in/b", "in/a", "new", "worker/jobs/job-2/segment", "worker/new", "link/new"]
        {
            assert_eq!(fs::write(bench.at(refused), "").unwrap_err().kind(), PermissionDenied);
        }
        assert!(fs::remove_file(bench.at("in/a")).is_err());
        assert!(fs::remove_dir_all(bench.at("worker/jobs/job-2")).is_err());
        assert!(fs::rename(bench.at("in/a"), bench.at("notes/a")).is_err());
        assert!(fs::hard_link(bench.at("worker/credentials/key"), bench.at("notes/key")).is_err());
        assert_eq!(fs::read(bench.at("in/a")).unwrap(), b"x", "it was not cut off either");
    });
}

#[test]
fn of_another_workers_folder_only_what_its_jobs_have_is_read() {
    if !is_enforced() {
        return;
    }
    let bench = Bench::new();
    let rules = bench.rules(&[]).unwrap();
    // A job that begins there later than the process.
    fs::create_dir(bench.at("other/jobs/job-1")).unwrap();
    fs::write(bench.at("other/jobs/job-1/segment"), "x").unwrap();
    bench.bound_by(rules, |bench| {
        assert_eq!(fs::read(bench.at("other/jobs/job-1/segment")).unwrap(), b"x");
        for refused in ["other/credentials/key", "other/windrow-worker.lock"] {
            assert_eq!(fs::read(bench.at(refused)).unwrap_err().kind(), PermissionDenied);
        }
        assert_eq!(fs::read_dir(bench.at("other")).unwrap_err().kind(), PermissionDenied);
        let new = fs::write(bench.at("other/jobs/job-1/new"), "");
        assert_eq!(new.unwrap_err().kind(), PermissionDenied);
    });
}

#[test]
fn no_declaration_opens_the_workers_folder() {
    let bench = Bench::new();
    for refused in [
        "worker",
        "worker/credentials",
        "worker/jobs/job-2",
        "link",
        "",
        "missing",
        "other",
        "other/jobs",
    ] {
        let error = bench.rules(&[bench.at(refused)]).err().unwrap();
        assert!(matches!(error, ConfineError::Writable { .. }), "{refused}: {error}");
    }
    bench.rules(&[bench.at("notes"), bench.at("in/a")]).unwrap();
}

#[test]
fn the_surroundings_are_all_but_the_way() {
    let bench = Bench::new();
    let all = surroundings(&bench.worker).unwrap();
    assert!(all.contains(&bench.worker.with_file_name("in")));
    assert!(all.contains(&PathBuf::from("/proc")));
    assert!(!all.iter().any(|path| bench.worker.starts_with(path)));
}
