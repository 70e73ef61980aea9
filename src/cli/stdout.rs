//! Writing results to standard output.

use std::fmt::Arguments;
use std::io::{Write, stdout};

/// Writes one line. A reader that has gone (`windrow jobs | head -1`) is no reason to fail: what was asked for has been
/// done.
pub(crate) fn line(text: Arguments<'_>) {
    let mut out = stdout().lock();
    let _ = out.write_fmt(text).and_then(|()| out.write_all(b"\n"));
}

/// Writes text that brings its own line ends.
pub(crate) fn text(text: &str) {
    bytes(text.as_bytes());
}

/// Writes what may not be text.
pub(crate) fn bytes(bytes: &[u8]) {
    let _ = stdout().lock().write_all(bytes);
}
