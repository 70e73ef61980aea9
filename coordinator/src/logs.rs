//! Logs of jobs' processes, as reported by their workers: for people only.
//!
//! Each process has a file, `FOLDER/<job>-<worker>-<process>`, with its latest report. All together
//! are bounded; the files written least recently are removed first. None is synced or journaled: no
//! decision depends on them.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use prost::Message;
use windrow_jobs::{JobId, WorkerId};
use windrow_proto::v1;
use windrow_security::files::{create_private, read_regular};

use crate::folder::Folder;

/// Most bytes of all jobs.
const BYTES_MAX: u64 = 256 << 20;
/// The least that a file counts, beside its bytes.
const FILE_BYTES_MIN: u64 = 4 << 10;
/// Suffix of incomplete files.
const PART: &str = ".part";

/// The folder of all logs. All operations block on the file system.
pub(crate) struct LogStore {
    folder: Folder,
    bytes_max: u64,
    /// Approximate bytes of all files; `None` before they were counted. Never locked while a file
    /// is written: many workers report at once, and a disk may hang.
    bytes: Mutex<Option<u64>>,
    /// Locked while files are removed.
    sweeping: Mutex<()>,
    /// The number of files begun, so that each incomplete file has a name of its own.
    begun: AtomicU64,
}

/// A file of the folder.
struct LogFile {
    path: PathBuf,
    job: u64,
    bytes: u64,
    written: SystemTime,
}

impl LogStore {
    /// Stores logs in `folder`.
    pub(crate) fn new(folder: Folder) -> Self {
        let (bytes, sweeping, begun) = Default::default();
        Self { folder, bytes_max: BYTES_MAX, bytes, sweeping, begun }
    }

    /// Replaces the log of a process.
    pub(crate) fn put(&self, worker: WorkerId, log: &v1::ProcessLog) -> io::Result<()> {
        let (job, process) = log.printed.as_ref().map_or((0, 0), |it| (it.job, it.process));
        let folder = self.folder.path()?;
        let path = folder.join(format!("{job}-{}-{process}", worker.0));
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        let part = path.with_extension(format!("{number}{PART}"));
        let encoded = log.encode_to_vec();
        self.count(&folder)?;
        let replaced = fs::metadata(&path).map_or(0, |metadata| taken(metadata.len()));
        let write = || create_private(&part)?.write_all(&encoded);
        let written = write().and_then(|()| fs::rename(&part, &path));
        written.inspect_err(|_| drop(fs::remove_file(&part)))?;
        let more = taken(encoded.len() as u64);
        let bytes = self.change(|bytes| bytes.saturating_sub(replaced).saturating_add(more));
        if bytes > self.bytes_max {
            self.sweep(&folder)?;
        }
        Ok(())
    }

    /// Counts the existing files, once.
    fn count(&self, folder: &Path) -> io::Result<()> {
        let mut counted = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.is_none() {
            self.folder.made()?;
            *counted = Some(files(folder)?.iter().map(|file| file.bytes).sum());
        }
        Ok(())
    }

    fn change(&self, change: impl FnOnce(u64) -> u64) -> u64 {
        let mut counted = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = change(counted.unwrap_or(0));
        *counted = Some(bytes);
        bytes
    }

    /// The files of a job's processes, by worker, and in the order in which the processes were
    /// started.
    pub(crate) fn of(&self, job: JobId) -> io::Result<Vec<PathBuf>> {
        let folder = self.folder.path()?;
        let found = match files(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            found => found?,
        };
        let of_job = found.into_iter().filter(|file| file.job == job.0);
        let mut named: Vec<_> =
            of_job.filter_map(|file| Some((place(&file.path)?, file.path))).collect();
        named.sort();
        Ok(named.into_iter().map(|(_, path)| path).collect())
    }

    /// Removes the oldest files until a quarter is free, unless another thread just has. Files that
    /// are written meanwhile may be counted twice, until the next sweep.
    fn sweep(&self, folder: &Path) -> io::Result<()> {
        let _sweeping = self.sweeping.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.change(|bytes| bytes);
        if before <= self.bytes_max {
            return Ok(());
        }
        let mut found = files(folder)?;
        found.sort_by_key(|file| file.written);
        let mut bytes: u64 = found.iter().map(|file| file.bytes).sum();
        for file in found {
            if bytes <= self.bytes_max / 4 * 3 {
                break;
            }
            gone(fs::remove_file(&file.path))?;
            bytes -= file.bytes;
        }
        self.change(|now| bytes + now.saturating_sub(before));
        Ok(())
    }
}

/// A missing file was renamed by its writer.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Reads a file of [`LogStore::of`]; `None` if it was removed meanwhile, or is damaged.
pub(crate) fn read(path: &Path) -> Option<v1::ProcessLog> {
    v1::ProcessLog::decode(&*read_regular(path, BYTES_MAX).ok()?).ok()
}

fn files(folder: &Path) -> io::Result<Vec<LogFile>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        // A foreign file.
        let Some(job) = job_of(&path) else { continue };
        let Ok(metadata) = entry.metadata() else { continue };
        let written = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        found.push(LogFile { path, job, bytes: taken(metadata.len()), written });
    }
    Ok(found)
}

/// The job of a file, or of an incomplete one of a killed coordinator.
fn job_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.split_once('-')?.0.parse().ok()
}

/// The numbers of worker and process of a complete file.
fn place(path: &Path) -> Option<(u64, u32)> {
    let (worker, process) = path.file_name()?.to_str()?.split_once('-')?.1.split_once('-')?;
    Some((worker.parse().ok()?, process.parse().ok()?))
}

fn taken(file_bytes: u64) -> u64 {
    file_bytes.max(FILE_BYTES_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A_FILE: u64 = FILE_BYTES_MIN;

    fn store(dir: &Path, files: u64) -> LogStore {
        let bytes_max = files * A_FILE;
        LogStore { bytes_max, ..LogStore::new(Folder::new(Some(dir), "logs")) }
    }

    fn log(job: u64, process: u32, text: &str) -> v1::ProcessLog {
        let tail = text.as_bytes().to_vec().into();
        let printed = v1::Printed { job, process, tail, ..Default::default() };
        v1::ProcessLog { worker: "w".into(), printed: Some(printed) }
    }

    fn texts(store: &LogStore, job: u64) -> Vec<String> {
        let logs = store.of(JobId(job)).unwrap().into_iter().map(|path| read(&path).unwrap());
        let text = |log: v1::ProcessLog| String::from_utf8(log.printed.unwrap().tail.to_vec());
        logs.map(|log| text(log).unwrap()).collect()
    }

    #[test]
    fn a_pipe_among_the_files_does_not_block() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};

        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path(), 100);
        store.put(WorkerId(1), &log(1, 1, "a")).unwrap();
        let pipes = ["1-1-2".to_string(), format!("1-1-3.1{PART}")];
        for pipe in pipes.map(|name| dir.path().join("logs").join(name)) {
            mknodat(CWD, pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
        }
        store.put(WorkerId(1), &log(1, 3, "b")).unwrap_err();
        store.put(WorkerId(1), &log(1, 2, "c")).unwrap();
        assert_eq!(texts(&store, 1), ["a", "c"]);
    }

    #[test]
    fn the_latest_log_of_each_process_survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let first = store(dir.path(), 100);
        assert_eq!(texts(&first, 1), [""; 0]);
        for (job, worker, process, text) in [
            (1, 2, 10, "c"),
            (1, 2, 9, "b"),
            (1, 1, 70, "a"),
            (1, 2, 10, "cc"),
            (11, 1, 1, "other"),
        ] {
            first.put(WorkerId(worker), &log(job, process, text)).unwrap();
        }
        for store in [first, store(dir.path(), 100)] {
            assert_eq!(texts(&store, 1), ["a", "b", "cc"]);
            assert_eq!(texts(&store, 11), ["other"]);
            assert_eq!(texts(&store, 111), [""; 0]);
        }
    }

    #[test]
    fn concurrent_logs_are_written_atomically() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path(), 40);
        std::thread::scope(|scope| {
            for worker in 0..8 {
                let store = &store;
                scope.spawn(move || {
                    for turn in 0..50 {
                        // All threads also write to the file of one process.
                        let text = format!("{worker}").repeat(1_000 * worker);
                        store.put(WorkerId(9), &log(1, 1, &text)).unwrap();
                        store.put(WorkerId(worker as u64), &log(2, turn, "x")).unwrap();
                    }
                });
            }
        });
        let last = &texts(&store, 1)[0];
        assert!(last.bytes().all(|byte| byte == last.as_bytes()[0]), "two logs in one file");
        let folder = store.folder.path().unwrap();
        let there: u64 = files(&folder).unwrap().iter().map(|file| file.bytes).sum();
        assert!(there <= store.bytes_max + 8 * 2 * A_FILE, "{there} of {}", store.bytes_max);
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        assert!(!names.into_iter().any(|name| name.to_string_lossy().ends_with(PART)));
    }

    #[test]
    fn a_sweep_does_not_block_writers() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path(), 40);
        store.put(WorkerId(1), &log(1, 1, "text")).unwrap();
        let _sweeping = store.sweeping.lock().unwrap();
        for process in 0..30 {
            store.put(WorkerId(2), &log(1, process, "text")).unwrap();
        }
        assert_eq!(texts(&store, 1).len(), 31);
    }

    #[test]
    fn the_oldest_files_are_removed_when_there_are_too_many() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path(), 8);
        for job in 1..=8 {
            store.put(WorkerId(1), &log(job, 1, "text")).unwrap();
            let age = std::time::Duration::from_secs(100 - job);
            let file = fs::File::open(&store.of(JobId(job)).unwrap()[0]).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
        }
        // A replaced log takes no more space.
        store.put(WorkerId(1), &log(8, 1, "longer text")).unwrap();
        let there = || (1..=9).filter(|job| !texts(&store, *job).is_empty()).collect::<Vec<_>>();
        assert_eq!(there(), [1, 2, 3, 4, 5, 6, 7, 8]);
        store.put(WorkerId(1), &log(9, 1, "text")).unwrap();
        assert_eq!(there(), [4, 5, 6, 7, 8, 9]);
    }
}
