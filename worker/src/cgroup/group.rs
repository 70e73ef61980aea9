//! A control group of version 2, by its folder, and the kernel's files in it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Pause between checks whether a group is empty: the first and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group(PathBuf);

impl Group {
    pub(super) fn at(folder: PathBuf) -> Self {
        Self(folder)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.0
    }

    /// The subgroup of this name.
    pub(super) fn below(&self, name: &str) -> Self {
        Self(self.0.join(name))
    }

    /// Creates it.
    pub(super) fn make(&self) -> io::Result<()> {
        fs::create_dir(&self.0)
    }

    pub(super) fn has(&self, file: &str) -> bool {
        self.0.join(file).exists()
    }

    pub(super) fn read(&self, file: &str) -> io::Result<String> {
        fs::read_to_string(self.0.join(file))
    }

    /// Writes to an existing file.
    pub(super) fn write(&self, file: &str, text: &str) -> io::Result<()> {
        self.open(file)?.write_all(text.as_bytes())
    }

    pub(super) fn open(&self, file: &str) -> io::Result<File> {
        OpenOptions::new().write(true).open(self.0.join(file))
    }

    /// Its own processes, without those of its subgroups. A process of another namespace, which
    /// this process cannot see, is 0.
    pub(super) fn processes(&self) -> io::Result<Vec<u32>> {
        let invalid = |_| io::Error::new(io::ErrorKind::InvalidData, "cgroup.procs: not a number");
        let text = self.read("cgroup.procs")?;
        text.lines().map(|line| line.parse().map_err(invalid)).collect()
    }

    /// Kills all processes in it and in its subgroups at once, including those that are just being
    /// started.
    pub(super) fn kill(&self) -> io::Result<()> {
        self.write("cgroup.kill", "1")
    }

    /// Kills its processes until none is left. False if that takes longer than `within`, or the
    /// kernel refuses.
    pub(super) fn end(&self, within: Duration) -> bool {
        let begun = Instant::now();
        let (mut pause, longest) = PAUSES;
        while self.kill().is_ok() {
            let events = self.read("cgroup.events").unwrap_or_default();
            if number(&events, "populated") == Some(0) {
                return true;
            }
            if begun.elapsed() >= within {
                return false;
            }
            std::thread::park_timeout(pause);
            pause = longest.min(pause * 2);
        }
        false
    }

    /// Removes it with its subgroups. Fails while it has processes.
    pub(super) fn remove(&self) -> io::Result<()> {
        for group in self.children()? {
            group.remove()?;
        }
        fs::remove_dir(&self.0)
    }

    /// Its subgroups.
    pub(super) fn children(&self) -> io::Result<Vec<Self>> {
        let mut groups = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                groups.push(Self(entry.path()));
            }
        }
        Ok(groups)
    }

    pub(super) fn name(&self) -> &str {
        self.0.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }
}

/// The number after `name` in lines of names and numbers.
pub(super) fn number(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(found, _)| *found == name)?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_by_its_whole_name_only() {
        let events = "low 0\noom 2\noom_kill 3\noom_group_kill 1\n";
        assert_eq!(number(events, "oom"), Some(2));
        assert_eq!(number(events, "oom_kill"), Some(3));
        assert_eq!(number(events, "kill"), None);
        assert_eq!(number("nonsense\noom x\n", "oom"), None);
    }

    #[test]
    fn process_lists_are_parsed_as_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let group = Group::at(folder.path().to_path_buf());
        assert!(group.processes().is_err(), "it is no group");
        for (text, found) in [("", &[][..]), ("7\n0\n", &[7, 0])] {
            fs::write(folder.path().join("cgroup.procs"), text).unwrap();
            assert_eq!(group.processes().unwrap(), found);
        }
        fs::write(folder.path().join("cgroup.procs"), "7\nx\n").unwrap();
        assert!(group.processes().is_err());
    }

    #[test]
    fn a_group_is_removed_with_its_subgroups() {
        let folder = tempfile::tempdir().unwrap();
        let group = Group::at(folder.path().join("job"));
        fs::create_dir_all(group.folder().join("a/b")).unwrap();
        fs::create_dir(group.folder().join("c")).unwrap();
        group.remove().unwrap();
        assert!(!group.folder().exists());
    }

    /// A file that does not exist is not created, and nothing waits where nothing can be killed.
    #[test]
    fn an_ordinary_folder_cannot_end_processes() {
        let folder = tempfile::tempdir().unwrap();
        let group = Group::at(folder.path().to_path_buf());
        assert!(!group.end(Duration::from_secs(1_000)));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
