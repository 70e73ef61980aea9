//! Files and folders of their owner alone, whatever the umask; files that are never half written;
//! and files that are read and written without waiting for anybody.
//!
//! The umask is for what users are given: results. What Windrow makes for itself is nobody else's
//! business, so that its rights are said here, and not left to the umask.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use crate::SecurityError;

/// Most of a small file.
pub const SMALL_BYTES_MAX: u64 = 4 << 20;

/// A pipe is opened without a wait for its other end, and a terminal does not become this
/// process's. For regular files, neither means anything.
const WITHOUT_WAITING: OFlags = OFlags::NONBLOCK.union(OFlags::NOCTTY);

const OWNER_ONLY: u32 = 0o600;
const FOLDER_OF_OWNER: u32 = 0o700;

/// What others than the owner may do.
const OF_OTHERS: u32 = 0o077;
/// Who may only pass through a folder sees nothing in it that is not open to them by itself.
const GROUP_PASSES: u32 = 0o010;

/// Makes a folder and those above it, where missing, all of their owner alone. One that is there,
/// and its user's own, becomes so: it is of Windrow's making.
///
/// # Errors
/// When the system says so.
pub fn make_private_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(FOLDER_OF_OWNER).create(path)?;
    tighten(&File::open(path)?, FOLDER_OF_OWNER)
}

/// Makes a folder that only its owner gets into, whatever the umask; those above it are made as
/// usual. One that is there was chosen by its user, and keeps its rights: if others get into it,
/// that is said.
///
/// # Errors
/// When the system says so.
pub fn make_folder_of_owner(path: &Path) -> io::Result<()> {
    if let Some(above) = path.parent() {
        fs::create_dir_all(above)?;
    }
    match fs::DirBuilder::new().mode(FOLDER_OF_OWNER).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {
            warn_of_others(path);
            Ok(())
        }
        made => made,
    }
}

/// Says that others get into a folder which should be its owner's alone, if they do.
pub fn warn_of_others(folder: &Path) {
    let Ok(found) = fs::metadata(folder) else { return };
    let (mode, path) = (found.mode() & 0o7777, folder.display());
    if found.uid() != rustix::process::geteuid().as_raw() {
        let owner = found.uid();
        tracing::warn!(
            "{path} belongs to another user ({owner}), who can replace what is in it; give this one a folder of its own"
        );
    } else if mode & OF_OTHERS & !GROUP_PASSES != 0 {
        tracing::warn!(
            "other users of this machine get into {path} (its mode is {mode:04o}); 'chmod 700 {path}' keeps them out"
        );
    }
}

/// What to tell the owner of a file that others can read or change, if they can.
pub fn open_to_others(path: &Path) -> Option<String> {
    let mode = fs::metadata(path).map_or(0, |found| found.mode() & 0o7777);
    let path = path.display();
    (mode & OF_OTHERS != 0).then(|| {
        format!("other users can read or change {path} (its mode is {mode:04o}); 'chmod 600 {path}' keeps them out")
    })
}

/// A new file of its owner alone, in the place of what is there.
///
/// # Errors
/// When the system says so.
pub fn create_private(path: &Path) -> io::Result<File> {
    let file = open_regular(path, private().write(true).create(true).truncate(true))?;
    tighten(&file, OWNER_ONLY)?;
    Ok(file)
}

/// How to open a file that is its owner's alone if it is made by that, without waiting for anybody.
pub fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(OWNER_ONLY).custom_flags(WITHOUT_WAITING.bits().cast_signed());
    options
}

/// Opens a file in one of Windrow's own folders, which may be a link to one. Something else in its
/// place, such as a pipe or a device, is an error of the kind `InvalidData`: nobody waits for it.
///
/// # Errors
/// When the system says so, and when it is no regular file.
pub fn open_regular(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let opened = options.custom_flags(WITHOUT_WAITING.bits().cast_signed()).open(path);
    let found = match &opened {
        Ok(file) => file.metadata(),
        // A socket, and a pipe that nobody reads.
        Err(_) => fs::metadata(path),
    };
    if found.is_ok_and(|found| !found.is_file()) {
        let text = "it is no regular file, and one should be there; remove it";
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    opened
}

/// Reads a regular file of so many bytes at most.
///
/// # Errors
/// When the system says so; of the kind `InvalidData` when it is no regular file, and
/// `FileTooLarge` when it is larger.
pub fn read_regular(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = open_regular(path, OpenOptions::new().read(true))?;
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        let text = format!("it has more than {bytes_max} bytes, which is more than is read");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(bytes)
}

/// Takes from others what they may do with a file or folder that is there.
///
/// # Errors
/// When the system says so.
pub fn make_private(path: &Path) -> io::Result<()> {
    let flags = WITHOUT_WAITING.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let mode = if file.metadata()?.is_dir() { FOLDER_OF_OWNER } else { OWNER_ONLY };
    tighten(&file, mode)
}

/// What is another user's stays as it is, and so does what is neither a file nor a folder: a link
/// may lead to a device, which is there for all.
fn tighten(file: &File, mode: u32) -> io::Result<()> {
    let found = file.metadata()?;
    let is_own = found.uid() == rustix::process::geteuid().as_raw();
    if found.mode() & OF_OTHERS == 0 || !is_own || !(found.is_file() || found.is_dir()) {
        return Ok(());
    }
    file.set_permissions(fs::Permissions::from_mode(mode))
}

/// A new folder under the temporary ones, of its owner alone, that is removed with the result.
///
/// # Errors
/// When the system says so.
pub fn temporary_folder(prefix: &str, above: &Path) -> io::Result<tempfile::TempDir> {
    let rights = fs::Permissions::from_mode(FOLDER_OF_OWNER);
    tempfile::Builder::new().prefix(prefix).permissions(rights).tempdir_in(above)
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
        let mut file = private().write(true).create_new(true).open(&temporary)?;
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
    File::open(folder_of(path))?.sync_all()
}

/// The folder in which a file lies that may be given by its name alone.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Reads a small file, as [`read_regular`] does.
///
/// # Errors
/// When that says so.
pub fn read(path: &Path) -> Result<Vec<u8>, SecurityError> {
    read_regular(path, SMALL_BYTES_MAX).map_err(|error| failed(path, error))
}

fn failed(path: &Path, error: io::Error) -> SecurityError {
    SecurityError::Io { path: path.to_path_buf(), error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_alone_lies_in_the_folder_that_this_process_is_in() {
        assert_eq!(folder_of(Path::new("w1.token")), Path::new("."));
        assert_eq!(folder_of(Path::new("a/w1.token")), Path::new("a"));
        // Tests start in the folder of their crate.
        sync_folder(Path::new("Cargo.toml")).unwrap();
    }

    /// What would be waited for, for ever or as long as somebody likes.
    #[test]
    fn what_is_no_regular_file_is_neither_read_nor_written() {
        use std::os::unix::fs::symlink;
        use std::os::unix::net::UnixListener;

        use rustix::fs::{CWD, FileType, Mode, mknodat};

        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        mknodat(CWD, at("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        symlink(at("pipe"), at("link to a pipe")).unwrap();
        symlink("/dev/zero", at("link to a device")).unwrap();
        fs::create_dir(at("folder")).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        let device = || fs::metadata("/dev/zero").unwrap().mode();
        let before = device();
        for name in ["pipe", "link to a pipe", "link to a device", "folder", "socket"] {
            let path = at(name);
            let mut append = private();
            append.read(true).append(true).create(true);
            for error in [
                read_regular(&path, 10).err(),
                create_private(&path).err(),
                open_regular(&path, &mut append).err(),
            ] {
                let error = error.unwrap_or_else(|| panic!("{name}"));
                assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{name}: {error}");
            }
            let _ = make_private(&path);
        }
        assert_eq!(device(), before);
    }

    #[test]
    fn no_more_is_read_than_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "0123456789").unwrap();
        assert_eq!(read_regular(&path, 10).unwrap(), b"0123456789");
        assert_eq!(read_regular(&path, 9).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
