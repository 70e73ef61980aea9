//! The jobs that a binary can run, by name.

use std::collections::BTreeMap;

use super::Job;

/// The jobs that this binary can run, by name.
#[derive(Debug, Default)]
pub struct Registry {
    jobs: BTreeMap<String, Job>,
}

impl Registry {
    /// A registry of `jobs`. Of two jobs with the same name the later one wins, so that a program
    /// can replace a ready job.
    pub fn new(jobs: impl IntoIterator<Item = Job>) -> Self {
        Self { jobs: jobs.into_iter().map(|job| (job.name().to_string(), job)).collect() }
    }

    /// The job called `name`.
    pub fn get(&self, name: &str) -> Option<&Job> {
        self.jobs.get(name)
    }

    /// A registered name that is similar to the unknown `name`.
    pub fn suggest(&self, name: &str) -> Option<&str> {
        // Up to one wrong letter in three counts as a typing error.
        let slips_max = (name.chars().count() / 3).max(1);
        self.jobs
            .keys()
            .map(|known| (strsim::damerau_levenshtein(known, name), known))
            .filter(|(slips, _)| *slips <= slips_max)
            .min()
            .map(|(_, known)| known.as_str())
    }

    /// All jobs in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values()
    }
}
