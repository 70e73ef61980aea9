//! The folder that generated files go to: empty before, whole or as before afterwards.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::cli::error::CliError;

/// An output folder. What was written is removed when this is dropped, unless [`keep`](Self::keep)
/// was called.
pub(super) struct Folder {
    path: PathBuf,
    is_new: bool,
    created: Mutex<Vec<PathBuf>>,
}

impl Folder {
    /// Takes an empty folder, or makes one.
    pub(super) fn take(path: PathBuf) -> Result<Self, CliError> {
        let is_new = match fs::read_dir(&path).map(|mut entries| entries.next().is_none()) {
            Ok(true) => false,
            Ok(false) => {
                return Err(CliError::Other(format!(
                    "output {} exists and is not empty; remove it or choose another folder",
                    path.display()
                )));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(CliError::Io { path, error }),
        };
        fs::create_dir_all(&path).map_err(CliError::io(&path))?;
        Ok(Self { path, is_new, created: Mutex::default() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a file. It must not exist.
    pub(super) fn create(&self, name: &str) -> Result<(PathBuf, File), CliError> {
        let path = self.path.join(name);
        let file = File::create_new(&path).map_err(CliError::io(&path))?;
        self.created.lock().unwrap_or_else(PoisonError::into_inner).push(path.clone());
        Ok((path, file))
    }

    /// All went well.
    pub(super) fn keep(mut self) {
        self.created = Mutex::default();
        self.is_new = false;
    }
}

impl Drop for Folder {
    /// What can't be removed stays: there is already a failure to report.
    fn drop(&mut self) {
        for path in self.created.get_mut().unwrap_or_else(PoisonError::into_inner) {
            let _ = fs::remove_file(path);
        }
        if self.is_new {
            let _ = fs::remove_dir(&self.path);
        }
    }
}
