//! A folder, held by a descriptor, and the operations in it.
//!
//! Anyone with write access to an output, such as a job's code, can put anything under any name
//! there at any moment: a link to a file of the coordinator's user, a pipe, a device, another
//! folder. So nothing beneath an output is reached by a path. Each name is one component, looked up
//! in an open folder; links are never followed, and an error names the link. Creation is exclusive.
//! Only regular files are opened for reading, without waiting for the other end of a pipe.
//!
//! The path of a folder is used in messages only.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, Stat, fchmod, fstat, fsync, mkdirat,
    openat, renameat, renameat_with, statat, unlinkat,
};
use rustix::io::Errno;

/// Access for the owner only.
pub(super) const PRIVATE: Mode = Mode::RWXU;
/// Access as the umask allows.
pub(super) const USUAL: Mode = Mode::RWXU.union(Mode::RWXG).union(Mode::RWXO);
/// Likewise, for files.
const USUAL_FILE: Mode = Mode::from_raw_mode(0o666);
/// To look up names only.
const WAY: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// To list and change the folder.
const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Opening does not wait for a pipe's writer, and makes no terminal the controlling one.
const FILE: OFlags =
    OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);
const NEW_FILE: OFlags = FILE.union(OFlags::RDWR).union(OFlags::CREATE).union(OFlags::EXCL);

const _: () = {
    assert!(FILE.contains(OFlags::NOFOLLOW), "a job's link would be read through");
    assert!(FILE.contains(OFlags::NONBLOCK), "a job's pipe would be waited for");
    assert!(FOLDER.contains(OFlags::NOFOLLOW), "a job's link would lead elsewhere");
    assert!(WAY.contains(OFlags::NOFOLLOW), "an output could become a link after it was checked");
    assert!(NEW_FILE.contains(OFlags::EXCL), "a job's file would be written to");
};

/// Something else lies where a file or folder should be. It stays until a person removes it.
#[derive(Debug, thiserror::Error)]
#[error("it is {0}")]
pub(super) struct Strange(pub(super) &'static str);

impl From<Strange> for io::Error {
    fn from(strange: Strange) -> Self {
        Self::new(io::ErrorKind::InvalidData, strange)
    }
}

/// An open folder.
#[derive(Debug)]
pub(super) struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

impl Folder {
    /// Opens a folder whose path has no link: links were resolved before the folder was checked.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Self::walk(path, |_, _| Ok(false)).map(|(folder, _)| folder)
    }

    /// Likewise, and makes missing folders. True if the last one was missing.
    pub(super) fn make(path: &Path) -> io::Result<(Self, bool)> {
        Self::walk(path, |above, name| match mkdirat(above, name, USUAL) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(error) => Err(error.into()),
        })
    }

    /// Opens a folder to look up names in it: it need not be readable.
    pub(super) fn reach(path: &Path) -> io::Result<Self> {
        let (fd, _) = Self::way(path, |_, _| Ok(false))?;
        Ok(Self { fd, path: path.to_path_buf() })
    }

    /// Removes an empty folder. The folders above need not be readable, like some users' homes.
    pub(super) fn remove_empty(path: &Path) -> io::Result<()> {
        let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Strange("no name of a folder").into());
        };
        let (above, _) = Self::way(above, |_, _| Ok(false))?;
        Ok(unlinkat(&above, name, AtFlags::REMOVEDIR)?)
    }

    fn walk(
        path: &Path,
        missing: impl Fn(&OwnedFd, &OsStr) -> io::Result<bool>,
    ) -> io::Result<(Self, bool)> {
        let (way, made) = Self::way(path, missing)?;
        let fd = openat(&way, ".", FOLDER, Mode::empty())?;
        Ok((Self { fd, path: path.to_path_buf() }, made))
    }

    fn way(
        path: &Path,
        missing: impl Fn(&OwnedFd, &OsStr) -> io::Result<bool>,
    ) -> io::Result<(OwnedFd, bool)> {
        let start = if path.is_absolute() { "/" } else { "." };
        let (mut fd, mut made) = (openat(CWD, start, WAY, Mode::empty())?, false);
        for component in path.components() {
            let name = match component {
                Component::Normal(name) => name,
                Component::RootDir | Component::CurDir => continue,
                Component::ParentDir | Component::Prefix(_) => {
                    return Err(Strange("named by '..'; name the path as it is").into());
                }
            };
            made = false;
            let mut next = openat(&fd, name, WAY, Mode::empty());
            if matches!(next, Err(Errno::NOENT)) {
                made = missing(&fd, name)?;
                next = openat(&fd, name, WAY, Mode::empty());
            }
            fd = next.map_err(|errno| explain(&fd, name, errno))?;
        }
        debug_assert!(
            !made || path.file_name().is_some(),
            "a folder without a name cannot have been made for a job"
        );
        Ok((fd, made))
    }

    /// The folder's path, for messages.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of an entry, for messages.
    pub(super) fn at(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.path.join(name.as_ref())
    }

    /// Opens a folder in it.
    pub(super) fn folder(&self, name: impl AsRef<OsStr>) -> io::Result<Self> {
        let name = one(name.as_ref())?;
        let opened = openat(&self.fd, name, FOLDER, Mode::empty());
        let fd = opened.map_err(|errno| explain(&self.fd, name, errno))?;
        Ok(Self { fd, path: self.at(name) })
    }

    /// Opens a folder to look up names in it: it need not be readable.
    pub(super) fn way_to(&self, name: impl AsRef<OsStr>) -> io::Result<Self> {
        let name = one(name.as_ref())?;
        let opened = openat(&self.fd, name, WAY, Mode::empty());
        let fd = opened.map_err(|errno| explain(&self.fd, name, errno))?;
        Ok(Self { fd, path: self.at(name) })
    }

    /// Whether this process may look up names in the folder.
    pub(super) fn lets_in(&self) -> io::Result<bool> {
        match openat(&self.fd, ".", WAY, Mode::empty()) {
            Ok(_) => Ok(true),
            Err(Errno::ACCESS) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a folder in it, if it exists.
    pub(super) fn folder_if_any(&self, name: impl AsRef<OsStr>) -> io::Result<Option<Self>> {
        if_any(self.folder(name))
    }

    /// Creates a folder in it.
    pub(super) fn new_folder(&self, name: impl AsRef<OsStr>, mode: Mode) -> io::Result<Self> {
        let name = one(name.as_ref())?;
        debug_assert_eq!(mode, mode & USUAL, "a new folder has no special bits");
        mkdirat(&self.fd, name, mode)?;
        self.folder(name)
    }

    /// Opens a folder in it, and creates it if it is missing.
    pub(super) fn made_folder(&self, name: impl AsRef<OsStr>, mode: Mode) -> io::Result<Self> {
        let name = one(name.as_ref())?;
        debug_assert_eq!(mode, mode & USUAL, "a new folder has no special bits");
        match mkdirat(&self.fd, name, mode) {
            Ok(()) | Err(Errno::EXIST) => self.folder(name),
            Err(error) => Err(error.into()),
        }
    }

    /// Creates a file in it, for reading and writing.
    pub(super) fn new_file(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        let name = one(name.as_ref())?;
        Ok(File::from(openat(&self.fd, name, NEW_FILE, USUAL_FILE)?))
    }

    /// Opens a regular file in it, for reading.
    pub(super) fn file(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        self.file_for(name.as_ref(), OFlags::RDONLY)
    }

    /// Opens a regular file in it, for reading and writing: some file systems lock only such files.
    pub(super) fn file_to_lock(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        self.file_for(name.as_ref(), OFlags::RDWR)
    }

    fn file_for(&self, name: &OsStr, access: OFlags) -> io::Result<File> {
        debug_assert!(
            !access.intersects(OFlags::CREATE | OFlags::TRUNC),
            "an existing file is never written over"
        );
        let name = one(name)?;
        let opened = openat(&self.fd, name, FILE | access, Mode::empty());
        let fd = opened.map_err(|errno| explain(&self.fd, name, errno))?;
        match FileType::from_raw_mode(fstat(&fd)?.st_mode) {
            FileType::RegularFile => Ok(File::from(fd)),
            other => Err(Strange(kind(other)).into()),
        }
    }

    /// The status of an entry, also of a link.
    pub(super) fn stat(&self, name: impl AsRef<OsStr>) -> io::Result<Stat> {
        Ok(statat(&self.fd, one(name.as_ref())?, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// The status of the folder itself.
    pub(super) fn own_stat(&self) -> io::Result<Stat> {
        Ok(fstat(&self.fd)?)
    }

    /// Whether the entry exists.
    pub(super) fn has(&self, name: impl AsRef<OsStr>) -> io::Result<bool> {
        Ok(if_any(self.stat(name))?.is_some())
    }

    /// Moves an entry to a name that does not exist.
    pub(super) fn rename_new(
        &self,
        name: impl AsRef<OsStr>,
        to: &Self,
        new_name: impl AsRef<OsStr>,
    ) -> io::Result<()> {
        let (name, new_name) = (one(name.as_ref())?, one(new_name.as_ref())?);
        debug_assert!(
            self.path != to.path || name != new_name,
            "an entry moved onto itself is in its own way"
        );
        match renameat_with(&self.fd, name, &to.fd, new_name, RenameFlags::NOREPLACE) {
            // Some network file systems lack the flag. There, the folder's lock keeps others out.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                if to.has(new_name)? {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                Ok(renameat(&self.fd, name, &to.fd, new_name)?)
            }
            result => Ok(result?),
        }
    }

    /// Renames an entry over an existing file, which is removed.
    pub(super) fn replace(
        &self,
        name: impl AsRef<OsStr>,
        old: impl AsRef<OsStr>,
    ) -> io::Result<()> {
        let (name, old) = (one(name.as_ref())?, one(old.as_ref())?);
        debug_assert_ne!(name, old, "nothing would be replaced");
        Ok(renameat(&self.fd, name, &self.fd, old)?)
    }

    /// Removes an entry that is not a folder. A missing entry is no error.
    pub(super) fn remove_file(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        self.unlink(one(name.as_ref())?, AtFlags::empty())
    }

    /// Removes an empty folder.
    pub(super) fn remove_folder(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        self.unlink(one(name.as_ref())?, AtFlags::REMOVEDIR)
    }

    pub(super) fn unlink(&self, name: &OsStr, flags: AtFlags) -> io::Result<()> {
        debug_assert!(one(name).is_ok(), "an entry outside of this folder would be removed");
        debug_assert!(
            flags.is_empty() || flags == AtFlags::REMOVEDIR,
            "the system knows one flag for that"
        );
        match unlinkat(&self.fd, name, flags) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The entries that are `wanted`, by name and kind, in no order: at most `count`, since a job
    /// may have made any number.
    pub(super) fn some_entries(
        &self,
        count: usize,
        wanted: impl Fn(&OsStr, FileType) -> bool,
    ) -> io::Result<Vec<(OsString, FileType)>> {
        use std::os::unix::ffi::OsStrExt;

        debug_assert!(count > 0, "a full folder would be taken for an empty one");
        let mut found = Vec::new();
        for entry in Dir::read_from(&self.fd)? {
            if found.len() == count {
                break;
            }
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let kind = match entry.file_type() {
                // Some file systems do not list the kind.
                FileType::Unknown => match if_any(self.stat(name))? {
                    Some(stat) => FileType::from_raw_mode(stat.st_mode),
                    None => continue,
                },
                known => known,
            };
            if wanted(name, kind) {
                found.push((name.to_os_string(), kind));
            }
        }
        debug_assert!(found.len() <= count, "a job decides how much memory its names take");
        Ok(found)
    }

    /// All wanted entries.
    pub(super) fn entries(
        &self,
        wanted: impl Fn(&OsStr, FileType) -> bool,
    ) -> io::Result<Vec<(OsString, FileType)>> {
        self.some_entries(usize::MAX, wanted)
    }

    /// Whether the folder is empty.
    pub(super) fn is_empty(&self) -> io::Result<bool> {
        Ok(self.some_entries(1, |_, _| true)?.is_empty())
    }

    /// Forces the folder's names to disk. Some file systems do not support that.
    pub(super) fn sync(&self) -> io::Result<()> {
        match fsync(&self.fd) {
            Err(Errno::INVAL) => Ok(()),
            result => Ok(result?),
        }
    }

    /// Adds these permissions.
    pub(super) fn allow(&self, bits: Mode) -> io::Result<()> {
        debug_assert!(!bits.intersects(Mode::RWXO), "folders are shared with a group only");
        let mode = Mode::from_raw_mode(fstat(&self.fd)?.st_mode);
        match mode.contains(bits) {
            true => Ok(()),
            false => Ok(fchmod(&self.fd, mode | bits)?),
        }
    }
}

/// `None` for a missing entry.
pub(super) fn if_any<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

/// Whether both are the same file or folder.
pub(super) fn is_same(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

/// Refuses a name that could lead out of its folder.
pub(super) fn one(name: &OsStr) -> io::Result<&OsStr> {
    let bytes = name.as_encoded_bytes();
    match bytes.is_empty() || bytes == b"." || bytes == b".." || bytes.contains(&b'/') {
        true => Err(Strange("no name of a file").into()),
        false => Ok(name),
    }
}

/// The system reports a link on the way with the same error as a loop of links, or a file.
fn explain(folder: &OwnedFd, name: &OsStr, errno: Errno) -> io::Error {
    if !matches!(errno, Errno::LOOP | Errno::NOTDIR | Errno::NXIO) {
        return errno.into();
    }
    let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
    match stat.map(|stat| FileType::from_raw_mode(stat.st_mode)) {
        Ok(FileType::Directory) | Err(_) => errno.into(),
        Ok(FileType::RegularFile) => io::ErrorKind::NotADirectory.into(),
        Ok(other) => Strange(kind(other)).into(),
    }
}

/// Describes an entry that should be a file or a folder.
pub(super) fn kind(kind: FileType) -> &'static str {
    match kind {
        FileType::Symlink => "a link, which is not followed here; remove it",
        FileType::Fifo => "a pipe, where a file should be; remove it",
        FileType::Socket => "a socket, where a file should be; remove it",
        FileType::Directory => "a folder, where a file should be; remove it",
        FileType::RegularFile => "a file, where a folder should be; remove it",
        _ => "a device, where a file should be; choose another folder",
    }
}

#[cfg(test)]
mod tests;
