use std::fs::{self, Permissions};
use std::io::ErrorKind::PermissionDenied;
use std::os::unix::fs::{PermissionsExt, symlink};

use tempfile::TempDir;

use super::*;
use crate::files::testing::without_privileges;

/// The folder for parts.
const STAGING: &str = "out/_temporary/attempts-1";

/// A worker's folder with two jobs, a side file and a secret; another worker's folder; and files
/// beside them.
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
        for folder in
            ["in", STAGING, "notes", "other/jobs", "other/credentials", "authority", "state"]
        {
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
            "authority/ca-key.pem",
            "state/home",
            "state/journal",
            "state/lock",
        ] {
            fs::write(at.join(file), "x").unwrap();
        }
        symlink(&worker, at.join("link")).unwrap();
        Self { dir, worker }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn writable(&self, declared: &[PathBuf]) -> Result<Writable, ConfineError> {
        Writable::open(&self.at(STAGING), declared, &self.hidden())
    }

    fn hidden(&self) -> Vec<PathBuf> {
        vec![self.worker.clone(), self.worker.with_file_name("secret")]
    }

    fn rules(&self, declared: &[PathBuf]) -> RulesetCreated {
        self.rules_with(&self.writable(declared).unwrap())
    }

    fn rules_with(&self, writable: &Writable) -> RulesetCreated {
        let side_file = self.worker.join("programs/file");
        let needs = Needs {
            folder: &self.worker.join("jobs/job-1"),
            writable,
            program: &File::open("/proc/self/exe").unwrap(),
            side_files: vec![&side_file],
        };
        rules(&self.hidden(), &needs).unwrap()
    }

    /// Runs `try_it` on a thread that is bound by the rules.
    fn bound<T: Send>(&self, writable: &[&str], try_it: impl Fn(&Self) -> T + Send + Sync) -> T {
        let writable: Vec<_> = writable.iter().map(|name| self.at(name)).collect();
        self.bound_by(self.rules(&writable), try_it)
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
fn the_workers_folder_is_hidden_except_for_the_jobs_files() {
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
fn only_declared_paths_are_written() {
    if !is_enforced() {
        return;
    }
    Bench::new().bound(&["notes"], |bench| {
        for written in [&*format!("{STAGING}/part"), "notes/mine", "worker/jobs/job-1/scratch"] {
            fs::write(bench.at(written), "").unwrap();
        }
        fs::write("/dev/null", "x").unwrap();
        for refused in [
            "in/b",
            "in/a",
            "new",
            "out/new",
            "worker/jobs/job-2/segment",
            "worker/new",
            "link/new",
        ] {
            assert_eq!(fs::write(bench.at(refused), "").unwrap_err().kind(), PermissionDenied);
        }
        assert!(fs::remove_file(bench.at("in/a")).is_err());
        assert!(fs::remove_dir_all(bench.at("worker/jobs/job-2")).is_err());
        assert!(fs::rename(bench.at("in/a"), bench.at("notes/a")).is_err());
        assert!(fs::hard_link(bench.at("worker/credentials/key"), bench.at("notes/key")).is_err());
        assert_eq!(fs::read(bench.at("in/a")).unwrap(), b"x", "it was not truncated either");
    });
}

#[test]
fn another_workers_folder_is_hidden_except_for_its_jobs() {
    if !is_enforced() {
        return;
    }
    let bench = Bench::new();
    let rules = bench.rules(&[]);
    // A job that begins there after the process was started.
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
fn declared_paths_cannot_open_the_workers_folder() {
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
        "link/../notes",
    ] {
        let error = bench.writable(&[bench.at(refused)]).err().unwrap();
        assert!(matches!(error, ConfineError::Writable { .. }), "{refused}: {error}");
    }
    for refused in ["/proc", "/proc/1/oom_score_adj", "/sys/fs/cgroup", "/dev", "/dev/full"] {
        let error = bench.writable(&[refused.into()]).err().unwrap();
        assert!(error.to_string().contains("belongs to the kernel"), "{refused}: {error}");
    }
    let shared = Path::new("/dev/shm");
    let shared = shared.is_dir().then(|| shared.to_path_buf());
    let declared: Vec<_> =
        [bench.at("notes"), bench.at("in/a")].into_iter().chain(shared).collect();
    bench.writable(&declared).unwrap();
}

#[test]
fn the_surroundings_are_everything_but_the_path_itself() {
    let bench = Bench::new();
    let hidden = bench.hidden();
    let all = surrounding(&hidden);
    assert!(all.contains(&bench.worker.with_file_name("in")));
    assert!(all.contains(&PathBuf::from("/proc")));
    for hidden in &hidden {
        assert!(!all.iter().any(|path| hidden.starts_with(path)), "{}", hidden.display());
    }
}

fn surrounding(hidden: &[PathBuf]) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let note = |path: &Path, _| {
        all.push(path.to_path_buf());
        Ok::<_, io::Error>(())
    };
    surroundings(hidden, note).unwrap();
    all
}

/// Anybody can create files in a shared folder, and so can a job where its submitter has declared
/// it.
#[test]
fn files_of_another_user_hide_nothing() {
    let bench = Bench::new();
    for name in ["in/ca-key.pem", "notes/windrow-worker.lock"] {
        fs::write(bench.at(name), "").unwrap();
    }
    let is_found = |name: &str| {
        let path = bench.worker.with_file_name(name);
        surrounding(&bench.hidden()).contains(&path)
    };
    assert!(!is_found("in"));
    if !rustix::process::geteuid().is_root() {
        return;
    }
    bench.writable(&[bench.at("notes")]).unwrap_err();
    for name in ["in/ca-key.pem", "notes/windrow-worker.lock"] {
        std::os::unix::fs::chown(bench.at(name), Some(42_010), None).unwrap();
    }
    assert!(is_found("in") && is_found("notes"));
    bench.writable(&[bench.at("notes")]).unwrap();
}

/// No descriptor is kept.
#[test]
fn any_number_of_neighbours_is_allowed() {
    let bench = Bench::new();
    for n in 0..3_000 {
        fs::write(bench.at(&format!("beside-{n}")), "").unwrap();
    }
    let open_files = || fs::read_dir("/proc/self/fd").unwrap().count();
    let (before, mut count) = (open_files(), 0);
    let note = |path: &Path, _| {
        count += u32::from(path.to_string_lossy().contains("/beside-"));
        // Other tests of this process have some open, too.
        assert!(count < 2_990 || open_files() < before + 1_000);
        Ok::<_, io::Error>(())
    };
    surroundings(&bench.hidden(), note).unwrap();
    assert_eq!(count, 3_000);
}

#[test]
fn state_of_other_roles_is_hidden() {
    if !is_enforced() {
        return;
    }
    let bench = Bench::new();
    fs::create_dir(bench.at("secret")).unwrap();
    fs::write(bench.at("secret/key"), "x").unwrap();
    bench.bound(&[], |bench| {
        for refused in ["authority/ca-key.pem", "state/journal", "secret/key"] {
            let error = fs::read(bench.at(refused)).unwrap_err();
            assert_eq!(error.kind(), PermissionDenied, "{refused}");
        }
    });
}

/// Root can examine every folder, so permissions deceive only other users.
#[test]
fn a_folder_that_cannot_be_examined_is_not_read() {
    if !is_enforced() {
        return;
    }
    let bench = Bench::new();
    for folder in ["other", "authority", "state", "in"] {
        fs::set_permissions(bench.at(folder), Permissions::from_mode(0o000)).unwrap();
    }
    let rules = without_privileges(|| bench.rules(&[]));
    for folder in ["other", "authority", "state", "in"] {
        fs::set_permissions(bench.at(folder), Permissions::from_mode(0o755)).unwrap();
    }
    bench.bound_by(rules, |bench| {
        for refused in
            ["other/credentials/key", "other/jobs", "authority/ca-key.pem", "state/home", "in/a"]
        {
            let error = File::open(bench.at(refused)).unwrap_err();
            assert_eq!(error.kind(), PermissionDenied, "{refused}");
        }
    });
}

/// As a job would do it: two of its processes exchange a declared folder, or a folder on the path
/// of its parts, for a link.
#[test]
fn a_link_in_place_of_a_declared_path_is_not_followed() {
    let bench = Bench::new();
    let home = bench.at("home");
    fs::create_dir(&home).unwrap();
    let opened = bench.writable(&[bench.at("notes")]).unwrap();
    let staging = bench.at(STAGING);
    for folder in [bench.at("notes"), staging.clone()] {
        fs::rename(&folder, folder.with_extension("moved")).unwrap();
        symlink(&home, &folder).unwrap();
    }
    let error = bench.writable(&[]).unwrap_err();
    assert!(matches!(&error, ConfineError::Output { path, .. } if *path == staging), "{error}");
    fs::remove_file(&staging).unwrap();
    fs::rename(staging.with_extension("moved"), &staging).unwrap();
    let error = bench.writable(&[bench.at("notes")]).unwrap_err();
    assert!(error.to_string().contains("replaced by a link meanwhile"), "{error}");
    if !is_enforced() {
        return;
    }
    bench.bound_by(bench.rules_with(&opened), |bench| {
        let error = fs::write(bench.at("notes/planted"), "").unwrap_err();
        assert_eq!(error.kind(), PermissionDenied);
        fs::write(bench.at("notes.moved/mine"), "").unwrap();
    });
    assert!(!home.join("planted").exists());
}

/// The submitter's own name of the output may contain links.
#[test]
fn the_output_itself_may_be_reached_through_a_link() {
    let bench = Bench::new();
    symlink(bench.at("out"), bench.at("results")).unwrap();
    let staging = bench.at(&STAGING.replace("out", "results"));
    Writable::open(&staging, &[], &bench.hidden()).unwrap();
}
