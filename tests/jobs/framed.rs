//! Writes its pairs in an output format of its own: a header, frames with checksums, and a footer
//! with the number of pairs.

use serde::{Deserialize, Serialize};
use windrow::output::{Output, PartEncoder, PartInfo, Section, SectionEncoder};
use windrow::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
struct FramedParams {
    /// Write the mapper's pairs, without a reducer.
    #[arg(long)]
    map_only: bool,
}

pub fn job() -> Job {
    Job::with_params("framed", |params: &FramedParams| {
        let job = Job::new("framed", Words).output(Framed);
        Ok(if params.map_only { job.map_only() } else { job.reduce(Each) })
    })
}

/// Emits each word and its length; a line with the bad word fails.
struct Words;

impl Mapper for Words {
    type Input = Line;
    type Key = str;
    type Value = u64;

    fn map(&self, line: &str, out: &mut impl Emit<str, u64>) -> Result<()> {
        for word in line.split_ascii_whitespace() {
            if word == "BAD-LINE" {
                return Err(Error::new("a bad line"));
            }
            out.emit(word, word.len() as u64)?;
        }
        Ok(())
    }
}

/// Emits each pair; a bad key fails only after its pairs.
struct Each;

impl Reducer<str, u64> for Each {
    type OutputKey = str;
    type OutputValue = u64;

    fn reduce(
        &self,
        key: &str,
        values: &mut Values<'_, u64>,
        out: &mut impl Emit<str, u64>,
    ) -> Result<()> {
        while let Some(value) = values.next()? {
            out.emit(key, value)?;
        }
        if key == "BAD-GROUP" { Err(Error::new("a bad group")) } else { Ok(()) }
    }
}

/// Pairs in a frame.
const PAIRS: usize = 1_000;

struct Framed;

#[derive(Default)]
struct Frame {
    lines: Vec<u8>,
    pairs: usize,
}

struct Footer {
    pairs: u64,
}

impl Output<str, u64> for Framed {
    type Part = Footer;
    type Section = Frame;

    fn begin(&self, part: PartInfo, out: &mut Vec<u8>) -> Result<Footer> {
        out.extend(format!("part {}\n", part.number).into_bytes());
        Ok(Footer { pairs: 0 })
    }

    fn extension(&self) -> &str {
        ".frames"
    }

    fn section(&self) -> Frame {
        Frame::default()
    }
}

impl SectionEncoder<str, u64> for Frame {
    type Summary = ();
    type Mark = (usize, usize);

    fn write(&mut self, key: &str, value: u64, _out: &mut Vec<u8>) -> Result<()> {
        self.lines.extend(format!("{key}={value}\n").into_bytes());
        self.pairs += 1;
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.pairs >= PAIRS
    }

    fn held_bytes(&self) -> usize {
        self.lines.len()
    }

    fn mark(&mut self) -> (usize, usize) {
        (self.lines.len(), self.pairs)
    }

    fn undo(&mut self, (bytes, pairs): (usize, usize)) {
        self.lines.truncate(bytes);
        self.pairs = pairs;
    }

    fn finish(self, out: &mut Vec<u8>) -> Result<()> {
        out.extend(format!("frame {} {:x}\n", self.pairs, xxh3_64(&self.lines)).into_bytes());
        out.extend(self.lines);
        Ok(())
    }
}

impl PartEncoder<()> for Footer {
    fn append(&mut self, section: Section<()>) -> Result<()> {
        self.pairs += section.records;
        Ok(())
    }

    fn finish(self, out: &mut Vec<u8>) -> Result<()> {
        out.extend(format!("end {}\n", self.pairs).into_bytes());
        Ok(())
    }
}

/// The pairs and the number of a part that [`job`] has written; a message if it is malformed.
pub fn read(part: &str) -> Result<(u32, Vec<String>), String> {
    let mut lines = part.lines();
    let mut next = |what: &str| -> Result<Vec<&str>, String> {
        let line = lines.next().ok_or_else(|| format!("{what} is missing"))?;
        Ok(line.split(' ').collect())
    };
    let number = match next("the header")?[..] {
        ["part", number] => number.parse().map_err(|_| "the part has no number")?,
        _ => return Err("no header".into()),
    };
    let mut pairs = Vec::new();
    loop {
        match next("the footer")?[..] {
            ["frame", count, checksum] => {
                let count = count.parse().map_err(|_| "no number of pairs")?;
                let mut text = String::new();
                for _ in 0..count {
                    let line = next("a pair")?.join(" ");
                    text.push_str(&line);
                    text.push('\n');
                    pairs.push(line);
                }
                if format!("{:x}", xxh3_64(text.as_bytes())) != checksum {
                    return Err(format!("a frame does not have the checksum {checksum}"));
                }
            }
            ["end", count] if count == pairs.len().to_string() => {
                return match lines.next() {
                    None => Ok((number, pairs)),
                    Some(_) => Err("bytes follow the footer".into()),
                };
            }
            ref other => return Err(format!("{other:?} behind {} pairs", pairs.len())),
        }
    }
}
