//! The public types that may grow without breaking a user's code.

use std::collections::BTreeSet;

use super::{File, sources};

/// Types that stay exhaustive, since nothing can ever be added to them, with the reason.
const CLOSED: [(&str, &str); 1] =
    [("Death", "a process ends by a signal or by an exit, and the system knows no third way")];

/// The crates whose types `windrow` exports.
const EXPORTED: [&str; 2] = ["jobs/src/", "model/src/"];

/// The names that `windrow` exports, modules among them.
fn exported(lib: &str) -> BTreeSet<&str> {
    let uses = lib.split(';').filter_map(|part| part.split_once("pub use windrow_jobs::"));
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let words = uses.flat_map(|(_, names)| names.split(move |c| !is_word(c)));
    words.filter(|word| !word.is_empty()).collect()
}

/// The types in `file` that users can name, and that break their code when they grow: enums, and
/// structs all of whose fields are public, without `#[non_exhaustive]`.
fn brittle_types(file: &File, exported: &BTreeSet<&str>) -> Vec<String> {
    let Some(path) = EXPORTED.iter().find_map(|root| file.path.strip_prefix(root)) else {
        return Vec::new();
    };
    if path.trim_end_matches(".rs").split('/').any(|part| part == "tests") {
        return Vec::new();
    }
    let module = path.split(['/', '.']).next().unwrap_or_default();
    let is_of_users = |name: &str| exported.contains(module) || exported.contains(name);
    let (mut brittle, mut attributes) = (Vec::new(), String::new());
    for (at, line) in file.text.lines().enumerate() {
        let name = |kind: &str| {
            line.strip_prefix("pub ")?.strip_prefix(kind)?.split([' ', '<', '(', ';']).next()
        };
        let is_open = match (name("enum "), name("struct ")) {
            (Some(_), _) => true,
            (_, Some(_)) => has_public_fields_only(&file.text, at),
            _ => {
                if !line.starts_with("#[") && !line.starts_with("//") {
                    attributes.clear();
                }
                attributes += line;
                continue;
            }
        };
        let name = name("enum ").or(name("struct ")).unwrap_or_default();
        let is_closed = CLOSED.iter().any(|(closed, _)| *closed == name);
        if is_open && is_of_users(name) && !is_closed && !attributes.contains("#[non_exhaustive]") {
            brittle.push(format!("{}: {name}", file.path));
        }
        attributes.clear();
    }
    brittle
}

/// Whether the struct at this line has named fields, and none of them is private. A struct without
/// named fields is what it is: a newtype, or a name.
fn has_public_fields_only(text: &str, line: usize) -> bool {
    let body = text.lines().skip(line + 1).take_while(|line| !line.starts_with('}'));
    let has_body = text.lines().nth(line).is_some_and(|line| line.ends_with('{'));
    let fields = body.map(str::trim_start).filter(|line| !line.starts_with(['/', '#']));
    let mut fields = fields.filter(|line| line.contains(": ")).peekable();
    has_body && fields.peek().is_some() && fields.all(|line| line.starts_with("pub "))
}

#[test]
fn public_types_can_grow() {
    let sources = sources();
    let lib = sources.iter().find(|file| file.path == "src/lib.rs");
    let exported = exported(lib.map_or("", |file| &file.text));
    for name in ["FailureCause", "input", "Job"] {
        assert!(exported.contains(name), "{name}");
    }
    let brittle: Vec<_> = sources.iter().flat_map(|file| brittle_types(file, &exported)).collect();
    assert_eq!(brittle, [""; 0]);
    for (name, _) in CLOSED {
        assert!(exported.contains(name), "{name} is closed, and no user can name it");
    }
}

#[test]
fn a_public_type_that_cannot_grow_is_found() {
    let exported =
        exported("pub use windrow_jobs::side::x;\npub use windrow_jobs::{\n    Open, input,\n};");
    let brittle = |path: &str, text: &str| brittle_types(&File::of(path, text), &exported).len();
    let open = "/// Open.\n#[derive(Debug)]\npub enum Open {\n    A,\n}\n";
    assert_eq!(brittle("model/src/a.rs", open), 1);
    assert_eq!(brittle("jobs/src/input/a.rs", &open.replace("Open", "Other")), 1);
    assert_eq!(brittle("jobs/src/input.rs", "pub struct Options {\n    pub a: u8,\n}\n"), 1);
    let good = [
        ("model/src/a.rs", "#[non_exhaustive]\n/// Open.\npub enum Open {\n    A,\n}\n"),
        ("model/src/a.rs", "pub enum Internal {\n    A,\n}\n"),
        ("worker/src/a.rs", open),
        ("jobs/src/input/tests.rs", open),
        ("jobs/src/input/a.rs", "pub struct Name;\npub struct New(pub u8);\n"),
        ("jobs/src/input/a.rs", "pub struct Options {\n    pub a: u8,\n    b: u8,\n}\n"),
    ];
    for (path, text) in good {
        assert_eq!(brittle(path, text), 0, "{path}: {text}");
    }
}
