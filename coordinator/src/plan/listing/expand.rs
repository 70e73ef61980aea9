//! From an input, as the user wrote it, to the paths that it names.

use std::ffi::OsString;
use std::fs::{self, FileType};
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};

use glob::{MatchOptions, Pattern};
use windrow_jobs::Location;

use super::candidates::{Candidates, Origin};
use super::pattern::{PathPattern, is_pattern};
use super::{check_is_waited_for, unreadable};
use crate::hanging::at;
use crate::parallel_io::{Grain, try_map_with};
use crate::plan::PlanError;

/// Folders that are read before what is in them is looked at.
const FOLDERS_AT_ONCE: usize = 64;

/// Adds what these inputs name: as many as a shell has made of a pattern, so all are looked at side
/// by side first. A path that exists is taken as it is, even if it has the signs of a pattern in
/// its name.
pub(super) fn expand(inputs: &[&Location], found: &mut Candidates) -> Result<(), PlanError> {
    let there = try_map_with(Grain::Fine, inputs, |input| {
        check_is_waited_for()?;
        let path = input.to_local()?;
        match kind_of(path) {
            Ok(kind) => Ok(Some(kind)),
            // A link that leads nowhere is there, though.
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
            return Err(PlanError::NoMatch { input: input.to_string() });
        }
    }
    Ok(())
}

/// What a path leads to, and whether it is a link to it.
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

/// Adds all files below `folder` that are wanted, and neither hidden nor in a hidden folder unless
/// `named` names it.
fn walk(
    folder: PathBuf,
    named: &[Pattern],
    wanted: impl Fn(&Path) -> bool,
    found: &mut Candidates,
) -> Result<(), PlanError> {
    let mut folders = vec![folder];
    let mut links = Vec::new();
    // Side by side, but not so many that what they hold takes up much memory.
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

/// Adds those that lead to files. A link that leads nowhere is an error: the user meant a file that
/// is not there.
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
        // What lies in a folder that a pattern matches is meant too.
        if kind.is_dir() {
            walk(path, &components, |_| true, found)?;
        } else if kind.is_file() {
            found.push(path, origin)?;
        }
    }
    Ok(())
}

/// A pattern with `**`, walked here: `glob` would follow links to folders, and so go round in
/// cycles.
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
    // The file itself, or a folder that it lies in.
    let wanted = |path: &Path| {
        path.ancestors()
            .take_while(|path| *path != base)
            .any(|path| pattern.matches_with(&path.to_string_lossy(), options))
    };
    walk(base.clone(), named, wanted, found)
}

/// The components of a pattern that begin with a sign of hidden names, and so name such files on
/// purpose.
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
