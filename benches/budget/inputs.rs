//! The inputs of the rows. Written in small chunks: this program's memory counts in the peaks of
//! its children.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Result, WINDROW};

/// A kind of input and its full size.
#[derive(Clone, Copy, Debug)]
pub enum Input {
    /// Each word once, ten words a line.
    DistinctWords { words: u64 },
    /// The same word on all lines.
    OneWord { lines: u64 },
    /// Lines that differ only in their last bytes.
    LargeLines { lines: u64, bytes: u64 },
    /// Files of about 1 KB.
    SmallFiles { files: u64 },
    /// Words without an end of line.
    OneLine { bytes: u64 },
    /// An input of `windrow gen`: kind and bytes.
    Generated(&'static str, u64),
}

/// The number of different words, where there are few.
const WORDS: u64 = 1000;
const WORDS_PER_SMALL_FILE: u64 = 200;
/// The number of files of most inputs: the last ones have less.
const FILES: u64 = 8;

impl Input {
    /// Makes one part in `parts` of the input below `dir`, unless it exists. Large records stay
    /// large.
    pub fn make(self, dir: &Path, parts: u64) -> Result<PathBuf> {
        let name = format!("{self:?}-{parts}").replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let folder = dir.join(name);
        if folder.exists() {
            return Ok(folder);
        }
        let unfinished = dir.join("unfinished");
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished)?;
        }
        if let Self::Generated(kind, bytes) = self {
            generate(kind, bytes / parts, &unfinished)?;
        } else {
            fs::create_dir(&unfinished)?;
            self.write(&unfinished, parts)?;
        }
        fs::rename(&unfinished, &folder)?;
        Ok(folder)
    }

    fn write(self, folder: &Path, parts: u64) -> Result<()> {
        match self {
            Self::DistinctWords { words } => in_files(folder, words / parts, |word, file| {
                write!(file, "{word}{}", if word % 10 == 9 { '\n' } else { ' ' })
            }),
            Self::OneWord { lines } => {
                in_files(folder, lines / parts, |_, file| file.write_all(b"constant\n"))
            }
            Self::LargeLines { lines, bytes } => in_files(folder, lines / parts, |line, file| {
                let piece = [b'x'; 1024];
                (0..bytes / 1024).try_for_each(|_| file.write_all(&piece))?;
                // Scattered, so that lines are out of order.
                writeln!(file, "{:05}", line * 7919 % 10_007)
            }),
            Self::SmallFiles { files } => (0..files / parts).try_for_each(|number| {
                let mut file = create(folder, number)?;
                (0..WORDS_PER_SMALL_FILE).try_for_each(|at| write_word(number + at, &mut file))?;
                Ok(file.flush()?)
            }),
            Self::OneLine { bytes } => {
                let mut file = create(folder, 0)?;
                // A line that is too long must stay too long.
                (0..bytes / 5).try_for_each(|at| write_word(at, &mut file))?;
                Ok(file.flush()?)
            }
            Self::Generated(..) => unreachable!("windrow gen writes this input"),
        }
    }
}

/// Always writes five bytes.
fn write_word(number: u64, file: &mut impl Write) -> std::io::Result<()> {
    write!(file, "w{:03} ", number.wrapping_mul(7919) % WORDS)
}

/// Spreads `count` items over files.
fn in_files(
    folder: &Path,
    count: u64,
    mut write: impl FnMut(u64, &mut BufWriter<File>) -> std::io::Result<()>,
) -> Result<()> {
    let per_file = count.div_ceil(FILES).max(1);
    for start in (0..count).step_by(usize::try_from(per_file)?) {
        let mut file = create(folder, start / per_file)?;
        (start..count.min(start + per_file)).try_for_each(|item| write(item, &mut file))?;
        file.flush()?;
    }
    Ok(())
}

fn create(folder: &Path, number: u64) -> Result<BufWriter<File>> {
    Ok(BufWriter::new(File::create(folder.join(format!("part-{number:06}")))?))
}

fn generate(kind: &str, bytes: u64, folder: &Path) -> Result<()> {
    let mut command = Command::new(WINDROW);
    command.args(["gen", kind, "--bytes", &bytes.to_string(), "--output"]).arg(folder);
    let status = command.stdout(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(format!("windrow gen ended with {status}").into()) }
}
