//! Where a job's map outputs lie, as workers are told: the whole, or what has changed since they
//! were told last.
//!
//! Whatever is told is built and encoded once, however many workers there are. A change costs as
//! much as has changed: when one of ten thousand workers is lost while reducers run, each of the
//! others hears of a ten-thousandth of the outputs.

use std::collections::BTreeMap;
use std::sync::Arc;

use windrow_jobs::{AttemptId, JobId, WorkerId};
use windrow_scheduler::MapOutputs;

use super::catalog::Catalog;
use super::hosts::Hosts;
use super::outgoing::{OutputsHolder, OutputsTable, Shared, SharedContent};

/// The outputs of one job, as last told.
#[derive(Default)]
pub(super) struct ToldOutputs {
    current: Option<Current>,
    /// Those that lead to the current version, each from the version before.
    changes: Vec<Change>,
}

struct Current {
    outputs: Arc<MapOutputs>,
    whole: Arc<Shared>,
}

struct Change {
    since: u64,
    moved: usize,
    shared: Arc<Shared>,
}

impl ToldOutputs {
    /// What to tell a worker that was told of version `told`, so that it knows these outputs. O(M)
    /// for each new version.
    pub(super) fn since(
        &mut self,
        told: Option<u64>,
        job: JobId,
        outputs: &Arc<MapOutputs>,
        catalog: &Catalog,
        hosts: &Hosts,
    ) -> Vec<Arc<Shared>> {
        let current = self.current.as_ref().map(|current| current.outputs.version);
        if current != Some(outputs.version) {
            self.renew(job, outputs, catalog, hosts);
        }
        if told == Some(outputs.version) {
            return Vec::new();
        }
        let from = self.changes.iter().position(|change| Some(change.since) == told);
        match (from, &self.current) {
            (Some(from), _) => {
                self.changes[from..].iter().map(|change| Arc::clone(&change.shared)).collect()
            }
            (None, Some(current)) => vec![Arc::clone(&current.whole)],
            (None, None) => Vec::new(),
        }
    }

    fn renew(&mut self, job: JobId, outputs: &Arc<MapOutputs>, catalog: &Catalog, hosts: &Hosts) {
        let table = |since, moved: Vec<(AttemptId, WorkerId)>| {
            let table = table(job, outputs.version, since, &moved, catalog, hosts);
            Shared::new(SharedContent::Outputs(table))
        };
        if let Some(Current { outputs: before, .. }) = self.current.take() {
            let pairs = outputs.outputs.iter().zip(&before.outputs);
            let moved: Vec<_> = pairs.filter(|(now, then)| now != then).map(|it| *it.0).collect();
            debug_assert_eq!(outputs.outputs.len(), before.outputs.len(), "a job keeps its tasks");
            let (since, count) = (before.version, moved.len());
            self.changes.push(Change { since, moved: count, shared: table(Some(since), moved) });
            self.forget_long_ways(outputs.outputs.len());
        }
        let whole = table(None, outputs.outputs.clone());
        self.current = Some(Current { outputs: Arc::clone(outputs), whole });
    }

    /// Who would be told more by changes than there is to know is told the whole.
    fn forget_long_ways(&mut self, outputs: usize) {
        let mut moved: usize = self.changes.iter().map(|change| change.moved).sum();
        while let Some(first) = self.changes.first().filter(|_| moved > outputs / 2) {
            moved -= first.moved;
            self.changes.remove(0);
        }
    }
}

fn table(
    job: JobId,
    version: u64,
    since: Option<u64>,
    outputs: &[(AttemptId, WorkerId)],
    catalog: &Catalog,
    hosts: &Hosts,
) -> OutputsTable {
    let mut places: BTreeMap<WorkerId, u32> =
        outputs.iter().map(|(_, worker)| (*worker, 0)).collect();
    let mut holders = Vec::with_capacity(places.len());
    for (index, (worker, place)) in places.iter_mut().enumerate() {
        *place = index as u32;
        let profile = catalog.worker(*worker).cloned();
        let name = profile.as_ref().map_or("", |profile| &profile.host);
        let (host, has_neighbours) = (hosts.number(name), hosts.has_several(name));
        holders.push(OutputsHolder { worker: *worker, profile, host, has_neighbours });
    }
    let output = |(attempt, worker): &(AttemptId, WorkerId)| {
        (attempt.task.index, attempt.number, places[worker])
    };
    OutputsTable { job, version, since, outputs: outputs.iter().map(output).collect(), holders }
}

#[cfg(test)]
mod tests {
    use windrow_jobs::{StageId, TaskId};

    use super::*;
    use crate::journal::ClusterId;

    const JOB: JobId = JobId(1);

    /// Version `version` of 100 outputs on ten workers; those of the first `moved` tasks are on
    /// worker 99.
    fn outputs(version: u64, moved: u32) -> Arc<MapOutputs> {
        let output = |index| {
            let (number, worker) = if index < moved { (2, 99) } else { (1, u64::from(index % 10)) };
            let task = TaskId { job: JOB, stage: StageId::MAP, index };
            (AttemptId { task, number }, WorkerId(worker))
        };
        Arc::new(MapOutputs { version, outputs: (0..100).map(output).collect() })
    }

    /// Of each thing that is told: the version that it is a change to, its version, and how many
    /// outputs it names.
    fn told(all: &[Arc<Shared>]) -> Vec<(Option<u64>, u64, usize)> {
        let table = |shared: &Arc<Shared>| match &shared.content {
            SharedContent::Outputs(table) => (table.since, table.version, table.outputs.len()),
            other => panic!("{other:?}"),
        };
        all.iter().map(table).collect()
    }

    #[test]
    fn who_knows_nothing_is_told_the_whole_and_others_what_has_changed() {
        let (catalog, hosts) = (Catalog::new(ClusterId(1)), Hosts::default());
        let mut outputs_told = ToldOutputs::default();
        let mut tell = |since, outputs: &Arc<MapOutputs>| {
            outputs_told.since(since, JOB, outputs, &catalog, &hosts)
        };
        let first = tell(None, &outputs(1, 0));
        assert_eq!(told(&first), [(None, 1, 100)]);
        assert!(tell(Some(1), &outputs(1, 0)).is_empty(), "it knows all");
        assert!(Arc::ptr_eq(&first[0], &tell(None, &outputs(1, 0))[0]), "all get the same");

        assert_eq!(told(&tell(Some(1), &outputs(4, 5))), [(Some(1), 4, 5)]);
        assert_eq!(told(&tell(Some(4), &outputs(6, 12))), [(Some(4), 6, 7)]);
        assert_eq!(told(&tell(Some(1), &outputs(6, 12))), [(Some(1), 4, 5), (Some(4), 6, 7)]);
        assert_eq!(told(&tell(None, &outputs(6, 12))), [(None, 6, 100)]);
        assert_eq!(
            told(&tell(Some(3), &outputs(6, 12))),
            [(None, 6, 100)],
            "never told to anybody"
        );

        // More than half of all has moved since then.
        assert_eq!(told(&tell(Some(6), &outputs(7, 55))), [(Some(6), 7, 43)]);
        assert_eq!(told(&tell(Some(4), &outputs(7, 55))), [(Some(4), 6, 7), (Some(6), 7, 43)]);
        assert_eq!(told(&tell(Some(1), &outputs(7, 55))), [(None, 7, 100)]);
    }

    #[test]
    fn holders_are_named_once_and_in_order() {
        let (catalog, hosts) = (Catalog::new(ClusterId(1)), Hosts::default());
        let whole = outputs(1, 1);
        let table = table(JOB, 1, None, &whole.outputs, &catalog, &hosts);
        let holders: Vec<_> = table.holders.iter().map(|holder| holder.worker.0).collect();
        assert_eq!(holders, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 99]);
        assert_eq!(table.outputs[..3], [(0, 2, 10), (1, 1, 1), (2, 1, 2)]);
    }
}
