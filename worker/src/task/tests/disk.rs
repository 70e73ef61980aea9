//! Full disks: the attempt fails with the name of the file and removes its files, and other
//! attempts go on.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use windrow_jobs::FailureCause;

use crate::memory::Account;
use crate::shuffle::store::SegmentStore;
use crate::task::{map, reduce};
use crate::testing::{Words, attempt, whole_file};

/// A file system of this size, unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` if this user may not mount.
    fn mount(folder: PathBuf, bytes: u32) -> Option<Self> {
        std::fs::create_dir_all(&folder).unwrap();
        let size = format!("size={bytes}");
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&folder).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self(folder))
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut folders = vec![self.0.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { files.push(path) }
            }
        }
        files
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn input(folder: &Path, lines: usize) -> PathBuf {
    let path = folder.join(format!("input-{lines}"));
    let lines: String = (0..lines).map(|n| format!("word{n} more{}\n", n % 977)).collect();
    std::fs::write(&path, lines).unwrap();
    path
}

fn assert_full(cause: &FailureCause, on: &Path) {
    match cause {
        FailureCause::Io { path, disk_full: true, .. } => {
            assert!(Path::new(path).starts_with(on), "{path}");
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_map_that_fills_the_disk_by_spilling_frees_it_for_other_attempts() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(folder.path().join("disk"), 512 << 10) else { return };
    let store = Arc::new(SegmentStore::new(disk.0.clone(), 0));
    let mut attempt = attempt(Words::default(), &store, folder.path(), 3);
    attempt.memory = Account::new(1 << 16);
    attempt.pairs = attempt.memory.child(1 << 16);
    let cause = map(&attempt, 0, vec![whole_file(&input(folder.path(), 100_000))]).err().unwrap();
    assert_full(&cause, &disk.0);
    assert_eq!(disk.files(), Vec::<PathBuf>::new());
    assert_eq!(attempt.memory.used_bytes(), 0);
    let small = map(&attempt, 0, vec![whole_file(&input(folder.path(), 3_000))]).unwrap();
    assert!(small.finished.stats.output_records == 6_000 && disk.files().len() == 1);
}

#[test]
fn a_reduce_that_fills_the_disk_with_its_part_frees_it() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(folder.path().join("disk"), 512 << 10) else { return };
    let store = Arc::new(SegmentStore::new(folder.path().join("worker"), 0));
    let mapping = attempt(Words::default(), &store, folder.path(), 1);
    map(&mapping, 0, vec![whole_file(&input(folder.path(), 100_000))]).unwrap().left.keep();
    let reducing = attempt(Words::default(), &store, &disk.0, 1);
    let open = |_| store.sources(reducing.id.task.job, (0, 1), 0);
    assert_full(&reduce(&reducing, open).err().unwrap(), &disk.0);
    assert_eq!(disk.files(), Vec::<PathBuf>::new());
    let elsewhere = attempt(Words::default(), &store, folder.path(), 1);
    reduce(&elsewhere, |_| store.sources(elsewhere.id.task.job, (0, 1), 0)).unwrap();
}

#[test]
fn an_output_that_cannot_move_to_a_full_disk_stays_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(folder.path().join("disk"), 512 << 10) else { return };
    let store = Arc::new(SegmentStore::new(disk.0.clone(), 0));
    let mapping = attempt(Words::default(), &store, folder.path(), 1);
    map(&mapping, 0, vec![whole_file(&input(folder.path(), 100_000))]).unwrap().left.keep();
    assert_full(&store.evict_largest().unwrap_err(), &disk.0);
    assert_eq!(disk.files(), Vec::<PathBuf>::new());
    let reducing = attempt(Words::default(), &store, folder.path(), 1);
    reduce(&reducing, |_| store.sources(reducing.id.task.job, (0, 1), 0)).unwrap();
}
