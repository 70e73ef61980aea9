//! One output file for each core, written in large blocks.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use super::Result;

const FLUSH_BYTES: usize = 1 << 20;

/// A file with a write buffer. Call [`finish`](Self::finish).
pub struct Output {
    file: File,
    buffer: Vec<u8>,
}

impl Output {
    pub fn create(folder: &Path, core: usize) -> Result<Self> {
        let file = File::create(folder.join(format!("part-{core:05}")))?;
        Ok(Self { file, buffer: Vec::with_capacity(FLUSH_BYTES + 4096) })
    }

    /// Writes `key`, a tab, `count` and a line end.
    pub fn count(&mut self, key: &[u8], count: u64) -> Result<()> {
        self.buffer.extend_from_slice(key);
        self.buffer.push(b'\t');
        self.buffer.extend_from_slice(itoa::Buffer::new().format(count).as_bytes());
        self.buffer.push(b'\n');
        self.flush_if_full()
    }

    /// Writes `bytes` as they are.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.buffer.extend_from_slice(bytes);
        self.flush_if_full()
    }

    pub fn finish(mut self) -> Result<()> {
        Ok(self.file.write_all(&self.buffer)?)
    }

    #[inline]
    fn flush_if_full(&mut self) -> Result<()> {
        if self.buffer.len() >= FLUSH_BYTES {
            self.file.write_all(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }
}
