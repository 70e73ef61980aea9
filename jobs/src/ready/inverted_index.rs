//! `inverted-index`: the files that each word occurs in.

use std::collections::BTreeSet;

use hashbrown::HashSet;

use crate::input::{Chunk, Format, RecordError, lines};
use crate::prelude::*;

/// Lists, for each word, the files that hold it. Words are those of `word-count`. Output:
/// `word<TAB>file,file,..`, the files sorted, each once.
pub fn inverted_index() -> Job {
    Job::new("inverted-index", Occurrences)
        .about("List the files that each word occurs in")
        .combine(FileSets)
        .reduce(FileSets)
}

/// Stands between the files of a set; no file name holds it.
const SEPARATOR: char = '\0';

struct Occurrences;

impl Mapper for Occurrences {
    type Input = Located<Line>;
    type Key = str;
    type Value = str;

    fn map(&self, line: LocatedRecord<'_, &str>, out: &mut impl Emit<str, str>) -> Result<()> {
        for word in line.record.split_ascii_whitespace() {
            out.emit(word, line.file)?;
        }
        Ok(())
    }

    /// Most words occur many times in a file: each is emitted once a chunk.
    fn map_chunk(
        &self,
        format: &Located<Line>,
        chunk: &Chunk<'_>,
        out: &mut impl Emit<str, str>,
    ) -> Result<u64, RecordError> {
        let chunk = &chunk.without_mark();
        let mut records = 0;
        let Ok(text) = simdutf8::basic::from_utf8(chunk.bytes) else {
            format.for_each(chunk, |position, line| {
                records += 1;
                self.map(line, out).map_err(|error| position.error(&error))
            })?;
            return Ok(records);
        };
        let mut seen = HashSet::with_hasher(foldhash::fast::RandomState::default());
        for word in text.split_ascii_whitespace() {
            if seen.insert(word) {
                out.emit(word, chunk.file).map_err(|error| chunk.position(0).error(&error))?;
            }
        }
        Ok(lines(chunk.bytes).count() as u64)
    }
}

/// Unites sets of files. A set is a string: its files in order, with separators between them.
struct FileSets;

impl Combiner<str> for FileSets {
    type Accumulator = String;

    fn start(&self, files: &str) -> Result<String> {
        Ok(files.to_string())
    }

    fn add(&self, set: &mut String, files: &str) -> Result<()> {
        let last = set.rsplit(SEPARATOR).next().unwrap_or_default();
        if last == files {
            // The same file again, as nearly always.
        } else if last < files.split(SEPARATOR).next().unwrap_or_default() {
            set.push(SEPARATOR);
            set.push_str(files);
        } else {
            let united: BTreeSet<_> = set.split(SEPARATOR).chain(files.split(SEPARATOR)).collect();
            *set = join(united, "\0");
        }
        Ok(())
    }

    fn heap_bytes(&self, set: &String) -> usize {
        set.capacity()
    }

    fn finish<'a>(&self, set: &'a String) -> &'a str {
        set
    }
}

impl Reducer<str, str> for FileSets {
    type OutputKey = str;
    type OutputValue = str;

    fn reduce(
        &self,
        word: &str,
        sets: &mut Values<'_, str>,
        out: &mut impl Emit<str, str>,
    ) -> Result<()> {
        let mut files = BTreeSet::new();
        while let Some(set) = sets.next()? {
            for file in set.split(SEPARATOR) {
                if !files.contains(file) {
                    files.insert(file.to_string());
                }
            }
        }
        out.emit(word, &join(files, ","))
    }
}

fn join<S: AsRef<str>>(files: BTreeSet<S>, separator: &str) -> String {
    let mut text = String::new();
    for file in files {
        if !text.is_empty() {
            text.push_str(separator);
        }
        text.push_str(file.as_ref());
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing;

    fn united(sets: &[&str]) -> String {
        let mut set = FileSets.start(sets[0]).unwrap();
        for files in &sets[1..] {
            FileSets.add(&mut set, files).unwrap();
        }
        set
    }

    #[test]
    fn each_word_names_its_files_once_and_sorted() {
        let files = [("b.txt", "hay hay\nrye"), ("a.txt", "hay"), ("b.txt", "oats hay")];
        let text = testing::run(&inverted_index(), "{}", &files).unwrap();
        assert_eq!(text, "hay\ta.txt,b.txt\noats\tb.txt\nrye\tb.txt\n");
    }

    #[test]
    fn reducing_equals_combining_first() {
        let sets = ["b\0d", "a\0b", "c"];
        let reduced = testing::reduce(&FileSets, "hay", sets).unwrap();
        assert_eq!(reduced, [("hay".into(), "a,b,c,d".into())]);
        assert_eq!(united(&sets), "a\0b\0c\0d");
    }

    proptest! {
        #[test]
        fn order_and_grouping_do_not_matter(
            mut files in proptest::collection::vec("[a-c]{1,2}", 1..8),
            cut: prop::sample::Index,
        ) {
            let all: Vec<_> = files.iter().map(String::as_str).collect();
            let (left, right) = all.split_at(cut.index(all.len()));
            let grouped: Vec<_> =
                [left, right].into_iter().filter(|side| !side.is_empty()).map(united).collect();
            let grouped = united(&grouped.iter().map(String::as_str).collect::<Vec<_>>());
            files.sort();
            files.dedup();
            prop_assert_eq!(grouped, files.join("\0"));
        }
    }
}
