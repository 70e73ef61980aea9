//! `grep`: the lines that match a regular expression, or their number per file.
//!
//! The whole buffer is searched; line ends are found only around matches.

mod pattern;

use std::ops::Range;

use memchr::memchr_iter;
use serde::{Deserialize, Serialize};

use crate::input::{Chunk, RecordError};
use crate::prelude::*;
use pattern::{Pattern, Searcher};

/// Finds the lines that match a regular expression; lines may contain any bytes. Output, in input
/// order: `file:offset<TAB>line`; with `--count`, for every file that is not empty:
/// `file<TAB>number of matching lines`.
pub fn grep() -> Job {
    Job::with_params("grep", |params: &Params| {
        let pattern = Pattern::new(&params.pattern, params.ignore_case)?;
        let invert = params.invert_match;
        Ok(if params.count {
            Job::new("grep", MatchCounts { pattern, invert }).combine(Sum).reduce(Sum)
        } else {
            Job::new("grep", MatchingLines { pattern, invert }).map_only()
        })
    })
    .with_about("Find the lines that match a regular expression")
}

#[derive(clap::Args, Serialize, Deserialize)]
struct Params {
    /// Regular expression that a line has to match
    #[arg(value_name = "PATTERN")]
    pattern: String,

    /// Ignore case
    #[arg(short, long)]
    ignore_case: bool,

    /// Select the lines that do not match
    #[arg(short = 'v', long)]
    invert_match: bool,

    /// Print the number of selected lines of each file
    #[arg(long)]
    count: bool,
}

struct MatchingLines {
    pattern: Pattern,
    invert: bool,
}

impl MatchingLines {
    /// Calls `each` for every selected line of `bytes`.
    fn selected(
        &self,
        bytes: &[u8],
        mut each: impl FnMut(Range<usize>) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        let mut not_matching = 0;
        for found in Searcher::new(&self.pattern, bytes) {
            if self.invert {
                each_line(bytes, not_matching..found.start, &mut each)?;
                not_matching = found.end;
            } else {
                each(pattern::without_end(bytes, found))?;
            }
        }
        if self.invert { each_line(bytes, not_matching..bytes.len(), &mut each) } else { Ok(()) }
    }
}

impl Mapper for MatchingLines {
    type Input = Located<LineBytes>;
    type Key = str;
    type Value = [u8];

    fn map(&self, line: LocatedRecord<'_, &[u8]>, out: &mut impl Emit<str, [u8]>) -> Result<()> {
        if self.pattern.is_match(line.record) != self.invert {
            out.emit(&format!("{}:{}", line.file, line.offset), line.record)?;
        }
        Ok(())
    }

    fn map_chunk(
        &self,
        _format: &Self::Input,
        chunk: &Chunk<'_>,
        out: &mut impl Emit<str, [u8]>,
    ) -> Result<u64, RecordError> {
        let mut place = format!("{}:", chunk.file);
        let file_len = place.len();
        self.selected(chunk.bytes, |line| {
            let position = chunk.position(line.start);
            place.truncate(file_len);
            place.push_str(itoa::Buffer::new().format(position.offset));
            out.emit(&place, &chunk.bytes[line]).map_err(|error| position.error(&error))
        })?;
        Ok(count_lines(chunk.bytes))
    }
}

struct MatchCounts {
    pattern: Pattern,
    invert: bool,
}

impl Mapper for MatchCounts {
    type Input = Located<LineBytes>;
    type Key = str;
    type Value = u64;

    fn map(&self, line: LocatedRecord<'_, &[u8]>, out: &mut impl Emit<str, u64>) -> Result<()> {
        let selected = self.pattern.is_match(line.record) != self.invert;
        // The first line is counted with 0 if it does not match, so that every file is listed.
        if selected || line.offset == 0 {
            out.emit(line.file, u64::from(selected))?;
        }
        Ok(())
    }

    fn map_chunk(
        &self,
        _format: &Self::Input,
        chunk: &Chunk<'_>,
        out: &mut impl Emit<str, u64>,
    ) -> Result<u64, RecordError> {
        let lines = count_lines(chunk.bytes);
        let matching = Searcher::new(&self.pattern, chunk.bytes).count() as u64;
        let selected = if self.invert { lines - matching } else { matching };
        if selected > 0 || chunk.offset == 0 && lines > 0 {
            let position = chunk.position(0);
            out.emit(chunk.file, selected).map_err(|error| position.error(&error))?;
        }
        Ok(lines)
    }
}

fn each_line(
    bytes: &[u8],
    range: Range<usize>,
    each: &mut impl FnMut(Range<usize>) -> Result<(), RecordError>,
) -> Result<(), RecordError> {
    crate::input::lines(&bytes[range.clone()])
        .try_for_each(|line| each(range.start + line.start..range.start + line.end))
}

fn count_lines(bytes: &[u8]) -> u64 {
    let unended = bytes.last().is_some_and(|last| *last != b'\n');
    memchr_iter(b'\n', bytes).count() as u64 + u64::from(unended)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ready::tests::run as run_job;

    const FILES: [(&str, &str); 3] =
        [("a.txt", "hay\noats\r\nHay bale\n"), ("b.txt", "rye\n"), ("c.txt", "straw\nno hay")];

    fn run(flags: &[&str]) -> String {
        run_job(&grep(), flags, &FILES)
    }

    #[test]
    fn matching_lines_with_their_places() {
        assert_eq!(run(&["^hay"]), "a.txt:0\thay\n");
        assert_eq!(run(&["HAY$", "-i"]), "a.txt:0\thay\nc.txt:6\tno hay\n");
        assert_eq!(run(&["a", "-v"]), "b.txt:0\trye\n");
        assert_eq!(run(&["--", "-w"]), "");
    }

    #[test]
    fn counts_name_every_file() {
        assert_eq!(run(&["hay", "--count"]), "a.txt\t1\nb.txt\t0\nc.txt\t1\n");
        assert_eq!(run(&["hay", "--count", "-v"]), "a.txt\t2\nb.txt\t1\nc.txt\t1\n");
    }

    #[test]
    fn a_bad_pattern_is_refused_when_the_job_is_built() {
        let params = r#"{"pattern":"(","ignore_case":false,"invert_match":false,"count":false}"#;
        let message = grep().build(params).err().unwrap().to_string();
        assert!(message.starts_with("job grep: bad pattern: regex parse error"), "{message}");
        assert!(message.ends_with("unclosed group"), "{message}");
    }

    /// The output of `map` for each line.
    fn line_by_line<M>(mapper: &M, chunk: &Chunk<'_>) -> Vec<(String, <M::Value as Value>::Owned)>
    where
        M: Mapper<Input = Located<LineBytes>, Key = str>,
    {
        let mut out = Vec::new();
        let format = Located(LineBytes);
        crate::input::Format::for_each(&format, chunk, |position, record| {
            mapper.map(record, &mut out).map_err(|error| position.error(&error))
        })
        .unwrap();
        out
    }

    proptest! {
        #[test]
        fn searching_the_buffer_finds_the_same_lines(
            text in "([ab \\r\\n]|\\r\\n|a\\n){0,30}",
            which in 0..PATTERNS.len(),
            invert: bool,
        ) {
            let pattern = || Pattern::new(PATTERNS[which], false).unwrap();
            let chunk = Chunk::new("hay.txt", text.as_bytes());
            let lines = crate::input::lines(text.as_bytes()).count() as u64;
            let plain = regex::bytes::Regex::new(PATTERNS[which]).unwrap();
            let expected: Vec<_> = crate::input::lines(text.as_bytes())
                .filter(|line| plain.is_match(&text.as_bytes()[line.clone()]) != invert)
                .map(|line| (format!("hay.txt:{}", line.start), text.as_bytes()[line].to_vec()))
                .collect();

            let mapper = MatchingLines { pattern: pattern(), invert };
            let mut found = Vec::new();
            prop_assert_eq!(mapper.map_chunk(&Located(LineBytes), &chunk, &mut found), Ok(lines));
            prop_assert_eq!(&found, &expected);
            prop_assert_eq!(line_by_line(&mapper, &chunk), found);

            let mapper = MatchCounts { pattern: pattern(), invert };
            let mut counts = Vec::new();
            prop_assert_eq!(mapper.map_chunk(&Located(LineBytes), &chunk, &mut counts), Ok(lines));
            let sum = |counts: &[(String, u64)]| counts.iter().map(|(_, n)| n).sum::<u64>();
            prop_assert_eq!(sum(&counts), expected.len() as u64);
            prop_assert_eq!(sum(&line_by_line(&mapper, &chunk)), expected.len() as u64);
        }
    }

    /// Patterns, some of which could match at or across line ends.
    const PATTERNS: [&str; 21] = [
        "",
        "a",
        "^",
        "$",
        "^$",
        "^a",
        "a$",
        r"\Aa",
        r"a\z",
        r"\s",
        r"\s$",
        r"a\s+b",
        "[^a]",
        "[^a]*$",
        r"\n",
        r"a\nb|b",
        r"(?s)a.b",
        r"(?-m:^b)",
        r"(?Rm)^b$",
        r"\r",
        r"\ba\b",
    ];
}
