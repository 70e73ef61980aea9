//! The expected answers, computed without any of Windrow's code.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// `word<TAB>count` lines, sorted by bytes, of all words between ASCII blanks.
pub fn count_words(files: &[PathBuf]) -> Vec<String> {
    let mut counts: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    for file in files {
        let bytes = fs::read(file).unwrap();
        for word in bytes.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()) {
            *counts.entry(word.to_vec()).or_default() += 1;
        }
    }
    let line = |(word, n): (&Vec<u8>, &u64)| format!("{}\t{n}", String::from_utf8_lossy(word));
    let mut lines: Vec<_> = counts.iter().map(line).collect();
    lines.sort();
    lines
}

/// The parts of an output by name. Asserts that nothing else is there except bad records.
pub fn read_parts(output: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut parts = BTreeMap::new();
    for entry in fs::read_dir(output).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name != "_SUCCESS" && name != "_bad-records" {
            assert!(name.starts_with("part-"), "{name} was left in the output");
            parts.insert(name, fs::read(path).unwrap());
        }
    }
    assert!(output.join("_SUCCESS").exists(), "no _SUCCESS in {}", output.display());
    parts
}

/// All lines of an output, sorted by bytes.
pub fn sorted_lines(output: &Path) -> Vec<String> {
    let mut lines: Vec<String> = read_parts(output)
        .values()
        .flat_map(|part| {
            String::from_utf8_lossy(part).lines().map(str::to_string).collect::<Vec<_>>()
        })
        .collect();
    lines.sort();
    lines
}
