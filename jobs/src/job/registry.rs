//! The jobs that a binary can run, by name.

use std::collections::BTreeMap;

use super::Job;

/// The jobs that this binary can run, by name.
#[derive(Debug, Default)]
pub struct Registry {
    jobs: BTreeMap<String, Job>,
}

impl Registry {
    /// All of `jobs`. Of two with the same name the later one counts, so that a program can replace
    /// a ready job.
    pub fn new(jobs: impl IntoIterator<Item = Job>) -> Self {
        Self { jobs: jobs.into_iter().map(|job| (job.name().to_string(), job)).collect() }
    }

    /// The job called `name`.
    pub fn get(&self, name: &str) -> Option<&Job> {
        self.jobs.get(name)
    }

    /// The name that was perhaps meant by `name`, which is unknown.
    pub fn suggest(&self, name: &str) -> Option<&str> {
        // One slip in three letters may still be a slip.
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
