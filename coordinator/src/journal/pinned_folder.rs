//! The folder of a journal on a file system.
//!
//! A file system creates files also in a folder that has replaced the original one. Such files are
//! no journal: its beginning is missing. So a coordinator remembers the folder that it was started
//! on.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use windrow_security::files::make_private;

/// A folder that must not be replaced.
#[derive(Clone, Debug)]
pub(crate) struct PinnedFolder {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl PinnedFolder {
    /// The present folder at this path.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_path_buf(), identity: identity_of(path)? })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes others' access to this file. If that fails, the folder's own permissions protect it.
    pub(super) fn make_private(&self, name: &str) {
        let file = self.path.join(name);
        for path in file.ancestors().take_while(|path| *path != self.path) {
            let _ = make_private(path);
        }
    }

    /// Whether the folder is still the same. Other errors are left to the store, which will report
    /// them.
    pub(super) fn is_there(&self) -> bool {
        match identity_of(&self.path) {
            Ok(identity) => identity == self.identity,
            Err(error) => {
                !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
            }
        }
    }
}

fn identity_of(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_folder_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        fs::create_dir(&path).unwrap();
        let home = PinnedFolder::at(&path).unwrap();
        assert!(home.is_there());
        let aside = dir.path().join("aside");
        fs::rename(&path, &aside).unwrap();
        assert!(!home.is_there());
        fs::create_dir(&path).unwrap();
        assert!(!home.is_there());
        fs::remove_dir(&path).unwrap();
        fs::write(&path, "").unwrap();
        assert!(!home.is_there());
        fs::remove_file(&path).unwrap();
        fs::rename(&aside, &path).unwrap();
        assert!(home.is_there());
    }
}
