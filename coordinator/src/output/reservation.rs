//! Takes an output folder for one job, and gives it back.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{OutputError, TEMPORARY};

/// The file whose lock tells that a job runs.
const LOCK: &str = "lock";
/// Prefix of staging folders.
const STAGING_PREFIX: &str = "attempts-";
/// How long attempts that have been cancelled may go on writing while their folder is being removed.
const REMOVE_TRIES: u32 = 100;
const REMOVE_PAUSE: Duration = Duration::from_millis(20);

/// An output folder that one job has for itself, across all processes that see the same file system. The lock goes
/// with the process, so that a job that was killed never blocks its successor.
#[derive(Debug)]
pub(crate) struct Reservation {
    output: PathBuf,
    staging: PathBuf,
    /// Whether the output folder was made for this job, and so goes with it when it fails.
    created: bool,
    _lock: File,
}

/// Refuses an output that has something in it already. Writes nothing. What a killed job left behind does not count.
pub(crate) fn check(output: &Path) -> Result<(), OutputError> {
    let entries = match fs::read_dir(output) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(OutputError::NotAFolder { path: output.to_path_buf() });
        }
        Err(error) => return Err(not_writable(output)(error)),
    };
    for entry in entries {
        if entry.map_err(not_writable(output))?.file_name() != TEMPORARY {
            return Err(OutputError::NotEmpty { path: output.to_path_buf() });
        }
    }
    Ok(())
}

impl Reservation {
    /// Takes `output`, which [`check`] must allow, and creates its staging folder. What a killed job left there is
    /// removed. Blocks on the file system.
    pub(crate) fn take(output: &Path) -> Result<Self, OutputError> {
        check(output)?;
        let created = !output.exists();
        fs::create_dir_all(output).map_err(not_writable(output))?;
        Self::take_existing(output, created).inspect_err(|_| {
            if created {
                // Refuses if another job has come in between, as it should.
                let _ = fs::remove_dir(output);
            }
        })
    }

    fn take_existing(output: &Path, created: bool) -> Result<Self, OutputError> {
        let temporary = output.join(TEMPORARY);
        let lock = lock(output, &temporary)?;
        sweep(&temporary).map_err(not_writable(&temporary))?;
        let staging = temporary.join(unique_name());
        fs::create_dir(&staging).map_err(not_writable(&staging))?;
        Ok(Self { output: output.to_path_buf(), staging, created, _lock: lock })
    }

    /// The output folder.
    pub(crate) fn output(&self) -> &Path {
        &self.output
    }

    /// Where attempts write.
    pub(crate) fn staging(&self) -> &Path {
        &self.staging
    }

    /// Removes all of this job that is not result. Attempts that have been told to stop may still be writing, so it
    /// tries for a while. What others have in the temporary folder, a next job perhaps, stays.
    pub(crate) async fn remove_temporary(&self) -> io::Result<()> {
        let mut removed = remove_all(self.staging.clone()).await;
        for _ in 1..REMOVE_TRIES {
            if removed.is_ok() {
                break;
            }
            tokio::time::sleep(REMOVE_PAUSE).await;
            removed = remove_all(self.staging.clone()).await;
        }
        removed?;
        let temporary = self.output.join(TEMPORARY);
        let _ = fs::remove_file(temporary.join(LOCK));
        let _ = fs::remove_dir(temporary);
        Ok(())
    }

    /// Gives the folder back as it was: the job has no result.
    pub(crate) async fn discard(&self) -> io::Result<()> {
        self.remove_temporary().await?;
        if self.created {
            // Somebody may have put something there meanwhile: it stays.
            let _ = fs::remove_dir(&self.output);
        }
        Ok(())
    }
}

async fn remove_all(folder: PathBuf) -> io::Result<()> {
    let removed = tokio::task::spawn_blocking(move || fs::remove_dir_all(folder)).await;
    match removed.map_err(io::Error::other)? {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Locks `temporary`, creating it if need be.
fn lock(output: &Path, temporary: &Path) -> Result<File, OutputError> {
    let path = temporary.join(LOCK);
    loop {
        match fs::create_dir(temporary) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(not_writable(temporary)(error));
            }
            _ => {}
        }
        let file = match File::create(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            result => result.map_err(not_writable(&path))?,
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OutputError::InUse { path: output.to_path_buf() });
            }
            Err(TryLockError::Error(error)) => return Err(not_writable(&path)(error)),
        }
        // Its former owner may have removed the folder between our opening and our locking.
        if is_at(&file, &path) {
            return Ok(file);
        }
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// Removes the staging folders of jobs that were killed: the lock says that none of them lives.
fn sweep(temporary: &Path) -> io::Result<()> {
    for entry in fs::read_dir(temporary)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(STAGING_PREFIX) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// A name that was never used before, here or by another process.
fn unique_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{STAGING_PREFIX}{:x}-{:x}-{count:x}", now.as_nanos(), std::process::id())
}

fn not_writable(path: &Path) -> impl FnOnce(io::Error) -> OutputError {
    move |error| OutputError::NotWritable { path: path.to_path_buf(), error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_with_content_are_refused_untouched() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(matches!(Reservation::take(&file), Err(OutputError::NotAFolder { .. })));
        assert!(matches!(Reservation::take(dir.path()), Err(OutputError::NotEmpty { .. })));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let error = Reservation::take(Path::new("/proc/no/such/output")).unwrap_err().to_string();
        assert!(error.starts_with("cannot write to output /proc/no/such/output: "), "{error}");
    }

    #[tokio::test]
    async fn one_folder_serves_one_job_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let output = dir.path().join("a/b");
        let first = Reservation::take(&output).unwrap();
        assert!(matches!(Reservation::take(&output), Err(OutputError::InUse { .. })));
        assert!(first.staging().is_dir(), "the refusal must not harm the first job");
        first.discard().await.unwrap();
        assert!(!output.exists());
        Reservation::take(&output).unwrap();
    }

    #[tokio::test]
    async fn a_folder_that_was_there_before_stays() {
        let dir = tempfile::tempdir().unwrap();
        Reservation::take(dir.path()).unwrap().discard().await.unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_job_left_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let stale = Reservation::take(dir.path()).unwrap().staging().to_path_buf(); // and dropped, as by a kill
        fs::write(stale.join("part-00000.1"), "x").unwrap();
        let next = Reservation::take(dir.path()).unwrap();
        assert!(!stale.exists());
        assert_ne!(next.staging(), stale);
    }
}
