//! The first lines of a result, so that a newcomer sees what came out.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use windrow_jobs::one_line;

use super::stdout;

const LINES: usize = 5;
const LINE_BYTES_MAX: u64 = 120;

/// Prints the first lines of the first part that is not empty. The job has succeeded, so problems
/// here are silent.
pub(crate) fn print(output: &Path) {
    let _ = try_print(output);
}

fn try_print(output: &Path) -> io::Result<()> {
    let Some(part) = first_part(output)? else { return Ok(()) };
    stdout::line(format_args!("  preview   {}", one_line(&part.display().to_string())));
    let mut reader = BufReader::new(File::open(part)?);
    for _ in 0..LINES {
        let Some(line) = short_line(&mut reader)? else { break };
        stdout::line(format_args!("    {line}"));
    }
    Ok(())
}

fn first_part(output: &Path) -> io::Result<Option<PathBuf>> {
    let mut parts = Vec::new();
    for entry in std::fs::read_dir(output)? {
        let entry = entry?;
        let is_part = entry.file_name().to_string_lossy().starts_with("part-");
        // Whoever may write there could have put a link in its place.
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
    let mut limited = io::Read::take(&mut *reader, LINE_BYTES_MAX);
    if limited.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    let complete = line.last() == Some(&b'\n');
    if !complete {
        reader.skip_until(b'\n')?;
    }
    let text = String::from_utf8_lossy(&line);
    let text: String = text
        .trim_end_matches(['\n', '\r'])
        .chars()
        .map(|c| if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    Ok(Some(if complete || line.len() < LINE_BYTES_MAX as usize { text } else { text + "..." }))
}
