//! Expands an input, as the user wrote it, to the paths that it names.

use std::ffi::OsString;
use std::fs::{self, FileType};
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};

use glob::{MatchOptions, Pattern};
use percent_encoding::percent_decode_str;
use windrow_jobs::Location;

use super::candidates::{Candidates, Origin};
use super::pattern::{PathPattern, is_pattern};
use super::{check_is_waited_for, unreadable};
use crate::hanging::at;
use crate::parallel_io::{Grain, try_map_with};
use crate::plan::PlanError;

/// Folders that are read before their entries are inspected.
const FOLDERS_AT_ONCE: usize = 64;

/// Adds the paths of these inputs. A shell may have expanded a pattern to very many, so all are
/// inspected first, on several threads. An existing path is taken literally, even if it looks like
/// a pattern.
pub(super) fn expand(inputs: &[&Location], found: &mut Candidates) -> Result<(), PlanError> {
    let there = try_map_with(Grain::Fine, inputs, |input| {
        check_is_waited_for()?;
        let path = input.to_local()?;
        match kind_of(path) {
            Ok(kind) => Ok(Some(kind)),
            // A dangling link exists, though.
            Err(error) if is_absent(&error) && !path.is_symlink() => Ok(None),
            Err(error) => Err(unreadable(path, error)),
        }
    })?;
    for (input, there) in inputs.iter().zip(there) {
        check_is_waited_for()?;
        let (before, path) = (found.len(), input.key());
        match there {
            Some((kind, _)) if kind.is_dir() => walk(PathBuf::from(path), &[], |_| true, found)?,
            Some((_, origin)) => found.push(PathBuf::from(path), origin)?,
            None if is_pattern(path) => expand_pattern(path, found)?,
            None => {}
        }
        if found.len() == before {
            let (input, hint) = (input.to_string(), undecoded(path));
            return Err(PlanError::NoMatch { input, hint });
        }
    }
    Ok(())
}

/// Other programs decode the paths of file URLs.
fn undecoded(path: &str) -> String {
    let decoded = percent_decode_str(path).decode_utf8();
    match decoded.ok().filter(|decoded| decoded != path && Path::new(&**decoded).exists()) {
        Some(decoded) => format!("; no %XX is decoded: write '{decoded}'"),
        None => String::new(),
    }
}

/// The type of a path's target, and whether the path is a link.
fn kind_of(path: &Path) -> io::Result<(FileType, Origin)> {
    at(path, || {
        let metadata = fs::symlink_metadata(path)?;
        if metadata.is_symlink() {
            fs::metadata(path).map(|target| (target.file_type(), Origin::Link))
        } else {
            Ok((metadata.file_type(), Origin::File))
        }
    })
}

pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Adds all files below `folder` that are wanted, except hidden files and folders that `named` does
/// not name.
fn walk(
    folder: PathBuf,
    named: &[Pattern],
    wanted: impl Fn(&Path) -> bool,
    found: &mut Candidates,
) -> Result<(), PlanError> {
    let mut folders = vec![folder];
    let mut links = Vec::new();
    // On several threads, but in batches, which bounds memory.
    while !folders.is_empty() {
        check_is_waited_for()?;
        let at_once = folders.split_off(folders.len().saturating_sub(FOLDERS_AT_ONCE));
        let read =
            try_map_with(Grain::Coarse, &at_once, |folder| at(folder, || read(folder, named)))?;
        for (folder, entries) in at_once.iter().zip(read) {
            for (name, kind) in entries {
                let path = folder.join(name);
                if kind.is_dir() {
                    folders.push(path);
                } else if (kind.is_file() || kind.is_symlink()) && wanted(&path) {
                    match kind.is_file() {
                        true => found.push(path, Origin::File)?,
                        false => links.push(path),
                    }
                }
            }
        }
    }
    push_links(links, found)
}

/// The entries of a folder that are not hidden.
fn read(folder: &Path, named: &[Pattern]) -> Result<Vec<(OsString, FileType)>, PlanError> {
    let failed = |error| unreadable(folder, error);
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if !is_unnamed_hidden(&name.to_string_lossy(), named) {
            let kind = entry.file_type().map_err(|error| unreadable(&entry.path(), error))?;
            entries.push((name, kind));
            Candidates::check(entries.len())?;
        }
    }
    Ok(entries)
}

/// Adds the links that lead to files. A dangling link is an error: the user meant a file that is
/// missing.
fn push_links(links: Vec<PathBuf>, found: &mut Candidates) -> Result<(), PlanError> {
    let lead_to_files = try_map_with(Grain::Fine, &links, |link| {
        let target = at(link, || fs::metadata(link)).map_err(|error| unreadable(link, error))?;
        Ok::<_, PlanError>(target.is_file())
    })?;
    let to_files = links.into_iter().zip(lead_to_files).filter(|(_, leads)| *leads);
    to_files.map(|(link, _)| link).try_for_each(|link| found.push(link, Origin::Link))
}

fn expand_pattern(input: &str, found: &mut Candidates) -> Result<(), PlanError> {
    let bad_pattern = |error: glob::PatternError| PlanError::BadPattern {
        input: input.to_string(),
        message: error.msg,
    };
    let components = named_components(input).map_err(bad_pattern)?;
    if input.split('/').any(|component| component == "**") {
        let pattern = Pattern::new(input).map_err(bad_pattern)?;
        return expand_recursive(input, &pattern, &components, found);
    }
    let mut paths = PathPattern::new(input).map_err(bad_pattern)?.paths()?;
    paths.retain(|path| !has_unnamed_hidden_component(path, &components));
    let kinds = try_map_with(Grain::Fine, &paths, |path| {
        kind_of(path).map_err(|error| unreadable(path, error))
    })?;
    for (path, (kind, origin)) in paths.into_iter().zip(kinds) {
        // A pattern that matches a folder means its files, too.
        if kind.is_dir() {
            walk(path, &components, |_| true, found)?;
        } else if kind.is_file() {
            found.push(path, origin)?;
        }
    }
    Ok(())
}

/// Expands a pattern with `**` by a walk of its own: `glob` would follow links to folders, and so
/// loop.
fn expand_recursive(
    input: &str,
    pattern: &Pattern,
    named: &[Pattern],
    found: &mut Candidates,
) -> Result<(), PlanError> {
    let literal = input.split('/').take_while(|component| !is_pattern(component));
    let base = PathBuf::from(format!("{}/", literal.collect::<Vec<_>>().join("/")));
    if !at(&base, || base.is_dir()) {
        return Ok(());
    }
    let options = MatchOptions { require_literal_separator: true, ..MatchOptions::default() };
    // The pattern matches the file itself, or a folder above it.
    let wanted = |path: &Path| {
        path.ancestors()
            .take_while(|path| *path != base)
            .any(|path| pattern.matches_with(&path.to_string_lossy(), options))
    };
    walk(base.clone(), named, wanted, found)
}

/// The components of a pattern that begin with `.` or `_`, and so name hidden files on purpose.
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
