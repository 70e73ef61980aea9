//! Where the outputs of a stage lie that a later stage reads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use windrow_model::{AttemptId, WorkerId};

use crate::config::Config;
use crate::effect::MapOutputs;
use crate::job::stage::holder::{Complaint, GivenUp, Holder};

/// The outputs of a stage's winners.
///
/// Invariants: each winner's output is listed at the worker that it won on, and nothing else is; a
/// holder holds something, and complaints about it are about what it holds now; the version grows
/// whenever an output is lost, and the table is of the current version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outputs {
    holders: BTreeMap<WorkerId, Holder>,
    version: u64,
    /// Where they lie, collected when the first reader needs it.
    #[serde(skip)]
    table: Option<Arc<MapOutputs>>,
    /// The first task whose second run wrote something else.
    nondeterministic: Option<u32>,
    /// Whether readers may have read different outputs of one task, all of them combined from the
    /// same pairs.
    mixed: bool,
}

impl Outputs {
    /// No output yet.
    pub(super) fn new() -> Self {
        let holders = BTreeMap::new();
        Self { holders, version: 1, table: None, nondeterministic: None, mixed: false }
    }

    /// Adds the output of a task that has won on a worker.
    pub(super) fn keep(&mut self, worker: WorkerId, index: u32) {
        self.holders.entry(worker).or_default().keep(index);
    }

    /// Removes outputs that are lost. Readers that run are told by the new version.
    pub(super) fn lose(&mut self, lost: impl Iterator<Item = (WorkerId, u32)>) {
        for (worker, index) in lost {
            let Some(holder) = self.holders.get_mut(&worker) else {
                debug_assert!(false, "a winner's output is listed at its holder");
                continue;
            };
            holder.lose(index);
            if holder.outputs().is_empty() {
                // Its next outputs are new: earlier complaints do not concern them.
                self.holders.remove(&worker);
            }
        }
        self.table = None;
        self.version += 1;
    }

    /// Their version, which grows whenever one is lost.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Where they lie. `all` has the output of each task; O(tasks) for the first reader after a
    /// change.
    pub(super) fn table(
        &mut self,
        all: impl Iterator<Item = (AttemptId, WorkerId)>,
    ) -> Arc<MapOutputs> {
        let version = self.version;
        let collect = || Arc::new(MapOutputs { version, outputs: all.collect() });
        let table = self.table.get_or_insert_with(collect);
        debug_assert_eq!(table.version, version, "a change forgets the table");
        Arc::clone(table)
    }

    /// The workers that hold any, with the tasks.
    pub(crate) fn holders(&self) -> impl Iterator<Item = (WorkerId, &BTreeSet<u32>)> {
        self.holders.iter().map(|(worker, holder)| (*worker, holder.outputs()))
    }

    /// The tasks whose output a worker holds, if it holds any.
    pub(crate) fn held_by(&self, worker: WorkerId) -> Option<&BTreeSet<u32>> {
        self.holders.get(&worker).map(Holder::outputs)
    }

    /// Judges a complaint about an output that `holder` holds. Returns what is to be given up.
    pub(crate) fn complain(
        &mut self,
        holder: WorkerId,
        complaint: &Complaint,
        config: &Config,
    ) -> Option<GivenUp> {
        let holder = self.holders.get_mut(&holder);
        debug_assert!(holder.is_some(), "a winner's output is listed at its holder");
        holder?.complain(complaint, config)
    }

    /// The first task whose second run wrote something else, if there is one.
    pub(crate) fn nondeterministic(&self) -> Option<u32> {
        self.nondeterministic
    }

    /// Another run of a task has written something else, and readers of the former output run
    /// again.
    pub(crate) fn differ(&mut self, index: u32) {
        self.nondeterministic.get_or_insert(index);
        self.mixed = false;
    }

    /// Whether readers may have read different outputs of one task, all of them combined from the
    /// same pairs.
    pub(crate) fn are_mixed(&self) -> bool {
        self.mixed
    }

    /// A reader may have read an output of which there is another version, combined otherwise.
    pub(crate) fn mix(&mut self) {
        self.mixed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLDER: WorkerId = WorkerId(1);

    fn complain(outputs: &mut Outputs, reader: u64) -> Option<(usize, bool)> {
        let reader = WorkerId(reader);
        let complaint = Complaint { output: 0, reports: 1, reader, readers_won: 0 };
        let config = Config { holder_reports_max: 3, ..Config::default() };
        let given_up = outputs.complain(HOLDER, &complaint, &config)?;
        Some((given_up.outputs.len(), given_up.is_surely_at_fault))
    }

    #[test]
    fn complaints_are_dropped_with_the_outputs() {
        let mut outputs = Outputs::new();
        outputs.keep(HOLDER, 0);
        outputs.keep(HOLDER, 1);
        assert_eq!(complain(&mut outputs, 2), None);
        assert_eq!(complain(&mut outputs, 2), None);
        assert_eq!(complain(&mut outputs, 3), Some((2, true)));
        outputs.lose([(HOLDER, 0), (HOLDER, 1)].into_iter());
        assert_eq!((outputs.held_by(HOLDER), outputs.version()), (None, 2));
        // Made again on the same worker: the next complaint is the first one, and of one reader.
        outputs.keep(HOLDER, 0);
        assert_eq!(complain(&mut outputs, 2), None);
        assert_eq!(complain(&mut outputs, 2), None);
        assert_eq!(complain(&mut outputs, 2), Some((1, false)));
    }
}
