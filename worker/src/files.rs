//! Files that must not be left behind.

use std::io;
use std::path::{Path, PathBuf};

/// A file that is removed when this is dropped, unless it is kept.
#[derive(Debug)]
pub struct TemporaryFile {
    path: PathBuf,
    kept: bool,
}

impl TemporaryFile {
    /// Answers for the file at `path`, which need not exist yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path, kept: false }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it a new name, in place of whatever has it. It is still removed when this is dropped.
    pub fn rename(&mut self, to: PathBuf) -> io::Result<()> {
        std::fs::rename(&self.path, &to)?;
        self.path = to;
        Ok(())
    }

    /// Leaves the file where it is.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %self.path.display(), %error, "a file could not be removed");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_removed_under_its_last_name_unless_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::write(&a, "x").unwrap();
        let mut file = TemporaryFile::new(a.clone());
        file.rename(b.clone()).unwrap();
        assert!(!a.exists() && b.exists());
        drop(file);
        assert!(!b.exists());
        std::fs::write(&a, "x").unwrap();
        TemporaryFile::new(a.clone()).keep();
        assert!(a.exists());
    }
}
