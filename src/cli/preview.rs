//! Some lines of a result, so that a newcomer sees what came out.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use windrow_jobs::{Location, one_line};

use super::stdout;

const LINES: u64 = 5;
const LINE_BYTES_MAX: u64 = 120;

/// A result of no more lines is shown completely.
const ALL_LINES_MAX: u64 = 10;
/// Lines of larger parts are not counted: nobody waits for a preview.
const COUNTED_BYTES_MAX: u64 = 16 << 20;

/// What is looked through for the end of a line. Nobody waits for a preview of longer ones.
const LOOKED_THROUGH_MAX: u64 = 1 << 20;

/// A part that is smaller is shown from its first line on.
const SMALL_BYTES: u64 = 4 << 10;

/// Prints lines of the first part that is not empty: all, if they are few; else one of each fifth,
/// since the first ones alone would be odd where parts are sorted. The job has succeeded, so
/// problems here are silent.
pub(crate) fn print(output: &Location) {
    if let Ok(folder) = output.to_local() {
        let _ = try_print(folder);
    }
}

fn try_print(output: &Path) -> io::Result<()> {
    let Some(part) = first_part(output)? else { return Ok(()) };
    let Preview { lines, of } = preview(File::open(&part)?)?;
    let (shown, part) = (lines.len() as u64, one_line(&part.display().to_string()));
    match of {
        Some(all) if all == shown => stdout::line(format_args!("  preview   all of {part}")),
        Some(all) => stdout::line(format_args!("  preview   {shown} of {all} lines of {part}")),
        None => stdout::line(format_args!("  preview   {shown} lines from all over {part}")),
    }
    for line in lines {
        stdout::line(format_args!("    {line}"));
    }
    Ok(())
}

/// Lines of a file.
struct Preview {
    lines: Vec<String>,
    /// How many there are; `None` if that would take too long.
    of: Option<u64>,
}

fn preview(mut file: File) -> io::Result<Preview> {
    let is_counted = file.metadata()?.len() <= COUNTED_BYTES_MAX;
    let of = if is_counted { Some(count_lines(&file)?) } else { None };
    file.rewind()?;
    let lines = match of {
        Some(all) if all <= ALL_LINES_MAX => first_lines(file)?,
        _ => spread_lines(file)?,
    };
    Ok(Preview { lines, of })
}

/// The last line may have no end.
fn count_lines(file: &File) -> io::Result<u64> {
    let mut reader = BufReader::with_capacity(64 << 10, file);
    let (mut ends, mut last) = (0, b'\n');
    loop {
        let bytes = reader.fill_buf()?;
        let Some(end) = bytes.last() else { break };
        last = *end;
        ends += memchr::memchr_iter(b'\n', bytes).count() as u64;
        let read = bytes.len();
        reader.consume(read);
    }
    Ok(ends + u64::from(last != b'\n'))
}

fn first_lines(file: File) -> io::Result<Vec<String>> {
    let mut reader = BufReader::new(file);
    std::iter::from_fn(|| short_line(&mut reader).transpose()).collect()
}

/// A line in the middle of each fifth of a file, or the first of it in a small one; the next one
/// where that has been shown already.
fn spread_lines(file: File) -> io::Result<Vec<String>> {
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
        let Preview { lines, of } = preview(file).unwrap();
        assert_eq!(of, Some(text.lines().count() as u64));
        lines
    }

    #[test]
    fn lines_come_from_everywhere_and_none_twice() {
        let hundred: String = (0..100).map(|n| format!("{n:03}\n")).collect();
        assert_eq!(lines_of(&hundred), ["000", "020", "040", "060", "080"]);
        let thousand: String = (0..2_000).map(|n| format!("{n:04}\n")).collect();
        assert_eq!(lines_of(&thousand), ["0200", "0600", "1000", "1400", "1800"]);
        assert_eq!(lines_of("a\nb\nc\n"), ["a", "b", "c"]);
        assert_eq!(lines_of("1\n2\n3\n4\n5\n6\n"), ["1", "2", "3", "4", "5", "6"]);
        assert_eq!(lines_of(&"x\n".repeat(10)).len(), 10);
        assert_eq!(lines_of(&"x\n".repeat(11)).len(), 5);
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
