//! The inputs, each made once for all rows that read it.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Result, WINDROW};

/// Environment variable with the folder of real text.
pub const TEXT_VARIABLE: &str = "WINDROW_BENCH_TEXT";
const TEXT_FILES: u64 = 16;
const MANY_WORDS_PER_MIB: u64 = 10_000_000 / 1024;

/// A kind of input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// Words by Zipf's law, from a million different ones.
    Zipf,
    /// The same, from ten million in a gibibyte: most words are rare.
    ManyWords,
    /// The files of a given folder, repeated.
    Text,
    /// Records of 100 bytes.
    Records,
    /// An access log.
    Csv,
    /// 10 KB of words.
    Small,
}

impl Data {
    /// Makes the input below `dir`, unless it exists. `None` if it is not available.
    pub fn make(self, dir: &Path, mib: u64) -> Result<Option<PathBuf>> {
        let folder = dir.join(format!("{self:?}"));
        if folder.exists() {
            return Ok(Some(folder));
        }
        let size = format!("{mib}MiB");
        match self {
            Self::Zipf => generate(&["zipf", "--bytes", &size], &folder)?,
            Self::ManyWords => {
                let words = (mib * MANY_WORDS_PER_MIB).to_string();
                generate(&["zipf", "--bytes", &size, "--words", &words], &folder)?;
            }
            Self::Records => generate(&["records", "--bytes", &size], &folder)?,
            Self::Csv => generate(&["csv", "--bytes", &size], &folder)?,
            Self::Small => generate(&["zipf", "--bytes", "10KB", "--words", "1000"], &folder)?,
            Self::Text => match std::env::var_os(TEXT_VARIABLE) {
                Some(text) => repeat(Path::new(&text), &folder, mib << 20)?,
                None => return Ok(None),
            },
        }
        Ok(Some(folder))
    }
}

fn generate(arguments: &[&str], folder: &Path) -> Result<()> {
    let mut command = Command::new(WINDROW);
    let status = command
        .arg("gen")
        .args(arguments)
        .arg("--output")
        .arg(folder)
        .stdout(Stdio::null())
        .status()?;
    if status.success() { Ok(()) } else { Err(format!("windrow gen ended with {status}").into()) }
}

/// Files of equal size that repeat the text, and end after a line.
fn repeat(text: &Path, folder: &Path, bytes: u64) -> Result<()> {
    let mut whole = Vec::new();
    for entry in fs::read_dir(text)? {
        whole.extend(fs::read(entry?.path())?);
        whole.push(b'\n');
    }
    if whole.len() <= 1 {
        return Err(format!("{} holds no text", text.display()).into());
    }
    fs::create_dir(folder)?;
    for file in 0..TEXT_FILES {
        let mut to = File::create(folder.join(format!("part-{file:05}.txt")))?;
        let mut left = usize::try_from(bytes / TEXT_FILES)?;
        while left > whole.len() {
            to.write_all(&whole)?;
            left -= whole.len();
        }
        let end = whole[..left].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        to.write_all(&whole[..end])?;
    }
    Ok(())
}
