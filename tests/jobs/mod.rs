//! Jobs that misbehave or wait on purpose, or show one feature of the engine. Linked into the test
//! binary only.

pub mod blocks;
mod clinging;
mod crash;
pub mod deadly;
mod documents;
pub mod framed;
mod gated;
mod hanging_sort;
pub mod hoard;
mod orderly;
mod picky;
mod reach;
#[path = "../../examples/stop_words.rs"]
mod stop_words;
pub mod swell;
mod tally;
mod trouble;

use std::path::{Path, PathBuf};
use std::time::Duration;

use windrow::prelude::Job;

/// Flags of test jobs that name a folder or file to which they write besides their output.
pub const WRITES: [&str; 4] = ["--gates", "--marks", "--runs", "--once"];

pub fn all() -> Vec<Job> {
    vec![
        blocks::reader(),
        blocks::writer(),
        clinging::job(),
        crash::job(),
        deadly::job(),
        documents::job(),
        framed::job(),
        gated::job(),
        hanging_sort::job(),
        hoard::job(),
        orderly::paired(),
        orderly::sorted_lines(),
        picky::job(),
        reach::job(),
        stop_words::job(),
        swell::job(),
        tally::job(),
        trouble::job(),
    ]
}

/// Creates the empty file `name` in `folder`.
fn mark(folder: &Path, name: &str) {
    std::fs::write(folder.join(name), "").unwrap();
}

/// Waits until one of these files exists. The test bounds the time.
fn wait_for_any(paths: &[PathBuf]) {
    while !paths.iter().any(|path| path.exists()) {
        std::thread::park_timeout(Duration::from_millis(2));
    }
}
