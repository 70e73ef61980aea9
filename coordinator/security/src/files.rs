//! Private files and folders whatever the umask, files that are written atomically, and opening
//! without blocking on pipes and devices.
//!
//! The umask applies to results, which are the users'. Windrow's own files have explicit modes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use crate::SecurityError;

/// The largest file that [`read`] takes.
pub const SMALL_BYTES_MAX: u64 = 4 << 20;

/// Opening a pipe does not wait for its other end, and a terminal does not become the process's
/// controlling one. Neither flag affects regular files.
const WITHOUT_WAITING: OFlags = OFlags::NONBLOCK.union(OFlags::NOCTTY);

const OWNER_ONLY: u32 = 0o600;
pub(crate) const FOLDER_OF_OWNER: u32 = 0o700;

/// The mode bits of everybody but the owner.
const OF_OTHERS: u32 = 0o077;
/// The group may pass through the folder: it still cannot list it.
const GROUP_PASSES: u32 = 0o010;

/// Makes a folder, and missing folders above it, for its owner alone. An existing folder of this
/// user becomes private, too, since it is Windrow's own.
///
/// # Errors
/// When it cannot be made.
pub fn make_private_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(FOLDER_OF_OWNER).create(path)?;
    tighten(&File::open(path)?, FOLDER_OF_OWNER)
}

/// Makes a private folder whatever the umask; missing folders above it get the usual mode. An
/// existing folder was chosen by its user: its mode stays, with a warning if others can enter it.
///
/// # Errors
/// When it cannot be made.
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

/// Warns if others can enter a folder that should be private.
pub fn warn_of_others(folder: &Path) {
    let Ok(found) = fs::metadata(folder) else { return };
    let (mode, path) = (found.mode() & 0o7777, folder.display());
    if found.uid() != rustix::process::geteuid().as_raw() {
        let owner = found.uid();
        tracing::warn!(
            "{path} belongs to another user ({owner}), who can replace its contents; use a folder of your own"
        );
    } else if mode & OF_OTHERS & !GROUP_PASSES != 0 {
        tracing::warn!(
            "other users of this machine can enter {path} (mode {mode:04o}); 'chmod 700 {path}' keeps them out"
        );
    }
}

/// The warning about a file that others can read or change, if they can.
pub fn open_to_others(path: &Path) -> Option<String> {
    let mode = fs::metadata(path).map_or(0, |found| found.mode() & 0o7777);
    let path = path.display();
    (mode & OF_OTHERS != 0).then(|| {
        format!("other users can read or change {path} (mode {mode:04o}); 'chmod 600 {path}' keeps them out")
    })
}

/// Creates a private file, or truncates the one that is there.
///
/// # Errors
/// When it cannot be opened, or is not a regular file.
pub fn create_private(path: &Path) -> io::Result<File> {
    let file = open_regular(path, private().write(true).create(true).truncate(true))?;
    tighten(&file, OWNER_ONLY)?;
    Ok(file)
}

/// Options to open a file without blocking; private, if that creates it.
pub fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(OWNER_ONLY).custom_flags(WITHOUT_WAITING.bits().cast_signed());
    options
}

/// Opens a regular file in one of Windrow's folders, or a link to one. Anything else in its place,
/// such as a pipe or a device, is an error of kind `InvalidData`, and is not waited for.
///
/// # Errors
/// When it cannot be opened, or is not a regular file.
pub fn open_regular(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let opened = options.custom_flags(WITHOUT_WAITING.bits().cast_signed()).open(path);
    let found = match &opened {
        Ok(file) => file.metadata(),
        // A socket, or a pipe without a reader.
        Err(_) => fs::metadata(path),
    };
    if found.is_ok_and(|found| !found.is_file()) {
        let text = "it is no regular file, as it should be; remove it";
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    opened
}

/// Reads a regular file of at most `bytes_max` bytes.
///
/// # Errors
/// When it cannot be read; of kind `InvalidData` when it is no regular file, and `FileTooLarge`
/// when it is larger.
pub fn read_regular(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = open_regular(path, OpenOptions::new().read(true))?;
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        let text = format!("it is larger than {bytes_max} bytes, the limit");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(bytes)
}

/// Removes all permissions of others from a file or folder.
///
/// # Errors
/// When they cannot be changed.
pub fn make_private(path: &Path) -> io::Result<()> {
    let flags = WITHOUT_WAITING.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let mode = if file.metadata()?.is_dir() { FOLDER_OF_OWNER } else { OWNER_ONLY };
    tighten(&file, mode)
}

/// Leaves alone what another user owns, and what is neither a file nor a folder: a link may lead to
/// a device, which everybody shares.
fn tighten(file: &File, mode: u32) -> io::Result<()> {
    let found = file.metadata()?;
    let is_own = found.uid() == rustix::process::geteuid().as_raw();
    if found.mode() & OF_OTHERS == 0 || !is_own || !(found.is_file() || found.is_dir()) {
        return Ok(());
    }
    file.set_permissions(fs::Permissions::from_mode(mode))
}

/// Keeps tools that remove old temporary files, such as systemd-tmpfiles, away from a folder while
/// the result lives: they skip locked folders. `None` if it cannot be locked.
pub fn keep_from_tidying(folder: &Path) -> Option<File> {
    let folder = File::open(folder).ok()?;
    folder.try_lock_shared().ok()?;
    Some(folder)
}

/// Replaces a file atomically and durably.
///
/// # Errors
/// When it cannot be written.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), SecurityError> {
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let write = || {
        // A leftover of an earlier process is removed, not reused: its mode may be wrong.
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

/// Makes the creation, renaming or removal of a file durable.
///
/// # Errors
/// When its folder cannot be synced.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

/// The folder that holds a path; `.` for a bare file name.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Reads a small file, as [`read_regular`] does.
///
/// # Errors
/// As [`read_regular`].
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
    fn a_bare_file_name_is_in_the_current_folder() {
        assert_eq!(folder_of(Path::new("w1.token")), Path::new("."));
        assert_eq!(folder_of(Path::new("a/w1.token")), Path::new("a"));
        // Tests run in their crate's folder.
        sync_folder(Path::new("Cargo.toml")).unwrap();
    }

    /// Pipes, sockets and devices would block, or never end.
    #[test]
    fn only_regular_files_are_read_and_written() {
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
    fn a_file_above_the_limit_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "0123456789").unwrap();
        assert_eq!(read_regular(&path, 10).unwrap(), b"0123456789");
        assert_eq!(read_regular(&path, 9).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
