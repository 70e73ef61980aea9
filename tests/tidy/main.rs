//! Rules of this repository that no compiler checks. Each rule is a function that lists violations:
//! none in this repository, and some in a sample that breaks the rule.

// A missing file or invalid text fails the test, as it should.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

mod public_types;

/// Most lines of a source file, tests included.
const LINES_MAX: usize = 500;
const COLUMNS_MAX: usize = 100;
/// Most lines of a function, as in `clippy.toml`.
const FUNCTION_LINES_MAX: usize = 70;

/// Modules for tests only.
const OF_TESTS: [&str; 3] = ["tests", "testing", "simulation"];

/// Folders that are not checked.
const SKIPPED: [&str; 3] = ["target", ".git", "generated"];

/// A text file with its path in the repository.
struct File {
    path: String,
    text: String,
}

impl File {
    fn of(path: &str, text: &str) -> Self {
        Self { path: path.to_string(), text: text.to_string() }
    }

    /// Its lines with their places.
    fn lines(&self) -> impl Iterator<Item = (String, &str)> {
        let place = |(n, line)| (format!("{}:{}", self.path, n + 1), line);
        self.text.lines().enumerate().map(place)
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All files with one of these extensions.
fn files(endings: &[&str]) -> Vec<File> {
    let (mut files, mut folders) = (Vec::new(), vec![root()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && !SKIPPED.contains(&name) {
                folders.push(path);
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(root()).unwrap().to_str().unwrap().to_string();
                files.push(File { path, text });
            }
        }
    }
    assert!(!files.is_empty());
    files
}

fn sources() -> Vec<File> {
    files(&[".rs"])
}

/// The crates in order: each may depend only on those to its left.
const ORDER: [&str; 8] = [
    "windrow-model",
    "windrow-jobs",
    "windrow-proto",
    "windrow-security",
    "windrow-scheduler",
    "windrow-coordinator",
    "windrow-worker",
    "windrow",
];

/// All that the scheduler may depend on.
const OF_SCHEDULER: [&str; 1] = ["windrow-model"];

fn arrows_upwards(manifests: &[File]) -> Vec<String> {
    let mut broken = Vec::new();
    for file in manifests {
        let all = file.text.split("\n[").find(|section| section.starts_with("dependencies]\n"));
        let name = file.text.lines().find_map(|line| line.strip_prefix("name = \""));
        let name = name.map_or("", |name| name.trim_end_matches('"'));
        let Some(own) = ORDER.iter().position(|part| *part == name) else { continue };
        for line in all.unwrap_or_default().lines().filter(|line| line.starts_with("windrow")) {
            let part = line.split(['.', ' ']).next().unwrap();
            let place = ORDER.iter().position(|known| *known == part);
            let is_brain = name == "windrow-scheduler" && !OF_SCHEDULER.contains(&part);
            if place.is_none_or(|place| place >= own) || is_brain {
                broken.push(format!("{name} -> {part}"));
            }
        }
    }
    broken
}

#[test]
fn parts_depend_on_those_below() {
    let manifests = files(&["Cargo.toml"]);
    assert_eq!(arrows_upwards(&manifests), [""; 0]);
    let named = |part: &str| format!("name = \"{part}\"");
    for part in ORDER {
        assert!(manifests.iter().any(|file| file.text.contains(&named(part))), "{part}");
    }
    let broken = [
        "[package]\nname = \"windrow-jobs\"\n\n[dependencies]\nwindrow-worker.workspace = true\n",
        "[package]\nname = \"windrow-scheduler\"\n\n[dependencies]\nwindrow-jobs = { path = \"\" }\n",
    ];
    let broken = broken.map(|text| File::of("Cargo.toml", text));
    let arrows = ["windrow-jobs -> windrow-worker", "windrow-scheduler -> windrow-jobs"];
    assert_eq!(arrows_upwards(&broken), arrows);
}

/// The modules at the root of each crate, or of a large module, leaf first: each may use those
/// before it, and no others.
const ROOMS: [(&str, &str); 7] = [
    (
        "model/src",
        "audit checksum counters error ids isolation one_line system_error location version sample part failure \
         bad_records blob fan_in spec",
    ),
    (
        "jobs/src",
        "text copied_views varint prefetch side_files counters scan key value emit combiner \
         grouping input mapper output user_code pairs partitioning reducer reducers collect \
         program job prelude ready fuzzing",
    ),
    (
        "coordinator/scheduler/src",
        "config hash time event effect view worker transition quarantine journal job membership \
         placement scheduler decider invariants",
    ),
    (
        "coordinator/scheduler/src/job",
        "tally blame stage submitters bad_records audit clocks death attempt loss inventory view jobs \
         publication",
    ),
    (
        "coordinator/src",
        "failpoint folder hanging parallel_io submitter explain claims plan journal logs blobs \
         output driver audit security rpc config coordinator fuzzing",
    ),
    (
        "worker/src",
        "sync files memory cgroup orphans identity connector channel model input parts wire breadcrumb blobs shuffle \
         task sample executor child agent fuzzing",
    ),
    ("src", "executable client shipping submission embedded job_process cli fuzzing"),
];

/// The modules of a crate in relation to a file: the one that it belongs to, and those that it
/// uses, also through names that `lib.rs` exports.
fn rooms_named(
    file: &File,
    root: &str,
    names: &[(String, String)],
) -> Option<(String, Vec<String>)> {
    let path: Vec<&str> = file.path.strip_prefix(root)?.strip_prefix('/')?.split('/').collect();
    let stems = || path.iter().map(|part| part.trim_end_matches(".rs"));
    let own = stems().next().filter(|own| !["lib", "main", "mod"].contains(own))?;
    if stems().any(|part| OF_TESTS.contains(&part)) {
        return None;
    }
    let code = production_code(&file.text);
    let within = root.split_once("/src/").map(|(_, within)| within.replace('/', "::") + "::");
    let mut named = paths_behind(&code, &format!("crate::{}", within.unwrap_or_default()));
    if path.len() == 1 || path[1] == "mod.rs" {
        named.extend(paths_behind(&code, "super::"));
    }
    let room = |name: String| match names.iter().find(|(known, _)| *known == name) {
        Some((_, room)) => room.clone(),
        None => name,
    };
    Some((own.to_string(), named.into_iter().map(room).collect()))
}

/// The code without comments, and without tests: their `use`s, and the module at the end.
fn production_code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code = code.collect::<Vec<_>>().join("\n");
    let mut parts = code.split("#[cfg(test)]\n");
    let first = parts.next().unwrap_or_default().to_string();
    parts.fold(first, |code, part| match part.trim_start().starts_with("use ") {
        true => code + part.split_once(';').map_or("", |(_, behind)| behind),
        false => code + part,
    })
}

/// The first names after each `start` of a path, also several in braces.
fn paths_behind(code: &str, start: &str) -> Vec<String> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let word = |text: &str| text.chars().take_while(|c| is_word(*c)).collect::<String>();
    let mut paths = Vec::new();
    for (at, _) in code.match_indices(start) {
        if code[..at].ends_with(|c| is_word(c) || c == ':') {
            continue;
        }
        let Some(group) = code[at + start.len()..].strip_prefix('{') else {
            paths.push(word(&code[at + start.len()..]));
            continue;
        };
        let (mut depth, mut is_first) = (1, true);
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => is_first = true,
                c if is_first && is_word(c) => {
                    paths.push(word(&group[at..]));
                    is_first = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    paths
}

/// The names that `lib.rs` exports, with their modules.
fn names_of_root(lib: &str, rooms: &[&str]) -> Vec<(String, String)> {
    let mut names = Vec::new();
    for (at, _) in lib.match_indices("use ") {
        let path = lib[at + 4..].split(';').next().unwrap_or_default();
        let Some((room, rest)) = path.split_once("::").filter(|(room, _)| rooms.contains(room))
        else {
            continue;
        };
        let words = rest.split(|c: char| !c.is_alphanumeric() && c != '_');
        let words = words.filter(|word| !word.is_empty());
        names.extend(words.map(|word| (word.to_string(), room.to_string())));
    }
    names
}

fn rooms_out_of_order(files: &[File], root: &str, order: &[&str]) -> Vec<String> {
    let is_lib =
        |file: &&File| ["lib.rs", "mod.rs"].map(|lib| format!("{root}/{lib}")).contains(&file.path);
    let lib = files.iter().find(is_lib);
    let names = names_of_root(lib.map_or("", |file| &file.text), order);
    let rank = |room: &str| order.iter().position(|known| *known == room);
    let mut broken = Vec::new();
    let mut seen = BTreeSet::new();
    for file in files {
        let Some((own, named)) = rooms_named(file, root, &names) else { continue };
        match rank(&own) {
            None => broken.push(format!("{}: not in the order of {root}", file.path)),
            Some(own) => broken.extend(
                named
                    .iter()
                    .filter(|room| rank(room).is_some_and(|room| room > own))
                    .map(|room| format!("{} -> {room}", file.path)),
            ),
        }
        seen.insert(own);
    }
    let gone = order.iter().filter(|room| !seen.contains(**room));
    broken.extend(gone.map(|room| format!("{root}: there is no {room}")));
    broken
}

#[test]
fn rooms_name_those_below_them() {
    let sources = sources();
    for (root, order) in ROOMS {
        let order: Vec<_> = order.split_whitespace().collect();
        assert_eq!(rooms_out_of_order(&sources, root, &order), [""; 0]);
    }
    let broken = [
        File::of("a/lib.rs", "pub use top::{Roof, Tile};"),
        File::of("a/low/mod.rs", "use crate::{\n    low::x::{self, top},\n    Roof,\n};"),
        File::of("a/low/deep.rs", "/// crate::top\nfn f() { super::top(); crate::top::g() }"),
        File::of("a/middle.rs", "use super::top;\n#[cfg(test)]\nuse crate::top;\nuse crate::low;"),
        File::of("a/top.rs", "use crate::{low, middle};"),
        File::of("a/top/tests.rs", "use crate::attic;"),
        File::of("a/attic.rs", "#[cfg(test)]\nmod tests {\n    use crate::top;\n}"),
    ];
    let expected = [
        "a/low/mod.rs -> top",
        "a/low/deep.rs -> top",
        "a/middle.rs -> top",
        "a/attic.rs: not in the order of a",
        "a: there is no cellar",
    ];
    let order = ["cellar", "low", "middle", "top"];
    assert_eq!(rooms_out_of_order(&broken, "a", &order), expected);
}

fn long_files(files: &[File]) -> Vec<String> {
    let lines = |file: &File| file.text.lines().count();
    let long = files.iter().filter(|file| lines(file) > LINES_MAX);
    long.map(|file| format!("{}: {} lines", file.path, lines(file))).collect()
}

#[test]
fn files_are_short() {
    assert_eq!(long_files(&sources()), [""; 0]);
    assert_eq!(long_files(&[File::of("a.rs", &"\n".repeat(LINES_MAX + 1))]).len(), 1);
}

/// Places where the lint on the length of functions is off, or has another limit.
fn long_functions(files: &[File]) -> Vec<String> {
    let mut broken = Vec::new();
    let limit = format!("too-many-lines-threshold = {FUNCTION_LINES_MAX}");
    for file in files {
        match &*file.path {
            "clippy.toml" if !file.text.lines().any(|line| line == limit) => {
                broken.push(format!("no {limit}"));
            }
            "Cargo.toml" if !file.text.contains("too_many_lines = \"warn\"") => {
                broken.push("the lint too_many_lines is off".to_string());
            }
            path if path.ends_with("Cargo.toml")
                && path != "Cargo.toml"
                && !file.text.contains("[lints]\nworkspace = true") =>
            {
                broken.push(format!("{path}: other lints than the workspace's"));
            }
            _ => {}
        }
        // The first has generated code; the second names the lint here.
        if ["proto/src/lib.rs", "tests/tidy/main.rs"].contains(&&*file.path) {
            continue;
        }
        let allows = |line: &str| line.contains("allow(") && line.contains("too_many_lines");
        broken.extend(file.lines().filter(|(_, line)| allows(line)).map(|(place, _)| place));
    }
    broken
}

#[test]
fn functions_are_short() {
    assert_eq!(long_functions(&files(&[".rs", "Cargo.toml", "clippy.toml"])), [""; 0]);
    let broken = [
        File::of("clippy.toml", "too-many-lines-threshold = 700"),
        File::of("Cargo.toml", "too_many_lines = \"allow\""),
        File::of("jobs/Cargo.toml", "[lints.clippy]"),
        File::of("a.rs", "#[allow(clippy::too_many_lines)]"),
    ];
    assert_eq!(long_functions(&broken).len(), 4);
}

fn wide_comments(files: &[File]) -> Vec<String> {
    let is_comment = |line: &str| line.trim_start().starts_with("//");
    let is_wide = |line: &str| is_comment(line) && line.chars().count() > COLUMNS_MAX;
    let all = files.iter().flat_map(File::lines);
    all.filter(|(_, line)| is_wide(line)).map(|(place, _)| place).collect()
}

#[test]
fn comments_are_narrow() {
    assert_eq!(wide_comments(&sources()), [""; 0]);
    let wide = format!("    /// {}\nlet code = \"{}\";", "x".repeat(93), "x".repeat(100));
    assert_eq!(wide_comments(&[File::of("a.rs", &wide)]), ["a.rs:1"]);
}

/// Comments that refer to another comment instead of saying what they mean.
fn empty_comments(files: &[File]) -> Vec<String> {
    let says_nothing = |line: &str| {
        let text = line.trim_start().trim_start_matches('/').trim();
        line.trim_start().starts_with("///") && ["Likewise.", "The same."].contains(&text)
    };
    let all = files.iter().flat_map(File::lines);
    all.filter(|(_, line)| says_nothing(line)).map(|(place, _)| place).collect()
}

#[test]
fn comments_say_what_they_mean() {
    assert_eq!(empty_comments(&sources()), [""; 0]);
    let empty = "/// Likewise.\n/// Likewise, one that is longer.\n    /// The same.\n";
    assert_eq!(empty_comments(&[File::of("a.rs", empty)]), ["a.rs:1", "a.rs:3"]);
}

/// A module with submodules is a folder with `mod.rs`, never a file beside its folder.
fn modules_beside_folders(files: &[File]) -> Vec<String> {
    let folders: BTreeSet<&str> =
        files.iter().filter_map(|file| Some(file.path.rsplit_once('/')?.0)).collect();
    let is_beside =
        |file: &&File| file.path.strip_suffix(".rs").is_some_and(|stem| folders.contains(stem));
    files.iter().filter(is_beside).map(|file| file.path.clone()).collect()
}

#[test]
fn modules_have_one_style() {
    assert_eq!(modules_beside_folders(&sources()), [""; 0]);
    let both = ["a/b.rs", "a/b/c.rs", "a/d/mod.rs", "a/d/e.rs"].map(|path| File::of(path, ""));
    assert_eq!(modules_beside_folders(&both), ["a/b.rs"]);
}

/// Code for fuzzing only is behind the feature `fuzzing`.
fn fuzzing_for_all(files: &[File]) -> Vec<String> {
    let mut open = Vec::new();
    for file in files {
        let lines: Vec<_> = file.lines().collect();
        for (n, (place, line)) in lines.iter().enumerate() {
            let condition = lines[n.saturating_sub(2)..n].iter().map(|(_, line)| line.trim());
            if line.ends_with("mod fuzzing;") && !condition.into_iter().any(|line| line == BEHIND) {
                open.push(place.clone());
            }
        }
    }
    open
}

const BEHIND: &str = "#[cfg(any(test, feature = \"fuzzing\"))]";

#[test]
fn fuzzing_is_behind_a_feature() {
    assert_eq!(fuzzing_for_all(&sources()), [""; 0]);
    let text = format!("{BEHIND}\npub mod fuzzing;\n\n#[doc(hidden)]\npub mod fuzzing;\n");
    assert_eq!(fuzzing_for_all(&[File::of("a.rs", &text)]), ["a.rs:5"]);
}

/// Code for tests only has a name that says so.
fn hidden_tests(files: &[File]) -> Vec<String> {
    let mut hidden = Vec::new();
    for file in files {
        let lines: Vec<_> = file.lines().collect();
        for pair in lines.windows(2) {
            let [(_, condition), (place, declaration)] = pair else { continue };
            let name = declaration.trim_start().strip_prefix("pub(crate) ");
            let name = name.unwrap_or(declaration.trim_start()).strip_prefix("mod ");
            if condition.trim() != "#[cfg(test)]" {
                continue;
            }
            let name = name.map(|name| name.trim_end_matches([';', ' ', '{']));
            if name.is_some_and(|name| !OF_TESTS.contains(&name)) {
                hidden.push(place.clone());
            }
        }
    }
    hidden
}

#[test]
fn files_of_tests_are_named_so() {
    assert_eq!(hidden_tests(&sources()), [""; 0]);
    let hidden = "#[cfg(test)]\nmod sizes;\n#[cfg(test)]\nmod tests;\n#[cfg(test)]\nuse a::b;\n";
    assert_eq!(hidden_tests(&[File::of("a.rs", hidden)]), ["a.rs:2"]);
}

/// Paths in backticks that look like sources, but do not exist. A document may omit the first
/// folders of a path.
fn missing_paths(text: &str, paths: &BTreeSet<String>) -> Vec<String> {
    let quoted = text.split('`').skip(1).step_by(2);
    let is_path = |text: &&str| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
        let is_source = text.ends_with(".rs") || text.ends_with(".proto");
        (is_source || (text.ends_with('/') && text.matches('/').count() > 1))
            && text.chars().all(is_plain)
    };
    let is_there = |path: &str| {
        let end = path.trim_end_matches('/');
        paths.contains(end) || paths.iter().any(|known| known.ends_with(&format!("/{end}")))
    };
    quoted.filter(is_path).filter(|path| !is_there(path)).map(str::to_string).collect()
}

#[test]
fn paths_in_documents_exist() {
    let mut paths = BTreeSet::new();
    for file in files(&[".rs", ".proto"]) {
        let path = Path::new(&file.path);
        paths.extend(path.ancestors().map(|above| above.to_str().unwrap().to_string()));
    }
    let pages = files(&[".md"]).into_iter().filter(|file| file.path != "CHANGELOG.md");
    let missing = pages.flat_map(|page| {
        let missing = missing_paths(&page.text, &paths);
        missing.into_iter().map(move |path| format!("{}: {path}", page.path))
    });
    assert_eq!(missing.collect::<Vec<_>>(), [""; 0]);
    let text = "`tests/tidy/main.rs`, `main.rs`, `tests/no.rs`, `a/b/no/`, `cargo test`";
    assert_eq!(missing_paths(text, &paths), ["tests/no.rs", "a/b/no/"]);
}
