//! A program's answer, in a form that does not depend on how its output is split into parts.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use super::Result;

/// A digest of all parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub lines: u64,
    /// The sum of the lines' hashes, the same in any order.
    pub checksum: u64,
}

/// Reads the parts of `output` in name order. The first `ordered_bytes` bytes of the lines must not
/// decrease.
pub fn read(output: &Path, ordered_bytes: usize) -> Result<Answer> {
    let mut answer = Answer { lines: 0, checksum: 0 };
    let (mut line, mut last) = (Vec::new(), Vec::new());
    for part in parts(output)? {
        // Not memory-mapped: a large parent would count in its children's peak.
        let mut file = BufReader::with_capacity(1 << 20, File::open(&part)?);
        while file.read_until(b'\n', &mut line)? > 0 {
            answer.lines += 1;
            answer.checksum = answer.checksum.wrapping_add(xxh3_64(&line));
            let key = &line[..ordered_bytes.min(line.len())];
            if key < last.as_slice() {
                return Err(
                    format!("line {} of {} is out of order", answer.lines, part.display()).into()
                );
            }
            last.clear();
            last.extend_from_slice(key);
            line.clear();
        }
    }
    Ok(answer)
}

fn parts(output: &Path) -> Result<Vec<PathBuf>> {
    let mut parts = Vec::new();
    for entry in fs::read_dir(output)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("part-")) {
            parts.push(path);
        }
    }
    parts.sort();
    Ok(parts)
}
