//! A folder for files beside the journal: in the coordinator's state folder, or a temporary one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use windrow_security::TemporaryFolder;
use windrow_security::files::make_private_folder;

/// A folder of a coordinator.
pub(crate) enum Folder {
    /// At this path, whether or not it exists yet.
    At(PathBuf),
    /// Made when it is needed, and removed when this is dropped.
    Temporary(Mutex<Option<TemporaryFolder>>),
}

impl Folder {
    /// The folder `name` in `state`, or a temporary one.
    pub(crate) fn new(state: Option<&Path>, name: &str) -> Self {
        state.map_or_else(|| Self::Temporary(Mutex::default()), |state| Self::At(state.join(name)))
    }

    /// Whether a temporary one has been made.
    #[cfg(test)]
    pub(crate) fn is_made(&self) -> bool {
        match self {
            Self::At(path) => path.exists(),
            Self::Temporary(made) => made.lock().unwrap_or_else(PoisonError::into_inner).is_some(),
        }
    }

    /// The path, for writing. Makes the folder if need be, but never the state folder itself: a
    /// missing one was removed while its coordinator ran.
    pub(crate) fn made(&self) -> io::Result<PathBuf> {
        let path = self.path()?;
        let made = match path.parent().map(std::fs::symlink_metadata) {
            Some(Err(error)) => Err(error),
            _ => make_private_folder(&path),
        };
        made.map(|()| path.clone()).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot create {}: {error}", path.display()))
        })
    }

    /// The path. Makes the folder if it is a temporary one.
    pub(crate) fn path(&self) -> io::Result<PathBuf> {
        let made = match self {
            Self::At(path) => return Ok(path.clone()),
            Self::Temporary(made) => made,
        };
        let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = &*made {
            return Ok(folder.path().to_path_buf());
        }
        Ok(made
            .insert(TemporaryFolder::make_in(&std::env::temp_dir(), "windrow-coordinator-")?)
            .path()
            .to_path_buf())
    }
}
