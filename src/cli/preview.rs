//! Some lines of a result, so that a newcomer sees what came out.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use windrow_jobs::{Location, one_line};

use super::stdout;

const LINES: u64 = 5;
const LINE_BYTES_MAX: u64 = 120;

/// What is looked through for the end of a line. Nobody waits for a preview of longer ones.
const LOOKED_THROUGH_MAX: u64 = 1 << 20;

/// A part that is smaller is shown from its first line on.
const SMALL_BYTES: u64 = 4 << 10;

/// Prints lines of the first part that is not empty, one of each fifth: the first ones alone would
/// be odd, since parts are sorted. The job has succeeded, so problems here are silent.
pub(crate) fn print(output: &Location) {
    if let Ok(folder) = output.to_local() {
        let _ = try_print(folder);
    }
}

fn try_print(output: &Path) -> io::Result<()> {
    let Some(part) = first_part(output)? else { return Ok(()) };
    stdout::line(format_args!("  preview   {}", one_line(&part.display().to_string())));
    for line in lines(File::open(part)?)? {
        stdout::line(format_args!("    {line}"));
    }
    Ok(())
}

/// A line in the middle of each fifth of a file, or the first of it in a small one; the next one
/// where that has been shown already.
fn lines(file: File) -> io::Result<Vec<String>> {
    let bytes = file.metadata()?.len();
    let mut reader = BufReader::new(file);
    let (mut lines, mut shown) = (Vec::new(), 0);
    let middle = if bytes < SMALL_BYTES { 0 } else { bytes / LINES / 2 };
    for fifth in 0..LINES {
        // A line that begins there is found by the end of the one before.
        let start = (bytes / LINES * fifth + middle).saturating_sub(1);
        if start > shown {
            reader.seek(SeekFrom::Start(start))?;
            reader.by_ref().take(LOOKED_THROUGH_MAX).skip_until(b'\n')?;
        }
        let Some(line) = short_line(&mut reader)? else { break };
        lines.push(line);
        shown = reader.stream_position()?;
    }
    Ok(lines)
}

fn first_part(output: &Path) -> io::Result<Option<PathBuf>> {
    let mut parts = Vec::new();
    for entry in std::fs::read_dir(output)? {
        let entry = entry?;
        let is_part = entry.file_name().to_string_lossy().starts_with("part-");
        // Somebody who may write there could have put a link in its place.
        let is_file = entry.metadata().is_ok_and(|found| found.is_file() && found.len() > 0);
        if is_part && is_file {
            parts.push(entry.path());
        }
    }
    parts.sort();
    Ok(parts.into_iter().next())
}

/// The next line, cut to a width that fits a terminal, control signs made harmless.
fn short_line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let mut limited = Read::take(&mut *reader, LINE_BYTES_MAX);
    if limited.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    let complete = line.last() == Some(&b'\n');
    if !complete {
        reader.take(LOOKED_THROUGH_MAX).skip_until(b'\n')?;
    }
    let text = String::from_utf8_lossy(&line);
    let text: String = text
        .trim_end_matches(['\n', '\r'])
        .chars()
        .map(|c| if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    Ok(Some(if complete || line.len() < LINE_BYTES_MAX as usize { text } else { text + "..." }))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn lines_of(text: &str) -> Vec<String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.rewind().unwrap();
        lines(file).unwrap()
    }

    #[test]
    fn lines_come_from_everywhere_and_none_twice() {
        let hundred: String = (0..100).map(|n| format!("{n:03}\n")).collect();
        assert_eq!(lines_of(&hundred), ["000", "020", "040", "060", "080"]);
        let thousand: String = (0..2_000).map(|n| format!("{n:04}\n")).collect();
        assert_eq!(lines_of(&thousand), ["0200", "0600", "1000", "1400", "1800"]);
        assert_eq!(lines_of("a\nb\nc\n"), ["a", "b", "c"]);
        assert_eq!(lines_of("1\n2\n3\n4\n5\n6\n").len(), 5);
        assert_eq!(lines_of("no end"), ["no end"]);
        assert_eq!(lines_of(""), [""; 0]);
    }

    #[test]
    fn what_is_long_is_cut() {
        let long = format!("{}\nb\n", "x".repeat(1_000));
        let shown = format!("{}...", "x".repeat(LINE_BYTES_MAX as usize));
        assert_eq!(lines_of(&long), [&*shown, "b"]);
        assert_eq!(lines_of("a\x1b[31m\tb\n"), ["a\u{fffd}[31m\tb"]);
    }
}
