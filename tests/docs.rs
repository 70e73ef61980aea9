//! The examples in the documents are true. `tidy.rs` checks the paths that they name.

use std::fs;
use std::path::Path;

use libtest_mimic::Trial;

use crate::support::case;

pub fn tests() -> Vec<Trial> {
    vec![case("docs::readme_shows_the_example", readme_shows_the_example)]
}

/// The README's first program is the example without its header comment.
fn readme_shows_the_example() {
    let readme = read("README.md");
    let shown = readme.split("```rust\n").nth(1).unwrap().split("```").next().unwrap();
    let example = read("examples/word_count.rs");
    assert!(example.lines().count() <= 40, "the example is no longer short");
    let code: Vec<&str> = example.lines().skip_while(|line| !line.starts_with("use ")).collect();
    assert_eq!(shown.trim(), code.join("\n"));
}

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}
