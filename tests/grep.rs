//! grep finds the lines that a plain search finds, with their places.

use std::path::Path;

use libtest_mimic::Trial;

use crate::support::{Dir, Mode, books, both, read_parts};

pub fn tests() -> Vec<Trial> {
    let mut tests = both("grep::lines_with_places", lines_with_places);
    tests.extend(both("grep::counts_by_file", counts_by_file));
    tests
}

fn lines_with_places(mode: &Mode) {
    let dir = Dir::new();
    let output = dir.join("out");
    mode.run(
        ["grep", "th[ae]t?", "--split-size", "64KiB", "--output"]
            .map(String::from)
            .into_iter()
            .chain([output.display().to_string(), "--input".into()])
            .chain(books().iter().map(|book| book.display().to_string())),
    )
    .expect_code(0);
    // Map-only output is in input order, so the joined parts are what grep prints.
    let found: Vec<u8> = read_parts(&output).into_values().flatten().collect();
    let expected: String = books().iter().map(|book| plain_grep(book)).collect();
    assert_eq!(String::from_utf8(found).unwrap(), expected);
}

fn counts_by_file(mode: &Mode) {
    let dir = Dir::new();
    let a = dir.write("a.txt", "one\ntwo\none two\n");
    let b = dir.write("b.txt", "three\n");
    let output = dir.join("out");
    let arguments = ["grep", "one", "--count", "--reducers", "1", "--output"].map(String::from);
    let paths =
        [output.as_path(), Path::new("--input"), &a, &b].map(|path| path.display().to_string());
    mode.run(arguments.into_iter().chain(paths)).expect_code(0);
    let found: Vec<u8> = read_parts(&output).into_values().flatten().collect();
    let expected = format!("{}\t2\n{}\t0\n", a.display(), b.display());
    assert_eq!(String::from_utf8(found).unwrap(), expected);
}

/// The lines that contain "tha", "the", "that" or "thet", found without a regex engine.
fn plain_grep(book: &Path) -> String {
    let text = std::fs::read_to_string(book).unwrap();
    let mut offset = 0;
    let mut found = String::new();
    for line in text.split_inclusive('\n') {
        if line.contains("tha") || line.contains("the") {
            found +=
                &format!("{}:{offset}\t{}\n", book.display(), line.trim_end_matches(['\r', '\n']));
        }
        offset += line.len();
    }
    found
}
