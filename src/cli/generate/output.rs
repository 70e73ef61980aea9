//! Where a generator writes: a large buffer before a file, emptied at ends of lines.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// The buffer is written when it holds this much.
const FLUSH_BYTES: usize = 1 << 20;

/// What of all the data one file holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    /// Number of the file; it chooses the stream of random numbers.
    pub(super) file: u32,
    /// Where the file would begin if all files were one, in bytes.
    pub(super) start: u64,
    /// Where it would end.
    pub(super) end: u64,
}

impl Share {
    /// The shares of `files` files, equal but for a byte.
    pub(super) fn of(file: u32, files: u32, bytes: u64) -> Self {
        let border = |n: u32| (u128::from(bytes) * u128::from(n) / u128::from(files)) as u64;
        Self { file, start: border(file), end: border(file + 1) }
    }

    /// Bytes that the file may have.
    pub(super) fn len(&self) -> u64 {
        self.end - self.start
    }
}

/// A buffer that lines are appended to.
pub(super) struct Output<'a> {
    to: &'a mut dyn Write,
    stop: &'a AtomicBool,
    buffer: Vec<u8>,
    written: u64,
}

impl<'a> Output<'a> {
    /// Writes to `to` until `stop` is set.
    pub(super) fn new(to: &'a mut dyn Write, stop: &'a AtomicBool) -> Self {
        Self { to, stop, buffer: Vec::with_capacity(FLUSH_BYTES + 4096), written: 0 }
    }

    /// The lines not yet written. Only append.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Call it after each line. Fails when writing does, or when told to stop.
    pub(super) fn line_ends(&mut self) -> io::Result<()> {
        if self.buffer.len() < FLUSH_BYTES { Ok(()) } else { self.flush() }
    }

    /// Writes what is left and returns the bytes of all.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        self.flush()?;
        Ok(self.written)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("stopped"));
        }
        self.to.write_all(&self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}
