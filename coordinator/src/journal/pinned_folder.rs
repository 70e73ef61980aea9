//! The folder in which a journal on a file system lies.
//!
//! A file system makes a file anywhere, also in a folder that somebody has put in the place of the
//! one that was there. What is written there is no journal: it lacks its beginning. So a
//! coordinator remembers which folder it was started on.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use windrow_security::files::make_private;

/// A folder that must stay the one that it is.
#[derive(Clone, Debug)]
pub(crate) struct PinnedFolder {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl PinnedFolder {
    /// The folder that is there now.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_path_buf(), identity: identity_of(path)? })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps others from what was written under this name. Where that fails, the folder itself
    /// does.
    pub(super) fn make_private(&self, name: &str) {
        let file = self.path.join(name);
        for path in file.ancestors().take_while(|path| *path != self.path) {
            let _ = make_private(path);
        }
    }

    /// Whether it is still there. An error that says nothing about that is one of the store, which
    /// will say so itself.
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
    fn a_folder_that_was_replaced_is_another_one() {
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
