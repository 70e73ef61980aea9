//! The folders in which inputs and outputs of jobs may lie, compared with all links resolved.
//!
//! Workers open inputs by name later, as their own user: anyone who can put links into an allowed
//! folder while a job runs can make them read any file of that user. Files that the workers' user
//! must not read need permissions that say so.

use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use windrow_jobs::{JobSpec, NoStore, explained};

use super::listing::Places;
use crate::hanging::at;
use crate::parallel_io::try_for_each;

/// Folders that jobs may read and write. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AllowedPaths {
    /// With links resolved; `None` for no limit.
    roots: Option<Arc<[PathBuf]>>,
}

/// A path outside them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotAllowed {
    /// A root that cannot be opened.
    #[error("{}: {}", path.display(), explained(path, error))]
    Root {
        /// The root.
        path: PathBuf,
        /// The system's error.
        error: std::io::Error,
    },
    /// The location needs a store that is not supported.
    #[error(transparent)]
    NoStore(#[from] NoStore),
    /// The path contains '..', so that its end depends on links.
    #[error("{} contains '..'; give the path without it", path.display())]
    Upwards {
        /// The path, as given.
        path: PathBuf,
    },
    /// The path lies outside of the roots.
    #[error(
        "{} lies outside of what this coordinator allows jobs to read and write ({roots}); add to them with --allow-path",
        path.display()
    )]
    Outside {
        /// The path, as given.
        path: PathBuf,
        /// The allowed folders.
        roots: String,
    },
}

impl AllowedPaths {
    /// No limit.
    pub fn everywhere() -> Self {
        Self { roots: None }
    }

    /// These folders and everything below them.
    ///
    /// # Errors
    /// When one cannot be opened.
    pub fn below(roots: &[PathBuf]) -> Result<Self, NotAllowed> {
        let real = |root: &PathBuf| {
            fs::canonicalize(root).map_err(|error| NotAllowed::Root { path: root.clone(), error })
        };
        Ok(Self { roots: Some(roots.iter().map(real).collect::<Result<_, _>>()?) })
    }

    /// Checks the paths of a spec before anything there is read. A pattern counts up to its first
    /// special character.
    pub(crate) fn check_spec(&self, spec: &JobSpec) -> Result<(), NotAllowed> {
        if self.roots.is_none() {
            return Ok(());
        }
        self.check(spec.output.to_local()?)?;
        spec.writable.iter().try_for_each(|path| self.check(path))?;
        try_for_each(&spec.inputs, |input| {
            let pattern = input.pattern.to_local()?;
            refuse_upwards(pattern)?;
            let components = pattern.to_str().unwrap_or_default().split('/');
            let literal = components.take_while(|component| !component.contains(['*', '?', '[']));
            self.check(Path::new(&literal.collect::<Vec<_>>().join("/")))
        })
    }

    /// The paths that the job's code may write to, with links resolved: workers follow none, so
    /// that a job cannot redirect itself. If this coordinator cannot see a path and nothing is
    /// limited, workers get the path as given.
    pub(crate) fn real_writable(&self, spec: &JobSpec) -> Result<Vec<PathBuf>, NotAllowed> {
        spec.writable.iter().map(|path| self.resolve(path)).collect()
    }

    /// Checks the real paths of the files: links may have led elsewhere.
    pub(super) fn check_places(&self, places: &Places) -> Result<(), NotAllowed> {
        let Some(roots) = &self.roots else { return Ok(()) };
        let mut outside = places.iter().filter(|(real, _)| !is_below(roots, real));
        outside.next().map_or(Ok(()), |(_, found)| Err(Self::outside(found, roots)))
    }

    fn check(&self, path: &Path) -> Result<(), NotAllowed> {
        match self.roots {
            None => Ok(()),
            Some(_) => self.resolve(path).map(drop),
        }
    }

    /// Resolves a path, and checks that the result is allowed. Later opens use the result and
    /// follow no links, which may have changed since.
    pub(crate) fn resolve(&self, path: &Path) -> Result<PathBuf, NotAllowed> {
        let Some(roots) = &self.roots else {
            // A dangling link is refused when it is opened.
            return Ok(real_path(path).unwrap_or_else(|| path.to_path_buf()));
        };
        refuse_upwards(path)?;
        real_path(path)
            .filter(|real| is_below(roots, real))
            .ok_or_else(|| Self::outside(path, roots))
    }

    fn outside(path: &Path, roots: &[PathBuf]) -> NotAllowed {
        let roots: Vec<_> = roots.iter().map(|root| root.display().to_string()).collect();
        NotAllowed::Outside { path: path.to_path_buf(), roots: roots.join(", ") }
    }
}

fn is_below(roots: &[PathBuf], real: &Path) -> bool {
    roots.iter().any(|root| real.starts_with(root))
}

fn refuse_upwards(path: &Path) -> Result<(), NotAllowed> {
    if path.components().any(|component| component == Component::ParentDir) {
        return Err(NotAllowed::Upwards { path: path.to_path_buf() });
    }
    Ok(())
}

/// The path with links resolved, as far as it exists. `None` if that cannot be known.
fn real_path(path: &Path) -> Option<PathBuf> {
    for ancestor in path.ancestors() {
        match at(ancestor, || fs::canonicalize(ancestor)) {
            // To join nothing would append a slash, which a file does not bear.
            Ok(real) if ancestor == path => return Some(real),
            Ok(real) => return Some(real.join(path.strip_prefix(ancestor).ok()?)),
            // A dangling link would be followed once its target is created.
            Err(error) if error.kind() == ErrorKind::NotFound && !is_link(ancestor) => {}
            Err(_) => return None,
        }
    }
    None
}

fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use windrow_jobs::{JobExecutable, JobInput, JobOptions, Location};

    use super::*;

    fn spec(input: &Path, output: &Path) -> JobSpec {
        let pattern = Location::of_path(input).unwrap();
        JobSpec {
            job: "word-count".into(),
            params: "{}".into(),
            inputs: vec![JobInput { name: String::new(), pattern }],
            output: Location::of_path(output).unwrap(),
            options: JobOptions::default(),
            program: JobExecutable::default(),
            files: Vec::new(),
            writable: Vec::new(),
        }
    }

    #[test]
    fn links_and_dots_do_not_lead_outside() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("in/deep")).unwrap();
        fs::create_dir_all(at("inside-not")).unwrap();
        fs::write(at("in/deep/file"), "").unwrap();
        symlink(at("inside-not"), at("in/link")).unwrap();
        symlink(at("in"), at("alias")).unwrap();
        symlink(at("nowhere"), at("in/dangling")).unwrap();
        let allowed = AllowedPaths::below(&[at("alias")]).unwrap();
        let output = at("in/out");
        for input in ["in", "in/deep/file", "in/deep/*", "in/**/x", "alias/deep", "in/missing"] {
            allowed.check_spec(&spec(&at(input), &output)).unwrap();
        }
        for input in [
            "",
            "*",
            "inside-not",
            "inside-not/*",
            "in/../inside-not",
            "in/*/../../inside-not",
            "in/link",
            "in/link/*",
            "in/dangling",
        ] {
            assert!(allowed.check_spec(&spec(&at(input), &output)).is_err(), "{input}");
        }
        for output in ["", "out", "in/link/out", "in/../out", "in/dangling/out"] {
            assert!(allowed.check_spec(&spec(&at("in"), &at(output))).is_err(), "{output}");
        }
        let everywhere = AllowedPaths::everywhere();
        everywhere.check_spec(&spec(&at("in/../x"), &at("y"))).unwrap();
    }

    #[test]
    fn writable_paths_are_resolved() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        let at = |name: &str| root.join(name);
        fs::create_dir_all(at("data/notes")).unwrap();
        symlink(at("data"), at("alias")).unwrap();
        symlink(at("nowhere"), at("dangling")).unwrap();
        let real = |allowed: &AllowedPaths, name: &str| {
            let spec = JobSpec { writable: vec![at(name)], ..spec(&at("in"), &at("out")) };
            allowed.real_writable(&spec).map(|found| found[0].clone())
        };
        let (everywhere, below) =
            (AllowedPaths::everywhere(), AllowedPaths::below(&[at("data")]).unwrap());
        for allowed in [&everywhere, &below] {
            assert_eq!(real(allowed, "alias/notes").unwrap(), at("data/notes"));
            assert_eq!(real(allowed, "alias/new").unwrap(), at("data/new"));
        }
        assert_eq!(real(&everywhere, "dangling").unwrap(), at("dangling"), "workers refuse it");
        for outside in ["dangling", "other", "data/../data/notes"] {
            assert!(real(&below, outside).is_err(), "{outside}");
        }
    }

    #[test]
    fn a_root_must_exist() {
        assert!(AllowedPaths::below(&["/no/such/folder".into()]).is_err());
    }
}
