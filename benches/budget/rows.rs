//! The rows: memory-hungry jobs, and the budgets within which they must work.

use super::inputs::Input;

/// The program that runs the job.
#[derive(Clone, Copy)]
pub enum Program {
    Windrow,
    /// This program, with a job without a combiner.
    OwnJobs,
}

/// The expected answer.
#[derive(Clone, Copy)]
pub enum Expected {
    /// This many lines of output for the full input.
    Lines(u64),
    /// This many lines of output for any size of input.
    Always(u64),
    /// The same answer with all budgets.
    Same,
    /// A failure with this message.
    Refusal(&'static str),
}

impl Expected {
    pub fn lines(self, parts: u64) -> Option<u64> {
        match self {
            Self::Lines(lines) => Some(lines / parts),
            Self::Always(lines) => Some(lines),
            Self::Same | Self::Refusal(_) => None,
        }
    }
}

/// A job and its input.
pub struct Row {
    pub name: &'static str,
    pub input: Input,
    pub program: Program,
    pub arguments: &'static [&'static str],
    pub expected: Expected,
    pub budgets_mib: &'static [u64],
}

const ONE_WORD: Input = Input::OneWord { lines: 100_000_000 };
const LARGE: Input = Input::LargeLines { lines: 32, bytes: 60 << 20 };
const FILES: Input = Input::SmallFiles { files: 100_000 };
const TEXT: Input = Input::Generated("zipf", 1 << 30);
const ONE_LINE: Input = Input::OneLine { bytes: 1 << 30 };
const USUAL_MIB: &[u64] = &[128, 256, 512];

const fn row(
    name: &'static str,
    input: Input,
    arguments: &'static [&'static str],
    expected: Expected,
    budgets_mib: &'static [u64],
) -> Row {
    Row { name, input, program: Program::Windrow, arguments, expected, budgets_mib }
}

pub static ROWS: [Row; 16] = [
    row(
        "distinct-keys",
        Input::DistinctWords { words: 10_000_000 },
        &["word-count"],
        Expected::Lines(10_000_000),
        USUAL_MIB,
    ),
    row("one-key-word-count", ONE_WORD, &["word-count"], Expected::Always(1), USUAL_MIB),
    row(
        "one-key-count",
        ONE_WORD,
        &["count", "--by", "1", "--header", "false"],
        Expected::Always(1),
        USUAL_MIB,
    ),
    row("one-key-sort", ONE_WORD, &["sort"], Expected::Lines(100_000_000), USUAL_MIB),
    Row {
        program: Program::OwnJobs,
        ..row("one-key-uncombined", ONE_WORD, &["tally"], Expected::Always(1), USUAL_MIB)
    },
    row(
        "large-values-sort",
        LARGE,
        &["sort", "--max-record-size", "128MiB"],
        Expected::Lines(32),
        &[256, 512],
    ),
    row(
        "large-values-dedup",
        LARGE,
        &["dedup", "--max-record-size", "128MiB"],
        Expected::Lines(32),
        &[256, 512],
    ),
    row("small-files-count", FILES, &["word-count"], Expected::Same, USUAL_MIB),
    row("small-files-grep", FILES, &["grep", "w77"], Expected::Same, USUAL_MIB),
    row(
        "reducers-word-count",
        TEXT,
        &["word-count", "--reducers", "2000"],
        Expected::Same,
        &[128, 256],
    ),
    row("reducers-sort", TEXT, &["sort", "--reducers", "2000"], Expected::Same, &[128, 256]),
    row(
        "long-line-refused",
        ONE_LINE,
        &["word-count"],
        Expected::Refusal("--max-record-size"),
        &[128],
    ),
    row(
        "long-line-count",
        ONE_LINE,
        &["word-count", "--max-record-size", "2GiB"],
        Expected::Same,
        &[1536, 2048],
    ),
    row(
        "long-line-grep",
        ONE_LINE,
        &["grep", "w77", "--max-record-size", "2GiB", "--count"],
        Expected::Same,
        &[2560],
    ),
    row(
        "sort-records",
        Input::Generated("records", 2_000_000_000),
        &["sort", "--record-bytes", "100", "--key-bytes", "0..10"],
        Expected::Same,
        USUAL_MIB,
    ),
    row("sort-lines", TEXT, &["sort"], Expected::Same, USUAL_MIB),
];
