//! `grep`: the lines that match a regular expression, or their number per file.

use regex::bytes::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

use crate::prelude::*;

/// Finds lines by a regular expression, whatever bytes they hold. Output, in input order: `file:offset<TAB>line`; with
/// `--count`, for every file that is not empty: `file<TAB>number of matching lines`.
pub fn grep() -> Job {
    Job::with_params("grep", |params: &Params| {
        let lines = Matcher::new(params)?;
        Ok(if params.count {
            Job::new("grep", MatchCounts(lines)).combine(Sum).reduce(Sum)
        } else {
            Job::new("grep", MatchingLines(lines)).map_only()
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

struct Matcher {
    regex: Regex,
    invert: bool,
}

impl Matcher {
    fn new(params: &Params) -> Result<Self> {
        let regex = RegexBuilder::new(&params.pattern)
            .case_insensitive(params.ignore_case)
            .build()
            .map_err(|error| Error::new(format!("bad pattern: {error}")))?;
        Ok(Self { regex, invert: params.invert_match })
    }

    fn selects(&self, line: &[u8]) -> bool {
        self.regex.is_match(line) != self.invert
    }
}

struct MatchingLines(Matcher);

impl Mapper for MatchingLines {
    type Input = Located<LineBytes>;
    type Key = str;
    type Value = [u8];

    fn map(&self, line: LocatedRecord<'_, &[u8]>, out: &mut impl Emit<str, [u8]>) -> Result<()> {
        if self.0.selects(line.record) {
            out.emit(&format!("{}:{}", line.file, line.offset), line.record)?;
        }
        Ok(())
    }
}

struct MatchCounts(Matcher);

impl Mapper for MatchCounts {
    type Input = Located<LineBytes>;
    type Key = str;
    type Value = u64;

    fn map(&self, line: LocatedRecord<'_, &[u8]>, out: &mut impl Emit<str, u64>) -> Result<()> {
        let selected = self.0.selects(line.record);
        // The first line speaks for its file even if nothing in it matches.
        if selected || line.offset == 0 {
            out.emit(line.file, u64::from(selected))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::*;
    use crate::testing;

    const FILES: [(&str, &str); 3] =
        [("a.txt", "hay\noats\r\nHay bale\n"), ("b.txt", "rye\n"), ("c.txt", "straw\nno hay")];

    fn run(flags: &[&str]) -> String {
        let job = grep();
        let command = job.augment_args(Command::new("grep").no_binary_name(true));
        let params = job.params_from_args(&command.try_get_matches_from(flags).unwrap()).unwrap();
        testing::run(&job, &params, &FILES).unwrap()
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
}
