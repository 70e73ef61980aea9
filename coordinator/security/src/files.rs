//! Files that hold keys: readable by their owner alone, and never half written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use crate::SecurityError;

const OWNER_ONLY: u32 = 0o600;
const FOLDER_OF_OWNER: u32 = 0o700;

/// Makes a folder and those above it, where missing.
///
/// # Errors
/// When the system says so.
pub fn make_private_folder(path: &Path) -> Result<(), SecurityError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(FOLDER_OF_OWNER)
        .create(path)
        .map_err(|error| failed(path, error))
}

/// Makes a folder that only its owner gets into, whatever the umask. One that is there keeps its
/// rights; those above it are made as usual.
///
/// # Errors
/// When the system says so.
pub fn make_folder_of_owner(path: &Path) -> io::Result<()> {
    if let Some(above) = path.parent() {
        fs::create_dir_all(above)?;
    }
    match fs::DirBuilder::new().mode(FOLDER_OF_OWNER).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made,
    }
}

/// Keeps those who tidy up temporary folders by age, as systemd-tmpfiles does, out of a folder as
/// long as the result lives: they pass over folders that are locked. Where it cannot be locked,
/// they do not.
pub fn keep_from_tidying(folder: &Path) -> Option<File> {
    let folder = File::open(folder).ok()?;
    folder.try_lock_shared().ok()?;
    Some(folder)
}

/// Puts a file in the place of what was there, on the disk when it returns.
///
/// # Errors
/// When the system says so.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), SecurityError> {
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let write = || {
        // Whoever left one there is gone; and what is there must not keep its own permissions.
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(OWNER_ONLY).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        sync_folder(path)
    };
    write().map_err(|error| failed(path, error))
}

/// Makes what happened to a file's name outlast a power failure.
///
/// # Errors
/// When the system says so.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Reads a small file.
///
/// # Errors
/// When the system says so.
pub fn read(path: &Path) -> Result<Vec<u8>, SecurityError> {
    fs::read(path).map_err(|error| failed(path, error))
}

fn failed(path: &Path, error: io::Error) -> SecurityError {
    SecurityError::Io { path: path.to_path_buf(), error }
}
