//! A bound on the jobs of one submitter: they are held in memory and in the journal until they end,
//! and come back after a restart.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tonic::Status;
use windrow_jobs::JobSpec;

use crate::submitter::Load;

/// Jobs of one submitter that have not ended.
const JOBS_OF_ONE_MAX: u64 = 1_000;
/// Bytes of the specifications of these jobs. A single one may have 24 MiB.
const BYTES_OF_ONE_MAX: u64 = 64 << 20;

/// Submissions on their way to the driver, which does not know them yet. Cheap to clone; clones
/// share their state.
#[derive(Clone, Default)]
pub(super) struct PendingSubmissions(Arc<Mutex<BTreeMap<String, Load>>>);

/// A submission on its way, until it is dropped.
pub(super) struct PendingSubmission {
    all: PendingSubmissions,
    submitter: String,
    load: Load,
}

impl PendingSubmissions {
    /// Counts a submission from now on. Call this before asking the driver for its jobs, so that no
    /// submission is missed by both.
    pub(super) fn count(&self, submitter: &str, spec: &JobSpec) -> PendingSubmission {
        let (load, submitter) = (Load::of(spec), submitter.to_string());
        let mut coming = self.lock();
        let of_submitter = coming.entry(submitter.clone()).or_default();
        *of_submitter = of_submitter.and(load);
        drop(coming);
        PendingSubmission { all: self.clone(), submitter, load }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Load>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PendingSubmission {
    /// Refuses the submission if its submitter would exceed a bound; `there` is the driver's count.
    pub(super) fn check(&self, there: Load) -> Result<(), Status> {
        let coming = self.all.lock().get(&self.submitter).copied().unwrap_or_default();
        let Load { jobs, bytes } = there.and(coming);
        if jobs <= JOBS_OF_ONE_MAX && bytes <= BYTES_OF_ONE_MAX {
            return Ok(());
        }
        Err(Status::resource_exhausted(format!(
            "with this job, {} would have {jobs} jobs that have not ended, with specifications of {bytes} bytes; the most for one \
             submitter are {JOBS_OF_ONE_MAX} jobs and {BYTES_OF_ONE_MAX} bytes: wait for some to end, or cancel some \
             ('windrow cancel')",
            self.submitter
        )))
    }
}

impl Drop for PendingSubmission {
    fn drop(&mut self) {
        let mut coming = self.all.lock();
        let Some(load) = coming.get_mut(&self.submitter) else { return };
        *load = Load { jobs: load.jobs - self.load.jobs, bytes: load.bytes - self.load.bytes };
        if load.jobs == 0 {
            coming.remove(&self.submitter);
        }
    }
}

#[cfg(test)]
mod tests {
    use windrow_jobs::{JobExecutable, JobOptions};

    use super::*;

    fn spec(params: usize) -> JobSpec {
        JobSpec {
            job: "sort".into(),
            params: "x".repeat(params),
            inputs: Vec::new(),
            output: "/out".parse().unwrap(),
            options: JobOptions::default(),
            program: JobExecutable::default(),
            files: Vec::new(),
            writable: Vec::new(),
        }
    }

    #[test]
    fn jobs_of_one_submitter_are_bounded_in_number_and_bytes() {
        let pending = PendingSubmissions::default();
        let there = |jobs, bytes| Load { jobs, bytes };
        let one = pending.count("ada", &spec(10));
        one.check(there(999, 0)).unwrap();
        let error = one.check(there(1_000, 0)).unwrap_err();
        assert_eq!(error.code(), tonic::Code::ResourceExhausted);
        for part in ["ada would have 1001 jobs", "1000 jobs and 67108864 bytes"] {
            assert!(error.message().contains(part), "{}", error.message());
        }
        assert!(one.check(there(1, 64 << 20)).is_err());
        // Submissions on their way count for their own submitter only.
        let large = pending.count("ada", &spec(1 << 20));
        pending.count("bob", &spec(1 << 20)).check(there(999, 0)).unwrap();
        assert!(one.check(there(999, 0)).is_err());
        assert!(one.check(there(0, 63 << 20)).is_err());
        drop(large);
        one.check(there(999, 63 << 20)).unwrap();
        drop(one);
        assert!(pending.lock().is_empty());
    }
}
