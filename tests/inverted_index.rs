//! The inverted index lists, for each word, all files that contain it.

use std::collections::{BTreeMap, BTreeSet};

use libtest_mimic::Trial;

use crate::support::{Dir, Mode, books, both, sorted_lines};

pub fn tests() -> Vec<Trial> {
    both("inverted_index::equals_a_plain_index", equals_a_plain_index)
}

fn equals_a_plain_index(mode: &Mode) {
    let dir = Dir::new();
    let output = dir.join("out");
    mode.run(
        ["inverted-index", "--split-size", "64KiB", "--output"]
            .map(String::from)
            .into_iter()
            .chain([output.display().to_string(), "--input".into()])
            .chain(books().iter().map(|book| book.display().to_string())),
    )
    .expect_code(0);
    assert_eq!(sorted_lines(&output), plain_index());
}

fn plain_index() -> Vec<String> {
    let mut index: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for book in books() {
        for word in std::fs::read_to_string(&book).unwrap().split_ascii_whitespace() {
            index.entry(word.to_string()).or_default().insert(book.display().to_string());
        }
    }
    let line = |(word, files): (String, BTreeSet<String>)| {
        format!("{word}\t{}", files.into_iter().collect::<Vec<_>>().join(","))
    };
    let mut lines: Vec<_> = index.into_iter().map(line).collect();
    lines.sort();
    lines
}
