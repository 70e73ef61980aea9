//! Claims of jobs on paths: a job's output, and the paths that it has declared its code writes to.
//!
//! Code with write access to a folder can move, remove and forge its content. So a declared path
//! must not be, contain or lie in the output of a job that is not over, whichever of the two comes
//! first. Several jobs may declare the same path, or overlapping ones.
//!
//! Claims compare names: outputs and declared paths are resolved before (`plan/allowed.rs`), and
//! opened without following links. Outputs without a job are found by a search
//! (`output/search.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use windrow_jobs::{JobId, JobSpec, explained};

/// Why a job's claim is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClaimError {
    /// The declared path overlaps the job's own output, of which its code may write to one folder
    /// only.
    #[error(
        "the job's code must not write to {} (--allow-write): the job's output, {}, is there; declare a folder in which no outputs lie",
        path.display(), output.display()
    )]
    OwnOutput {
        /// The declared path.
        path: PathBuf,
        /// The output.
        output: PathBuf,
    },
    /// The declared path overlaps the output of a job that is not over.
    #[error(
        "the job's code must not write to {} (--allow-write): {}, the output of {owner}, is there; declare a folder in which no outputs lie",
        path.display(), output.display()
    )]
    OthersOutput {
        /// The declared path.
        path: PathBuf,
        /// The output.
        output: PathBuf,
        /// The job that owns it.
        owner: String,
    },
    /// The declared path overlaps the output of a job that is over.
    #[error(
        "the job's code must not write to {} (--allow-write): {} is an output, with {mark} in it; declare a folder in which no outputs lie",
        path.display(), output.display()
    )]
    Output {
        /// The declared path.
        path: PathBuf,
        /// The output.
        output: PathBuf,
        /// The entry that shows it.
        mark: &'static str,
    },
    /// The declared path has too many entries to be searched.
    #[error(
        "the job's code must not write to {} (--allow-write): it cannot be searched for outputs, since there are more than {entries} \
         files and folders in what is declared, or more than {depth} folders in each other; declare a smaller folder",
        path.display()
    )]
    TooMuch {
        /// The declared path.
        path: PathBuf,
        /// The limit of entries.
        entries: usize,
        /// The limit of depth.
        depth: usize,
    },
    /// The declared path cannot be searched.
    #[error(
        "the job's code must not write to {} (--allow-write): it cannot be searched for outputs: {}: {}; let the coordinator's user read \
         it, or declare another folder",
        path.display(), at.display(), explained(at, error)
    )]
    Unknown {
        /// The declared path.
        path: PathBuf,
        /// Where the search failed.
        at: PathBuf,
        /// The system's error.
        error: std::io::Error,
    },
    /// The output overlaps a path that another job has declared.
    #[error(
        "output {} would be in reach of the code of {owner}, which may write to {} (--allow-write) until that job is over; choose another folder, \
         or cancel that job",
        output.display(), path.display()
    )]
    InReach {
        /// The output.
        output: PathBuf,
        /// The other job's declared path.
        path: PathBuf,
        /// The other job.
        owner: String,
    },
}

/// The claim of one job.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    /// The names of the job's output folder: the submitter's, and the resolved one.
    outputs: [PathBuf; 2],
    /// The declared paths, resolved.
    declared: Vec<PathBuf>,
}

impl Claim {
    /// The claim of a job, whose declared paths and `output` must be resolved.
    pub(crate) fn of(spec: &JobSpec, output: &Path) -> Self {
        let named = spec.output.to_local().unwrap_or(output);
        let outputs = [named.to_path_buf(), output.to_path_buf()];
        Self { outputs, declared: spec.writable.clone() }
    }

    /// The paths that the job's code may write to beside its output.
    pub(crate) fn declared(&self) -> &[PathBuf] {
        &self.declared
    }

    /// Refuses a claim whose declared paths overlap its own output.
    pub(crate) fn check(&self) -> Result<(), ClaimError> {
        let overlaps = |path: &&PathBuf| self.outputs.iter().any(|output| overlap(output, path));
        match self.declared.iter().find(overlaps) {
            Some(path) => {
                let [_, output] = self.outputs.clone();
                Err(ClaimError::OwnOutput { path: path.clone(), output })
            }
            None => Ok(()),
        }
    }
}

fn overlap(one: &Path, other: &Path) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

/// Paths and their owners.
#[derive(Debug)]
struct Paths<K>(BTreeMap<PathBuf, BTreeSet<K>>);

impl<K: Copy + Ord> Paths<K> {
    fn add(&mut self, path: &Path, owner: K) {
        self.0.entry(path.to_path_buf()).or_default().insert(owner);
    }

    fn remove(&mut self, path: &Path, owner: K) {
        let Some(owners) = self.0.get_mut(path) else { return };
        owners.remove(&owner);
        if owners.is_empty() {
            self.0.remove(path);
        }
    }

    fn owner(&self, path: &Path) -> Option<K> {
        self.0.get(path)?.last().copied()
    }

    /// A path that is equal to this one, above it, or below it. In the order of components, all
    /// paths below a path come right after it.
    fn overlapping(&self, path: &Path) -> Option<(&Path, K)> {
        let above = path.ancestors().find_map(|above| self.0.get_key_value(above));
        let mut from = self.0.range::<Path, _>((Bound::Included(path), Bound::Unbounded));
        let below = || from.next().filter(|(below, _)| below.starts_with(path));
        let (found, owners) = above.or_else(below)?;
        debug_assert!(overlap(found, path), "another path would be refused");
        Some((found, *owners.last()?))
    }
}

/// The claims of many jobs. Checking one claim does not visit all others.
#[derive(Debug)]
pub(crate) struct Claims<K> {
    outputs: Paths<K>,
    declared: Paths<K>,
}

impl<K> Default for Claims<K> {
    fn default() -> Self {
        Self { outputs: Paths(BTreeMap::new()), declared: Paths(BTreeMap::new()) }
    }
}

impl<K: Copy + Ord> Claims<K> {
    pub(crate) fn add(&mut self, claim: &Claim, owner: K) {
        claim.outputs.iter().for_each(|path| self.outputs.add(path, owner));
        claim.declared.iter().for_each(|path| self.declared.add(path, owner));
    }

    pub(crate) fn remove(&mut self, claim: &Claim, owner: K) {
        claim.outputs.iter().for_each(|path| self.outputs.remove(path, owner));
        claim.declared.iter().for_each(|path| self.declared.remove(path, owner));
    }

    /// The owner of the output of this name.
    pub(crate) fn owner_of(&self, output: &Path) -> Option<K> {
        self.outputs.owner(output)
    }

    /// Refuses a claim that conflicts with another one; `name` names its owner.
    pub(crate) fn check(
        &self,
        claim: &Claim,
        name: impl Fn(K) -> String,
    ) -> Result<(), ClaimError> {
        for path in &claim.declared {
            if let Some((output, owner)) = self.outputs.overlapping(path) {
                let (path, output) = (path.clone(), output.to_path_buf());
                return Err(ClaimError::OthersOutput { path, output, owner: name(owner) });
            }
        }
        for output in &claim.outputs {
            if let Some((path, owner)) = self.declared.overlapping(output) {
                let (output, path) = (output.clone(), path.to_path_buf());
                return Err(ClaimError::InReach { output, path, owner: name(owner) });
            }
        }
        Ok(())
    }
}

/// Claims of submissions on their way to the driver, which does not know them yet. Cheap to clone;
/// clones share their state.
#[derive(Clone, Default)]
pub(crate) struct ComingClaims(Arc<Mutex<(u64, Claims<u64>)>>);

/// The claim of one submission, until it is dropped.
pub(crate) struct ComingClaim {
    all: ComingClaims,
    claim: Claim,
    number: u64,
}

impl ComingClaims {
    /// Claims until the driver has the job. Call this before asking the driver for its jobs' claims
    /// and before searching for outputs, so that no output is missed by all three.
    pub(crate) fn claim(&self, claim: Claim) -> Result<ComingClaim, ClaimError> {
        claim.check()?;
        let mut coming = self.lock();
        let (last, claims) = &mut *coming;
        claims.check(&claim, |_| "a job that is being submitted".to_string())?;
        *last += 1;
        let number = *last;
        claims.add(&claim, number);
        drop(coming);
        Ok(ComingClaim { all: self.clone(), claim, number })
    }

    fn lock(&self) -> MutexGuard<'_, (u64, Claims<u64>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ComingClaim {
    fn drop(&mut self) {
        self.all.lock().1.remove(&self.claim, self.number);
    }
}

impl Claims<JobId> {
    /// Likewise, for jobs that have numbers.
    pub(crate) fn check_job(&self, claim: &Claim) -> Result<(), ClaimError> {
        self.check(claim, |job| job.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(output: &str, declared: &[&str]) -> Claim {
        let declared = declared.iter().map(PathBuf::from).collect();
        Claim { outputs: ["/link".into(), output.into()], declared }
    }

    #[test]
    fn declared_paths_and_outputs_must_not_overlap_in_either_order() {
        for (path, output, apart) in [
            ("/data/out", "/data/out", false),
            ("/data", "/data/out", false),
            ("/data/out/_temporary/x", "/data/out", false),
            ("/", "/data/out", false),
            ("/data/out-2", "/data/out", true),
            ("/data/ou", "/data/out", true),
            ("/data/notes", "/data/out", true),
            ("/data/out!", "/data/out", true),
        ] {
            let (writer, other) = (claim("/elsewhere", &[path]), claim(output, &[]));
            assert_eq!(claim(output, &[path]).check().is_ok(), apart, "{path} {output}");
            for (first, second) in [(&writer, &other), (&other, &writer)] {
                let second =
                    Claim { outputs: ["/l".into(), second.outputs[1].clone()], ..second.clone() };
                let mut claims = Claims::default();
                claims.add(first, JobId(7));
                let checked = claims.check_job(&second);
                assert_eq!(checked.is_ok(), apart, "{path} {output}");
                if let Err(error) = checked {
                    assert!(error.to_string().contains(&JobId(7).to_string()), "{error}");
                }
                claims.remove(first, JobId(7));
                claims.check_job(&second).unwrap();
            }
        }
    }

    #[test]
    fn several_jobs_may_declare_one_path() {
        let mut claims = Claims::default();
        for job in [1, 2] {
            let claim = claim(&format!("/out/{job}"), &["/data/notes", "/data/notes/deep"]);
            claims.check_job(&claim).unwrap();
            claims.add(&claim, JobId(job));
        }
        claims.remove(&claim("/out/2", &["/data/notes", "/data/notes/deep"]), JobId(2));
        let error = claims.check_job(&claim("/data/notes/out", &[])).unwrap_err().to_string();
        assert!(error.contains(&JobId(1).to_string()), "{error}");
        assert_eq!(claims.owner_of(Path::new("/out/1")), Some(JobId(1)));
        assert_eq!(claims.owner_of(Path::new("/out/2")), None);
    }

    #[test]
    fn one_of_two_concurrent_claims_is_refused() {
        let coming = ComingClaims::default();
        let first = coming.claim(claim("/data/out", &[])).unwrap();
        let writer = || Claim { outputs: ["/m".into(), "/o".into()], ..claim("", &["/data"]) };
        let error = coming.claim(writer()).err().unwrap().to_string();
        assert!(error.contains("a job that is being submitted"), "{error}");
        drop(first);
        coming.claim(writer()).unwrap();
    }
}
