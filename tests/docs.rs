//! What the documents show is true.

use std::fs;
use std::path::Path;

use libtest_mimic::Trial;

use crate::support::case;

pub fn tests() -> Vec<Trial> {
    vec![
        case("docs::readme_shows_the_example", readme_shows_the_example),
        case("docs::architecture_names_what_exists", architecture_names_what_exists),
    ]
}

/// The README's first program is the example, whole but for the comment at its top.
fn readme_shows_the_example() {
    let readme = read("README.md");
    let shown = readme.split("```rust\n").nth(1).unwrap().split("```").next().unwrap();
    let example = read("examples/word_count.rs");
    assert!(example.lines().count() <= 40, "the example is no longer short");
    let code: Vec<&str> = example.lines().skip_while(|line| !line.starts_with("use ")).collect();
    assert_eq!(shown.trim(), code.join("\n"));
}

/// Every path that the page names exists: from the repository's root, or below the part that the
/// text is about.
fn architecture_names_what_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    collect_paths(root, root, &mut files);
    let page = read("ARCHITECTURE.md");
    let named: Vec<String> = paths_named_in(&page).flat_map(|path| alternatives(&path)).collect();
    assert!(named.len() >= 80, "{named:?}");
    for path in named {
        let tail = format!("/{path}");
        let exists = files.iter().any(|file| *file == path || file.ends_with(&tail));
        assert!(exists, "ARCHITECTURE.md names {path}, which does not exist");
    }
}

/// What is set as code and looks like a path: `a/b`, `a/`, `a.rs`. Drawings are no text.
fn paths_named_in(page: &str) -> impl Iterator<Item = String> {
    let text: String = page.split("```").step_by(2).collect();
    let is_of_path =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_./{},-".contains(c);
    let codes: Vec<String> = text.split('`').skip(1).step_by(2).map(str::to_string).collect();
    let is_path = move |code: &String| {
        let has_sign = code.contains('/') || code.ends_with(".rs");
        has_sign && code.chars().all(is_of_path) && !code.starts_with('/')
    };
    codes.into_iter().filter(is_path).map(|path| path.trim_matches('/').to_string())
}

/// `a/{b,c}.rs` are two paths.
fn alternatives(path: &str) -> Vec<String> {
    let Some((before, rest)) = path.split_once('{') else { return vec![path.to_string()] };
    let (inside, after) = rest.split_once('}').unwrap();
    inside.split(',').flat_map(|one| alternatives(&format!("{before}{one}{after}"))).collect()
}

/// All files and folders below `folder`, from `root` on, but what is built or hidden.
fn collect_paths(root: &Path, folder: &Path, paths: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
        if name == "target" || name.starts_with('.') {
            continue;
        }
        paths.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_string());
        if entry.file_type().unwrap().is_dir() {
            collect_paths(root, &path, paths);
        }
    }
}

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}
