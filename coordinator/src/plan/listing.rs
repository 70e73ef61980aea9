//! Which files an input names.
//!
//! An input is a file, a folder (all files in it and below it) or a glob pattern. Names that begin with `.` or `_`
//! are hidden or temporary and skipped, as Hadoop does, unless the user names them: an input that is such a file or
//! folder itself, or a pattern whose own component begins with that sign, is taken. Links to files are followed;
//! links to folders found on the way down are not, so that cycles do no harm.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};
use std::time::UNIX_EPOCH;

use glob::{MatchOptions, Pattern};
use serde::{Deserialize, Serialize};

use super::error::PlanError;

/// A file to read, as it was when the job was planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InputFile {
    /// Which of the job's inputs it is of, counted from 0.
    pub(crate) input: u32,
    /// Absolute.
    pub(crate) path: String,
    /// Its size.
    pub(crate) bytes: u64,
    /// Its modification time, in nanoseconds since 1970.
    pub(crate) modified_unix_ns: u64,
}

/// All files that the `patterns` of one of a job's inputs name, each once, in the order of their paths. Opens each of
/// them, so that one that cannot be read is found before anything runs.
pub(crate) fn list<'a>(
    input: u32,
    patterns: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<InputFile>, PlanError> {
    let mut files = BTreeMap::new();
    let mut places = Places::default();
    for pattern in patterns {
        let paths = expand(pattern)?;
        if paths.is_empty() {
            return Err(PlanError::NoMatch { input: pattern.to_string() });
        }
        for path in paths {
            if places.is_new(&path)? {
                let file = inspect(input, &path)?;
                files.insert(path, file);
            }
        }
    }
    Ok(files.into_values().collect())
}

/// The files that were met, whatever their folders were called.
#[derive(Default)]
struct Places {
    folders: BTreeMap<PathBuf, PathBuf>,
    files: BTreeSet<PathBuf>,
}

impl Places {
    /// Whether the file was not met before, under this or another spelling of its folder.
    fn is_new(&mut self, path: &Path) -> Result<bool, PlanError> {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Ok(true) };
        if !self.folders.contains_key(folder) {
            let real = fs::canonicalize(folder).map_err(|error| unreadable(folder, error))?;
            self.folders.insert(folder.to_path_buf(), real);
        }
        Ok(self.files.insert(self.folders[folder].join(name)))
    }
}

/// A path that exists is taken as it is, even if it has the signs of a pattern in its name.
fn expand(input: &str) -> Result<Vec<PathBuf>, PlanError> {
    let path = Path::new(input);
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => walk(path, &[], |_| true),
        Ok(_) => Ok(vec![path.to_path_buf()]),
        Err(error) if !is_absent(&error) => Err(unreadable(path, error)),
        Err(_) if input.contains(['*', '?', '[']) => expand_pattern(input),
        Err(_) => Ok(Vec::new()),
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// All files below `folder` that are wanted, and neither hidden nor in a hidden folder unless `named` names it.
fn walk(
    folder: &Path,
    named: &[Pattern],
    wanted: impl Fn(&Path) -> bool,
) -> Result<Vec<PathBuf>, PlanError> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).map_err(|error| unreadable(&folder, error))?;
        for entry in entries {
            let entry = entry.map_err(|error| unreadable(&folder, error))?;
            let path = entry.path();
            if is_unnamed_hidden(&entry.file_name().to_string_lossy(), named) {
                continue;
            }
            let kind = entry.file_type().map_err(|error| unreadable(&path, error))?;
            if kind.is_dir() {
                folders.push(path);
            } else if wanted(&path)
                && (kind.is_file() || (kind.is_symlink() && is_link_to_file(&path)?))
            {
                files.push(path);
            }
        }
    }
    Ok(files)
}

/// A link that leads nowhere is an error: the user meant a file that is not there.
fn is_link_to_file(path: &Path) -> Result<bool, PlanError> {
    fs::metadata(path).map(|target| target.is_file()).map_err(|error| unreadable(path, error))
}

fn expand_pattern(input: &str) -> Result<Vec<PathBuf>, PlanError> {
    let bad_pattern = |error: glob::PatternError| PlanError::BadPattern {
        input: input.to_string(),
        message: error.msg,
    };
    let components = named_components(input).map_err(bad_pattern)?;
    if input.split('/').any(|component| component == "**") {
        return expand_recursive(input, &Pattern::new(input).map_err(bad_pattern)?, &components);
    }
    let mut files = Vec::new();
    for entry in glob::glob(input).map_err(bad_pattern)? {
        let path = entry.map_err(|error| PlanError::Unreadable {
            path: error.path().to_path_buf(),
            error: error.into(),
        })?;
        if has_unnamed_hidden_component(&path, &components) {
            continue;
        }
        // What lies in a folder that a pattern matches is meant too.
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => files.extend(walk(&path, &components, |_| true)?),
            Ok(metadata) if metadata.is_file() => files.push(path),
            Ok(_) => {}
            Err(error) => return Err(unreadable(&path, error)),
        }
    }
    Ok(files)
}

/// A pattern with `**`, walked here: `glob` would follow links to folders, and so go round in cycles.
fn expand_recursive(
    input: &str,
    pattern: &Pattern,
    named: &[Pattern],
) -> Result<Vec<PathBuf>, PlanError> {
    let literal = input.split('/').take_while(|component| !component.contains(['*', '?', '[']));
    let base = PathBuf::from(format!("{}/", literal.collect::<Vec<_>>().join("/")));
    if !base.is_dir() {
        return Ok(Vec::new());
    }
    let options = MatchOptions { require_literal_separator: true, ..MatchOptions::default() };
    // The file itself, or a folder that it lies in.
    let wanted = |path: &Path| {
        path.ancestors()
            .take_while(|path| *path != base)
            .any(|path| pattern.matches_path_with(path, options))
    };
    walk(&base, named, wanted)
}

/// The components of a pattern that begin with a sign of hidden names, and so name such files on purpose.
fn named_components(input: &str) -> Result<Vec<Pattern>, glob::PatternError> {
    input.split('/').filter(|component| is_hidden(component)).map(Pattern::new).collect()
}

fn has_unnamed_hidden_component(path: &Path, named: &[Pattern]) -> bool {
    path.components().any(|component| match component {
        Component::Normal(name) => is_unnamed_hidden(&name.to_string_lossy(), named),
        _ => false,
    })
}

fn is_unnamed_hidden(name: &str, named: &[Pattern]) -> bool {
    is_hidden(name) && !named.iter().any(|pattern| pattern.matches(name))
}

fn is_hidden(name: &str) -> bool {
    name.starts_with(['.', '_'])
}

fn inspect(input: u32, path: &Path) -> Result<InputFile, PlanError> {
    let text = path.to_str().ok_or_else(|| PlanError::NotUtf8 { path: path.to_path_buf() })?;
    let failed = |error| unreadable(path, error);
    // Looked at before it is opened: to open a named pipe would wait for its writer.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(PlanError::NotAFile { path: path.to_path_buf() });
    }
    let metadata = File::open(path).and_then(|file| file.metadata()).map_err(failed)?;
    let modified = metadata.modified().map_err(failed)?;
    let since_1970 = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(InputFile {
        input,
        path: text.to_string(),
        bytes: metadata.len(),
        modified_unix_ns: u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX),
    })
}

fn unreadable(path: &Path, error: io::Error) -> PlanError {
    PlanError::Unreadable { path: path.to_path_buf(), error }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    /// Creates a folder with these files, each with its own name as content.
    fn tree(files: &[&str]) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        dir
    }

    fn listed(dir: &TempDir, inputs: &[&str]) -> Result<Vec<String>, String> {
        let inputs: Vec<_> =
            inputs.iter().map(|input| format!("{}/{input}", dir.path().display())).collect();
        let prefix = format!("{}/", dir.path().display());
        match list(0, inputs.iter().map(String::as_str)) {
            Ok(files) => Ok(files.iter().map(|f| f.path.replace(&prefix, "")).collect()),
            Err(error) => Err(error.to_string().replace(&prefix, "")),
        }
    }

    #[test]
    fn a_folder_means_all_files_below_it_but_hidden_ones() {
        let dir = tree(&[
            "d/b",
            "d/a",
            "d/sub/c",
            "d/.git/x",
            "d/_SUCCESS",
            "d/.hidden",
            "d/_temporary/y",
        ]);
        assert_eq!(listed(&dir, &["d"]).unwrap(), ["d/a", "d/b", "d/sub/c"]);
    }

    #[test]
    fn patterns_go_through_folders_and_skip_hidden_names() {
        let dir = tree(&[
            "a.md",
            "x/b.md",
            "x/y/c.md",
            "x/.z/d.md",
            "x/_e.md",
            "x/f.txt",
            "target/_out/g.md",
        ]);
        assert_eq!(listed(&dir, &["**/*.md"]).unwrap(), ["a.md", "x/b.md", "x/y/c.md"]);
        assert_eq!(listed(&dir, &["x/*"]).unwrap(), ["x/b.md", "x/f.txt", "x/y/c.md"]);
    }

    #[test]
    fn links_in_a_circle_end() {
        let dir = tree(&["a.md", "x/b.md", "elsewhere/c.md"]);
        symlink(dir.path(), dir.path().join("x/up")).unwrap();
        symlink(dir.path(), dir.path().join("x/up2")).unwrap();
        symlink(dir.path().join("a.md"), dir.path().join("x/link.md")).unwrap();
        symlink("nowhere", dir.path().join("x/broken.txt")).unwrap();
        let expected = ["a.md", "elsewhere/c.md", "x/b.md", "x/link.md"];
        assert_eq!(listed(&dir, &["**/*.md"]).unwrap(), expected);
        assert_eq!(listed(&dir, &["x/**/b.md", "**/else*"]).unwrap(), ["elsewhere/c.md", "x/b.md"]);
        assert!(listed(&dir, &["nowhere/**"]).unwrap_err().contains("no input matches"));
    }

    #[test]
    fn hidden_names_are_taken_when_they_are_named() {
        let dir = tree(&["_logs/a", "_logs/.b", "x/_one", "x/_two", ".env"]);
        assert_eq!(listed(&dir, &[".env"]).unwrap(), [".env"]);
        assert_eq!(listed(&dir, &["_logs"]).unwrap(), ["_logs/a"]);
        assert_eq!(listed(&dir, &["_logs/*"]).unwrap(), ["_logs/a"]);
        assert_eq!(listed(&dir, &["x/_t*"]).unwrap(), ["x/_two"]);
    }

    #[test]
    fn a_file_named_twice_is_read_once() {
        let dir = tree(&["d/a", "d/b"]);
        assert_eq!(listed(&dir, &["d/b", "d", "d/*"]).unwrap(), ["d/a", "d/b"]);
        assert_eq!(listed(&dir, &["d/b", "d/../d/b"]).unwrap(), ["d/b"]);
    }

    #[test]
    fn a_file_whose_name_looks_like_a_pattern_is_a_file() {
        let dir = tree(&["a[1].txt", "a1.txt"]);
        assert_eq!(listed(&dir, &["a[1].txt"]).unwrap(), ["a[1].txt"]);
    }

    #[test]
    fn links_to_files_are_followed_and_cycles_do_no_harm() {
        let dir = tree(&["elsewhere/file", "d/a"]);
        symlink(dir.path().join("elsewhere/file"), dir.path().join("d/link")).unwrap();
        symlink(dir.path().join("d"), dir.path().join("d/cycle")).unwrap();
        assert_eq!(listed(&dir, &["d"]).unwrap(), ["d/a", "d/link"]);
    }

    #[test]
    fn what_matches_nothing_is_named() {
        let dir = tree(&["d/_only_hidden"]);
        for input in ["missing", "*.nothing", "d", "d/_only_hidden/below"] {
            let error = listed(&dir, &[input]).unwrap_err();
            assert!(error.starts_with(&format!("no input matches '{input}'")), "{error}");
        }
    }

    #[test]
    fn wrong_patterns_dangling_links_and_special_files_are_named() {
        let dir = tree(&["d/a"]);
        symlink("nowhere", dir.path().join("d/dangling")).unwrap();
        let error = listed(&dir, &["d"]).unwrap_err();
        assert!(error.starts_with("cannot read d/dangling: "), "{error}");
        let error = listed(&dir, &["***"]).unwrap_err();
        assert!(error.contains("'***' is not a pattern"), "{error}");
        let error = list(0, ["/dev/null"]).unwrap_err().to_string();
        assert!(error.contains("/dev/null is not a regular file"), "{error}");
    }
}
