//! The real paths of files: each folder and each link is resolved once.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::candidates::{Candidate, Origin};
use super::{check_is_waited_for, unreadable};
use crate::hanging::at;
use crate::parallel_io::try_map;
use crate::plan::PlanError;

/// The folders that contain files, and the files that links lead to.
#[derive(Debug, Default)]
pub(in crate::plan) struct Places {
    /// A real folder, and the path of a file in it, as found.
    folders: Vec<(PathBuf, PathBuf)>,
    /// A real file, and the link that leads to it.
    links: Vec<(PathBuf, PathBuf)>,
}

impl Places {
    /// All real paths, each with the path of a file, as found.
    pub(in crate::plan) fn iter(&self) -> impl Iterator<Item = (&Path, &Path)> {
        self.folders.iter().chain(&self.links).map(|(real, found)| (&**real, &**found))
    }

    /// The candidates in the order of their paths, without files that were met before under another
    /// spelling of their folder.
    pub(super) fn each_once(
        &mut self,
        candidates: Vec<Candidate>,
    ) -> Result<Vec<Candidate>, PlanError> {
        let before = self.folders.len();
        let (mut placed, spellings) = self.place(candidates)?;
        if spellings > self.folders.len() - before {
            // Stable: of several spellings, the first found stays.
            placed.sort_by(|(a, x), (b, y)| (a, x.path.file_name()).cmp(&(b, y.path.file_name())));
            placed.dedup_by(|(a, x), (b, y)| a == b && x.path.file_name() == y.path.file_name());
        }
        let mut candidates: Vec<_> = placed.into_iter().map(|(_, candidate)| candidate).collect();
        candidates.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        candidates.dedup_by(|a, b| a.path == b.path);
        let links = candidates.iter().filter(|candidate| candidate.origin == Origin::Link);
        let links: Vec<_> = links.map(|candidate| &candidate.path).collect();
        self.links.extend(try_map(&links, |link| {
            let real =
                at(link, || fs::canonicalize(link)).map_err(|error| unreadable(link, error))?;
            Ok::<_, PlanError>((real, link.to_path_buf()))
        })?);
        Ok(candidates)
    }

    /// The candidates, each with the number of its real folder; and the number of spellings of
    /// folders.
    fn place(
        &mut self,
        candidates: Vec<Candidate>,
    ) -> Result<(Vec<(usize, Candidate)>, usize), PlanError> {
        let (mut spelled, mut real) = (HashMap::new(), HashMap::new());
        let mut placed: Vec<(usize, Candidate)> = Vec::with_capacity(candidates.len());
        for candidate in candidates {
            let folder = candidate.path.parent().unwrap_or(Path::new("/"));
            // Files of one folder are mostly neighbours.
            let neighbour = placed.last().filter(|(_, last)| last.path.parent() == Some(folder));
            let known =
                neighbour.map(|(number, _)| *number).or_else(|| spelled.get(folder).copied());
            let number = match known {
                Some(number) => number,
                None => {
                    check_is_waited_for()?;
                    let path = at(folder, || fs::canonicalize(folder))
                        .map_err(|error| unreadable(folder, error))?;
                    let next = self.folders.len();
                    let number = *real.entry(path.clone()).or_insert(next);
                    if number == next {
                        self.folders.push((path, candidate.path.clone()));
                    }
                    spelled.insert(folder.to_path_buf(), number);
                    number
                }
            };
            placed.push((number, candidate));
        }
        Ok((placed, spelled.len()))
    }
}
