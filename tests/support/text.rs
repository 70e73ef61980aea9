//! Text for the tests.

use std::path::{Path, PathBuf};

use super::{Dir, Random};

/// Real text: the *.txt files in the folder named by `WINDROW_TEST_TEXT`, or else this repository's
/// own documents.
pub fn books() -> Vec<PathBuf> {
    let (folder, extension) = match std::env::var_os("WINDROW_TEST_TEXT") {
        Some(folder) => (PathBuf::from(folder), "txt"),
        None => (PathBuf::from(env!("CARGO_MANIFEST_DIR")), "md"),
    };
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no *.{extension} in {}", folder.display());
    files
}

/// `files` files of exactly `bytes` bytes each, of words with uneven frequencies; deterministic.
pub fn generated_words(dir: &Dir, files: usize, bytes: usize) -> Vec<PathBuf> {
    (0..files)
        .map(|n| dir.write(Path::new("in").join(format!("{n:02}.txt")), words(n as u64, bytes)))
        .collect()
}

fn words(seed: u64, bytes: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut text = Vec::with_capacity(bytes + 16);
    while text.len() < bytes {
        let state = random.next();
        let rank = (state >> 40) % (1 + (state % 997));
        text.extend_from_slice(format!("word{rank}").as_bytes());
        text.push(if state.is_multiple_of(11) { b'\n' } else { b' ' });
    }
    text.truncate(bytes - 1);
    text.push(b'\n');
    text
}
