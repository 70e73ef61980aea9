//! The output of a job's process: its beginning and its end are kept in a file, whatever its
//! length.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, PipeReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;
use windrow_proto::PRINTED_BYTES_MAX;
use windrow_security::files::private;

use crate::sync::lock;

/// Most bytes kept of the beginning.
const HEAD_BYTES_MAX: u64 = 1 << 20;

/// Most bytes shown in the message about a death.
const SHOWN_BYTES_MAX: usize = 2 << 10;
const SHOWN_LINES_MAX: usize = 10;

/// The output of a process so far.
#[derive(Default)]
struct Kept {
    bytes: u64,
    /// The last bytes, whether or not they belong to the beginning.
    tail: VecDeque<u8>,
}

/// The output of a process, recorded to a file.
pub(super) struct Printed {
    kept: Arc<Mutex<Kept>>,
    end: Option<oneshot::Receiver<()>>,
}

impl Printed {
    /// Copies the bytes of `pipe` to the file at `path`, on a thread of its own, until all copies
    /// of the other end are closed.
    pub(super) fn record(pipe: PipeReader, path: PathBuf) -> io::Result<Self> {
        let kept = Arc::<Mutex<Kept>>::default();
        let (ended, end) = oneshot::channel();
        let shared = Arc::clone(&kept);
        std::thread::Builder::new().name("windrow-printed".into()).spawn(move || {
            if let Err(error) = record(pipe, &path, &shared) {
                tracing::warn!(path = %path.display(), %error, "cannot record the output of a job");
            }
            let _ = ended.send(());
        })?;
        Ok(Self { kept, end: Some(end) })
    }

    /// Waits until no more output can arrive.
    pub(super) async fn end(&mut self) {
        if let Some(end) = self.end.take() {
            let _ = end.await;
        }
    }

    /// The last lines.
    pub(super) fn last_lines(&self) -> String {
        let tail: Vec<u8> = lock(&self.kept).tail.iter().copied().collect();
        last_lines(&tail)
    }

    /// A handle that reads the output while it grows.
    pub(super) fn so_far(&self) -> PrintedSoFar {
        PrintedSoFar(Arc::clone(&self.kept))
    }
}

/// The output of a process, readable at any moment.
pub(super) struct PrintedSoFar(Arc<Mutex<Kept>>);

impl PrintedSoFar {
    /// Number of bytes so far.
    pub(super) fn bytes(&self) -> u64 {
        lock(&self.0).bytes
    }

    /// Number of bytes so far, and the last of them: at most `bytes_max`, of those that are kept in
    /// memory.
    pub(super) fn tail(&self, bytes_max: usize) -> (u64, Vec<u8>) {
        let kept = lock(&self.0);
        let skipped = kept.tail.len().saturating_sub(bytes_max);
        (kept.bytes, kept.tail.iter().skip(skipped).copied().collect())
    }
}

fn last_lines(tail: &[u8]) -> String {
    let text = String::from_utf8_lossy(tail);
    let text = text.trim_end();
    let line = text.rmatch_indices('\n').nth(SHOWN_LINES_MAX - 1).map_or(0, |(at, _)| at + 1);
    let start = text.ceil_char_boundary(text.len().saturating_sub(SHOWN_BYTES_MAX)).max(line);
    text[start..].to_string()
}

/// Goes on reading when nothing can be written: the job must not block on its output.
fn record(mut pipe: PipeReader, path: &Path, kept: &Mutex<Kept>) -> io::Result<()> {
    // The job may write to this folder, and could have put a link there that leads to a file which
    // it must not write to.
    let mut file = private().write(true).create_new(true).open(path);
    let mut buffer = vec![0; 64 << 10];
    loop {
        let bytes = match pipe.read(&mut buffer) {
            Ok(0) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            bytes => &buffer[..bytes?],
        };
        let before = lock(kept).add(bytes);
        let of_head = HEAD_BYTES_MAX.saturating_sub(before).min(bytes.len() as u64) as usize;
        if let Ok(open) = &mut file
            && let Err(error) = open.write_all(&bytes[..of_head])
        {
            file = Err(error);
        }
    }
    write_end(&mut file?, &lock(kept))
}

/// Writes the part after the beginning, as far as it was kept.
fn write_end(file: &mut File, kept: &Kept) -> io::Result<()> {
    let rest = kept.bytes.saturating_sub(HEAD_BYTES_MAX);
    let shown = (kept.tail.len() as u64).min(rest);
    if shown < rest {
        write!(file, "\n[{} bytes are left out]\n", rest - shown)?;
    }
    let skipped = kept.tail.len() - shown as usize;
    let tail: Vec<u8> = kept.tail.iter().skip(skipped).copied().collect();
    file.write_all(&tail)
}

impl Kept {
    /// Returns the number of bytes before these.
    fn add(&mut self, bytes: &[u8]) -> u64 {
        let before = self.bytes;
        self.bytes += bytes.len() as u64;
        self.tail.extend(&bytes[bytes.len().saturating_sub(PRINTED_BYTES_MAX)..]);
        let surplus = self.tail.len().saturating_sub(PRINTED_BYTES_MAX);
        self.tail.drain(..surplus);
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn recorded(text: &[u8]) -> (Vec<u8>, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let (reader, mut writer) = io::pipe().unwrap();
        let mut printed = Printed::record(reader, path.clone()).unwrap();
        let text = text.to_vec();
        tokio::task::spawn_blocking(move || writer.write_all(&text).unwrap()).await.unwrap();
        printed.end().await;
        (std::fs::read(path).unwrap(), printed.last_lines())
    }

    #[tokio::test]
    async fn short_output_is_kept_whole() {
        for text in ["", "one\ntwo\n", "no end of line", &"x".repeat(HEAD_BYTES_MAX as usize + 9)] {
            assert!(recorded(text.as_bytes()).await.0 == text.as_bytes(), "{} bytes", text.len());
        }
    }

    #[tokio::test]
    async fn both_ends_of_long_output_are_kept() {
        let text: String = (0..1_000_000).map(|line| format!("{line}\n")).collect();
        let (kept, last) = recorded(text.as_bytes()).await;
        let kept = String::from_utf8(kept).unwrap();
        let left_out = text.len() - HEAD_BYTES_MAX as usize - PRINTED_BYTES_MAX;
        let (head, tail) =
            kept.split_once(&format!("\n[{left_out} bytes are left out]\n")).unwrap();
        assert!(text.starts_with(head) && head.len() as u64 == HEAD_BYTES_MAX);
        assert!(text.ends_with(tail) && tail.len() == PRINTED_BYTES_MAX);
        let expected: Vec<String> = (999_990..1_000_000).map(|line| line.to_string()).collect();
        assert_eq!(last, expected.join("\n"));
    }

    #[tokio::test]
    async fn links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (secret, path) = (folder.path().join("secret"), folder.path().join("log"));
        std::fs::write(&secret, "as it was").unwrap();
        std::os::unix::fs::symlink(&secret, &path).unwrap();
        let (reader, mut writer) = io::pipe().unwrap();
        let mut printed = Printed::record(reader, path).unwrap();
        writer.write_all(b"harm").unwrap();
        drop(writer);
        printed.end().await;
        assert_eq!(printed.last_lines(), "harm");
        assert_eq!(std::fs::read(secret).unwrap(), b"as it was");
    }

    #[test]
    fn last_lines_are_few_and_short() {
        assert_eq!(last_lines(b"a\nb\xff\n\n"), "a\nb\u{fffd}");
        let long = "é".repeat(3_000);
        assert_eq!(last_lines(long.as_bytes()).len(), SHOWN_BYTES_MAX);
    }
}
