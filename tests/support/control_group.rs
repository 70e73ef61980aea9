//! A control group of version 2 for a test, with everything started in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{XattrFlags, setxattr};

use super::{after, eventually};

/// Its processes are killed when it is dropped.
pub struct ControlGroup(PathBuf);

impl ControlGroup {
    /// Needs root; `None`, with a message, if no group can be made.
    pub fn make() -> Option<Self> {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let made = mounted().map(|root| {
            let name = format!("windrow-test-{}-{number}.service", std::process::id());
            Self(root.join(name))
        });
        let made = made.filter(|group| fs::create_dir(&group.0).is_ok());
        if !made.as_ref().is_some_and(|group| group.0.join("cgroup.kill").exists()) {
            eprintln!("LEFT OUT: no control group of version 2 can be made here");
            return None;
        }
        made
    }

    /// The same, marked as systemd marks a group that it delegates.
    pub fn delegated() -> Option<Self> {
        let made = Self::make()?;
        setxattr(&made.0, "trusted.delegate", b"1", XattrFlags::CREATE).unwrap();
        Some(made)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The command, run in the group.
    pub fn around(&self, command: &Command) -> Command {
        self.around_at("", command)
    }

    /// The command, run in a group inside it.
    pub fn around_at(&self, below: &str, command: &Command) -> Command {
        let folder = self.0.join(below);
        after(&format!("echo $$ > {}/cgroup.procs || exit 1", folder.display()), command)
    }

    /// The names of the groups inside it.
    pub fn below(&self) -> Vec<String> {
        let mut names: Vec<String> = folders(&self.0)
            .iter()
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// The only group inside it that is a job's.
    pub fn of_job(&self) -> PathBuf {
        let names = self.below();
        let of_jobs: Vec<_> =
            names.iter().filter(|name| name.starts_with("windrow-job-")).collect();
        assert_eq!(of_jobs.len(), 1, "{names:?}");
        self.0.join(of_jobs[0])
    }

    /// Whether a controller can limit groups inside it; prints what is left out if not.
    pub fn has(&self, controller: &str) -> bool {
        let all = fs::read_to_string(self.0.join("cgroup.controllers")).unwrap();
        let has = all.split_whitespace().any(|it| it == controller);
        if !has {
            eprintln!(
                "LEFT OUT: the controller '{controller}' of control groups is not available here"
            );
        }
        has
    }
}

/// The ids of its processes.
pub fn processes_in(group: &Path) -> Vec<u32> {
    let ids = fs::read_to_string(group.join("cgroup.procs")).unwrap();
    ids.lines().map(|id| id.parse().unwrap()).collect()
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        eventually("an empty group", || {
            let _ = fs::write(self.0.join("cgroup.kill"), "1");
            remove(&self.0);
            !self.0.exists()
        });
    }
}

fn remove(group: &Path) {
    folders(group).iter().for_each(|below| remove(below));
    let _ = fs::remove_dir(group);
}

fn folders(group: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

/// The root of the mounted groups of version 2.
fn mounted() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (folder, kind) = (fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(folder))
    })
}
