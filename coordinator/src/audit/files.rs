//! The files of a log: the current one, and older ones, of which the oldest is removed. Whatever is
//! interrupted, each complete line stands alone.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use windrow_security::files::{open_regular, private};

/// Size at which a new file is begun.
const FILE_BYTES_MAX: u64 = 4 << 20;
const FILES_MAX: u32 = 16;

/// `NAME.log` is the current file; older ones are `NAME.1.log` and so on.
pub(super) struct Files {
    folder: PathBuf,
    name: &'static str,
}

impl Files {
    pub(super) fn new(folder: &Path, name: &'static str) -> Self {
        Self { folder: folder.to_path_buf(), name }
    }

    /// The current file.
    pub(super) fn path(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.name))
    }

    /// Appends a line; `line` has no line feed.
    pub(super) fn append(&self, line: &str) -> io::Result<()> {
        // Opened each time: a log collector may have moved it.
        let path = self.path();
        if fs::metadata(&path).is_ok_and(|file| file.len() + line.len() as u64 > FILE_BYTES_MAX) {
            self.rotate()?;
        }
        let mut file = open_regular(&path, private().read(true).append(true).create(true))?;
        let end = if is_torn(&file)? { "\n" } else { "" };
        file.write_all(format!("{end}{line}\n").as_bytes())
    }

    fn rotate(&self) -> io::Result<()> {
        let older = |number| self.folder.join(format!("{}.{number}.log", self.name));
        for number in (1..FILES_MAX).rev() {
            let from = if number == 1 { self.path() } else { older(number - 1) };
            match fs::rename(from, older(number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Whether the last line is incomplete: the disk was full, or the machine went down. The next line
/// must not be appended to it.
fn is_torn(file: &File) -> io::Result<bool> {
    let Some(last) = file.metadata()?.len().checked_sub(1) else { return Ok(false) };
    let mut byte = [0];
    file.read_exact_at(&mut byte, last)?;
    Ok(byte != *b"\n")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn old_files_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(folder.path(), "audit");
        let full = vec![b'\n'; FILE_BYTES_MAX as usize];
        for _ in 0..FILES_MAX + 3 {
            files.append("{}").unwrap();
            fs::write(files.path(), &full).unwrap();
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count() as u32, FILES_MAX);
        fs::remove_file(files.path()).unwrap();
        files.append("{}").unwrap();
        let mode = fs::metadata(files.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_pipe_in_its_place_does_not_block() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};

        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(folder.path(), "audit");
        mknodat(CWD, files.path(), FileType::Fifo, Mode::RWXU, 0).unwrap();
        assert_eq!(files.append("{}").unwrap_err().kind(), io::ErrorKind::InvalidData);
        fs::remove_file(files.path()).unwrap();
        files.append("{}").unwrap();
    }

    #[test]
    fn a_torn_line_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(folder.path(), "audit");
        files.append(r#"{"a":1}"#).unwrap();
        let mut file = fs::OpenOptions::new().append(true).open(files.path()).unwrap();
        file.write_all(br#"{"who":"a"#).unwrap();
        files.append(r#"{"b":2}"#).unwrap();
        files.append(r#"{"c":3}"#).unwrap();
        let text = fs::read_to_string(files.path()).unwrap();
        assert_eq!(text, "{\"a\":1}\n{\"who\":\"a\n{\"b\":2}\n{\"c\":3}\n");
    }
}
