//! `inverted-index`: the files in which each word occurs.

use crate::prelude::*;
use crate::scan;

/// Lists the files that contain each word. Words are those of `word-count`. Output:
/// `word<TAB>file,file,..`, with the distinct files sorted.
pub fn inverted_index() -> Job {
    Job::new("inverted-index", Occurrences)
        .about("List the files that each word occurs in")
        .combine(FileSets)
        .reduce(FileSets)
}

/// Separates the files of a set; no file name contains it.
const SEPARATOR: char = '\0';

struct Occurrences;

impl Mapper for Occurrences {
    type Input = Located<Line>;
    type Key = str;
    type Value = str;

    fn map(&self, line: LocatedRecord<'_, &str>, out: &mut impl Emit<str, str>) -> Result<()> {
        scan::words(line.record.as_bytes(), |word| out.emit(&line.record[word], line.file))
    }
}

/// Merges sets of files. A set is a string of its sorted files with separators between them.
struct FileSets;

/// A set, and the index at which its last file begins.
struct FileSet {
    files: String,
    last: usize,
    /// The memory of an earlier set, for the next union.
    spare: String,
}

impl FileSet {
    fn new(files: &str) -> Self {
        Self { files: files.to_string(), last: last_file(files), spare: String::new() }
    }
}

fn last_file(files: &str) -> usize {
    memchr::memrchr(SEPARATOR as u8, files.as_bytes()).map_or(0, |separator| separator + 1)
}

fn first_file(files: &str) -> &str {
    let end = memchr::memchr(SEPARATOR as u8, files.as_bytes()).unwrap_or(files.len());
    &files[..end]
}

impl Combiner<str> for FileSets {
    type Accumulator = FileSet;

    fn start(&self, files: &str) -> Result<FileSet> {
        Ok(FileSet::new(files))
    }

    fn restart(&self, set: &mut FileSet, files: &str) -> Result<()> {
        set.files.clear();
        set.files.push_str(files);
        set.last = last_file(files);
        Ok(())
    }

    fn add(&self, set: &mut FileSet, files: &str) -> Result<()> {
        let last = &set.files[set.last..];
        if last == files {
            // The same file again: nearly always the case.
        } else if last < first_file(files) {
            set.last = set.files.len() + 1 + last_file(files);
            set.files.push(SEPARATOR);
            set.files.push_str(files);
        } else {
            unite(&set.files, files, &mut set.spare);
            std::mem::swap(&mut set.files, &mut set.spare);
            set.last = last_file(&set.files);
        }
        Ok(())
    }

    fn heap_bytes(&self, set: &FileSet) -> usize {
        set.files.capacity() + set.spare.capacity()
    }

    fn finish<'a>(&self, set: &'a FileSet) -> &'a str {
        &set.files
    }
}

/// Makes `all` the union of two sets.
fn unite(one: &str, other: &str, all: &mut String) {
    all.clear();
    all.reserve(one.len() + 1 + other.len());
    let (mut one, mut other) = (Some(one), Some(other));
    loop {
        let next = match (one, other) {
            (Some(a), Some(b)) => first_file(a).min(first_file(b)),
            (Some(rest), None) | (None, Some(rest)) => rest,
            (None, None) => return,
        };
        for set in [&mut one, &mut other] {
            if let Some(files) = *set
                && (files == next || first_file(files) == next)
            {
                *set = files.get(next.len() + 1..);
            }
        }
        if !all.is_empty() {
            all.push(SEPARATOR);
        }
        all.push_str(next);
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
        let Some(first) = sets.next()? else { return Ok(()) };
        let mut set = self.start(first)?;
        while let Some(files) = sets.next()? {
            self.add(&mut set, files)?;
        }
        // In place, since both are ASCII: the bytes stay valid UTF-8.
        let mut files = set.files.into_bytes();
        files.iter_mut().filter(|byte| **byte == SEPARATOR as u8).for_each(|byte| *byte = b',');
        out.emit(word, simdutf8::basic::from_utf8(&files)?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing;

    fn all_united(sets: &[&str]) -> String {
        let mut set = FileSets.start(sets[0]).unwrap();
        for files in &sets[1..] {
            FileSets.add(&mut set, files).unwrap();
        }
        assert_eq!(set.last, last_file(&set.files));
        set.files
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
        assert_eq!(all_united(&sets), "a\0b\0c\0d");
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
                [left, right].into_iter().filter(|side| !side.is_empty()).map(all_united).collect();
            let grouped = all_united(&grouped.iter().map(String::as_str).collect::<Vec<_>>());
            files.sort();
            files.dedup();
            prop_assert_eq!(grouped, files.join("\0"));
        }
    }
}
