//! Writing results to standard output.
//!
//! Names, messages and paths come from users and from their data. Terminals obey control
//! characters; changes of the direction of writing and invisible characters mislead readers. So all
//! of these are escaped here, whatever is printed: as `\u001b`, which is also correct inside JSON
//! strings.

use std::borrow::Cow;
use std::fmt::Arguments;
use std::fmt::Write as _;
use std::io::{Error, ErrorKind, Write, stdout};
use std::sync::OnceLock;

use rustix::fs::{FileType, fstat};
use rustix::io::Errno;

use super::exit::Exit;
use super::stderr;

/// Why something could not be written, the first time.
static FAILED: OnceLock<Error> = OnceLock::new();

/// Writes one line.
pub(crate) fn line(text: Arguments<'_>) {
    let text = text.to_string();
    let mut line = escaped(&text).into_owned();
    line.push('\n');
    bytes(line.as_bytes());
}

/// Writes text that brings its own line ends.
pub(crate) fn text(text: &str) {
    bytes(escaped(text).as_bytes());
}

/// Writes what may not be text, as it is. An error ends nothing, since a job may depend on this
/// process: [`exit`] tells it in the end.
pub(crate) fn bytes(bytes: &[u8]) {
    note(stdout().lock().write_all(bytes));
}

/// Whether something could not be written so far.
pub(crate) fn has_failed() -> bool {
    FAILED.get().is_some()
}

/// The status to end with, instead of `exit`, where the result could not be written.
pub(crate) fn exit(exit: Exit) -> Exit {
    note(stdout().lock().flush());
    let Some(error) = FAILED.get() else { return exit };
    stderr::line(format_args!("windrow: cannot write to standard output: {error}"));
    if exit == Exit::Success { Exit::Failure } else { exit }
}

/// A reader that is gone (`windrow jobs | head -1`) is no failure: it has what it wanted. Nor is a
/// closed terminal.
fn note(written: std::io::Result<()>) {
    if let Err(error) = written
        && error.kind() != ErrorKind::BrokenPipe
        && !(error.raw_os_error() == Some(Errno::IO.raw_os_error()) && is_device())
    {
        let _ = FAILED.set(error);
    }
}

/// Whether it goes to a device, such as a terminal. One that was closed does not say any more that
/// it is a terminal.
fn is_device() -> bool {
    let kind = fstat(stdout()).map(|stat| FileType::from_raw_mode(stat.st_mode));
    kind.is_ok_and(|kind| kind == FileType::CharacterDevice)
}

/// What [`windrow_jobs::one_line`] escapes, but for ends of lines and tabs.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    windrow_jobs::escape(
        text,
        |c| c == '\n' || c == '\t',
        |escaped, c| {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_told_nothing() {
        assert_eq!(escaped("a\x1b[2J\u{9b}\r\tb\n"), "a\\u001b[2J\\u009b\\u000d\tb\n");
        let json = serde_json::json!({ "name": "a\u{9b}\x7f\x1b\u{202e}\u{e0041}" });
        let printed = escaped(&json.to_string()).into_owned();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&printed).unwrap(), json);
    }
}
