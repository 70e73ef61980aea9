//! A small disk, to be filled.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Dir;

/// A file system of [`SmallDisk::BYTES`], or another size. Unmounted when dropped, which must
/// happen before the folder around it is removed. Mounting needs root: see [`super::root_case`].
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    pub const BYTES: usize = 512 * 1024;

    /// Mounts one at `name` in `dir`.
    pub fn mount(dir: &Dir, name: &str) -> Self {
        Self::mount_of(Self::BYTES, dir, name)
    }

    /// The same, of `bytes`.
    pub fn mount_of(bytes: usize, dir: &Dir, name: &str) -> Self {
        let folder = dir.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let size = format!("size={bytes}");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&folder).status();
        assert!(mount.unwrap().success());
        Self(folder)
    }

    /// Writes a file into it that leaves no byte free, and returns its path.
    pub fn fill(&self) -> PathBuf {
        let path = self.0.join("ballast");
        let mut file = std::fs::File::create(&path).unwrap();
        while file.write(&[0; 4096]).is_ok_and(|written| written > 0) {}
        path
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process of the test may still have a file open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
