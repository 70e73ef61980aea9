//! A cache of listings of ordered jobs, from the request for the number of ranges to the
//! submission: a listing that took minutes is made once.
//!
//! A submission whose listing is missing or has other inputs is listed again.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use windrow_jobs::JobSpec;
use windrow_scheduler::SubmissionId;

use super::Listing;

/// How long a listing is kept: the submitter takes its sample meanwhile.
pub(crate) const KEPT_FOR: Duration = Duration::from_secs(600);

/// Most listings, and most files in all of them.
const LISTINGS_MAX: usize = 16;
const FILES_MAX: usize = 4_000_000;

/// Listings that wait for their submissions.
#[derive(Debug)]
pub(crate) struct KeptListings<T>(Mutex<VecDeque<Kept<T>>>);

#[derive(Debug)]
struct Kept<T> {
    id: SubmissionId,
    spec: JobSpec,
    listing: Listing,
    since: Instant,
    /// A value that is kept with the listing.
    with: T,
}

impl<T> Default for KeptListings<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> KeptListings<T> {
    /// Keeps the listing of a job and a value with it. Evicts the oldest if there are too many.
    pub(crate) fn keep(&self, id: SubmissionId, spec: JobSpec, listing: Listing, with: T) {
        let kept = Kept { id, spec, listing, since: Instant::now(), with };
        self.change(|all| {
            all.retain(|other| other.id != id);
            all.push_back(kept);
            let files = |all: &VecDeque<Kept<T>>| {
                all.iter().map(|kept| kept.listing.files.len()).sum::<usize>()
            };
            while all.len() > LISTINGS_MAX || (files(all) > FILES_MAX && !all.is_empty()) {
                all.pop_front();
            }
        });
    }

    /// Takes the listing of a submission, if it has the same inputs and the same output.
    pub(crate) fn take(&self, id: SubmissionId, spec: &JobSpec) -> Option<(Listing, T)> {
        let place = |kept: &Kept<T>| kept.id == id;
        let kept = self.change(|all| all.remove(all.iter().position(place)?))?;
        let is_same = kept.spec.inputs == spec.inputs
            && kept.spec.output == spec.output
            && kept.spec.job == spec.job;
        is_same.then_some((kept.listing, kept.with))
    }

    /// Removes expired listings.
    pub(crate) fn forget_old(&self) {
        self.change(|all| all.retain(|kept| kept.since.elapsed() < KEPT_FOR));
    }

    fn change<R>(&self, change: impl FnOnce(&mut VecDeque<Kept<T>>) -> R) -> R {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use windrow_jobs::{JobExecutable, JobInput, JobOptions};

    use super::*;

    fn spec(pattern: &str) -> JobSpec {
        JobSpec {
            job: "sort".into(),
            params: "{}".into(),
            inputs: vec![JobInput { name: String::new(), pattern: pattern.parse().unwrap() }],
            output: "/out".parse().unwrap(),
            options: JobOptions::default(),
            program: JobExecutable::default(),
            files: Vec::new(),
            writable: Vec::new(),
        }
    }

    fn listing() -> Listing {
        Listing { files: Vec::new(), inputs: Vec::new() }
    }

    #[test]
    fn a_submission_finds_its_own_listing_once() {
        let kept = KeptListings::default();
        kept.keep(SubmissionId(1), spec("/a"), listing(), "one");
        kept.keep(SubmissionId(2), spec("/b"), listing(), "two");
        assert!(kept.take(SubmissionId(3), &spec("/a")).is_none());
        assert_eq!(kept.take(SubmissionId(1), &spec("/a")).unwrap().1, "one");
        assert!(kept.take(SubmissionId(1), &spec("/a")).is_none());
        // Other inputs under the same name get none.
        assert!(kept.take(SubmissionId(2), &spec("/a")).is_none());
        kept.keep(SubmissionId(4), spec("/a"), listing(), "four");
        kept.forget_old();
        assert!(kept.take(SubmissionId(4), &spec("/a")).is_some());
    }

    #[test]
    fn the_number_of_listings_is_bounded() {
        let kept = KeptListings::default();
        let ids = || (0..=LISTINGS_MAX as u128).map(SubmissionId);
        ids().for_each(|id| kept.keep(id, spec("/a"), listing(), ()));
        let found: Vec<_> = ids().map(|id| kept.take(id, &spec("/a")).is_some()).collect();
        assert_eq!(found.iter().filter(|found| **found).count(), LISTINGS_MAX);
        assert!(!found[0]);
    }
}
