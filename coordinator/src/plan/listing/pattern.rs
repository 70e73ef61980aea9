//! Expands a pattern without `**`, component by component.
//!
//! [`glob::glob`] would silently skip names that are not valid UTF-8 and folders that may not be
//! entered: a job would succeed without them.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use glob::{Pattern, PatternError};

use super::candidates::Candidates;
use super::expand::is_absent;
use super::unreadable;
use crate::hanging::at;
use crate::parallel_io::{Grain, try_map_with};
use crate::plan::PlanError;

/// Whether the text has a special character of patterns.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// A parsed pattern.
pub(super) struct PathPattern<'a> {
    root: &'static str,
    components: Vec<Component<'a>>,
    /// Whether the pattern ends in a `/`, and so means folders.
    folders: bool,
}

enum Component<'a> {
    Literal(&'a str),
    Pattern(Pattern),
}

impl<'a> PathPattern<'a> {
    /// Parses a pattern.
    pub(super) fn new(text: &'a str) -> Result<Self, PatternError> {
        let component = |component| match is_pattern(component) {
            true => Pattern::new(component).map(Component::Pattern),
            false => Ok(Component::Literal(component)),
        };
        let named = text.split('/').filter(|component| !component.is_empty());
        Ok(Self {
            root: if text.starts_with('/') { "/" } else { "" },
            components: named.map(component).collect::<Result<_, _>>()?,
            folders: text.ends_with('/'),
        })
    }

    /// All matching paths. In a name that is not valid UTF-8, each invalid byte counts as one
    /// character.
    pub(super) fn paths(&self) -> Result<Vec<PathBuf>, PlanError> {
        let mut paths = vec![PathBuf::from(self.root)];
        for component in &self.components {
            paths = match component {
                Component::Literal(name) => named(&paths, name)?,
                Component::Pattern(pattern) => matching(&paths, pattern)?,
            };
            Candidates::check(paths.len())?;
        }
        if self.folders {
            paths.retain(|path| at(path, || path.is_dir()));
        }
        Ok(paths)
    }
}

/// Entries with this name in these folders.
fn named(folders: &[PathBuf], name: &str) -> Result<Vec<PathBuf>, PlanError> {
    let there = try_map_with(Grain::Fine, folders, |folder| {
        let path = folder.join(name);
        match at(&path, || fs::symlink_metadata(&path)) {
            Ok(_) => Ok(Some(path)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(unreadable(&path, error)),
        }
    })?;
    Ok(there.into_iter().flatten().collect())
}

/// Entries with a matching name in these paths, as far as they are folders.
fn matching(folders: &[PathBuf], pattern: &Pattern) -> Result<Vec<PathBuf>, PlanError> {
    let found = try_map_with(Grain::Coarse, folders, |folder| {
        let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let names = at(here, || names(here))?;
        let matching = names.into_iter().filter(|name| pattern.matches(&name.to_string_lossy()));
        Ok::<Vec<_>, PlanError>(matching.map(|name| folder.join(name)).collect())
    })?;
    Ok(found.into_iter().flatten().collect())
}

/// The names in a folder; none for a file.
fn names(folder: &Path) -> Result<Vec<OsString>, PlanError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(folder, error)),
    };
    let name = |entry: std::io::Result<fs::DirEntry>| {
        entry.map(|entry| entry.file_name()).map_err(|error| unreadable(folder, error))
    };
    entries.map(name).collect()
}
