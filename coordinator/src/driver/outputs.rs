//! The locations of a job's map outputs, as announced to workers: all of them, or the changes since
//! the last announcement.
//!
//! Each announcement is built and encoded once, however many workers there are. A change is as
//! large as the number of outputs that have moved: when one of ten thousand workers is lost while
//! reducers run, each of the others is sent a ten-thousandth of the outputs.

use std::collections::BTreeMap;
use std::sync::Arc;

use windrow_jobs::{AttemptId, JobId, WorkerId};
use windrow_scheduler::MapOutputs;

use super::catalog::Catalog;
use super::hosts::Hosts;
use super::outgoing::{OutputsHolder, OutputsTable, Shared, SharedContent};

/// The outputs of one job, as last announced.
#[derive(Default)]
pub(super) struct ToldOutputs {
    current: Option<Current>,
    /// The changes up to the current version, each from the version before.
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
    /// The messages to a worker that knows version `told`, so that it knows these outputs. O(M) for
    /// each new version.
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

    /// A worker that would need more changes than there are outputs is sent the whole table.
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

    /// For each message: the version that it changes, its version, and its number of outputs.
    fn told(all: &[Arc<Shared>]) -> Vec<(Option<u64>, u64, usize)> {
        let table = |shared: &Arc<Shared>| match &shared.content {
            SharedContent::Outputs(table) => (table.since, table.version, table.outputs.len()),
            other => panic!("{other:?}"),
        };
        all.iter().map(table).collect()
    }

    #[test]
    fn new_workers_are_sent_the_whole_table_and_others_the_changes() {
        let (catalog, hosts) = (Catalog::new(ClusterId(1)), Hosts::default());
        let mut outputs_told = ToldOutputs::default();
        let mut tell = |since, outputs: &Arc<MapOutputs>| {
            outputs_told.since(since, JOB, outputs, &catalog, &hosts)
        };
        let first = tell(None, &outputs(1, 0));
        assert_eq!(told(&first), [(None, 1, 100)]);
        assert!(tell(Some(1), &outputs(1, 0)).is_empty(), "it is up to date");
        assert!(
            Arc::ptr_eq(&first[0], &tell(None, &outputs(1, 0))[0]),
            "all workers share one message"
        );

        assert_eq!(told(&tell(Some(1), &outputs(4, 5))), [(Some(1), 4, 5)]);
        assert_eq!(told(&tell(Some(4), &outputs(6, 12))), [(Some(4), 6, 7)]);
        assert_eq!(told(&tell(Some(1), &outputs(6, 12))), [(Some(1), 4, 5), (Some(4), 6, 7)]);
        assert_eq!(told(&tell(None, &outputs(6, 12))), [(None, 6, 100)]);
        assert_eq!(told(&tell(Some(3), &outputs(6, 12))), [(None, 6, 100)], "never announced");

        // More than half of the outputs have moved since then.
        assert_eq!(told(&tell(Some(6), &outputs(7, 55))), [(Some(6), 7, 43)]);
        assert_eq!(told(&tell(Some(4), &outputs(7, 55))), [(Some(4), 6, 7), (Some(6), 7, 43)]);
        assert_eq!(told(&tell(Some(1), &outputs(7, 55))), [(None, 7, 100)]);
    }

    #[test]
    fn each_holder_is_listed_once_and_in_order() {
        let (catalog, hosts) = (Catalog::new(ClusterId(1)), Hosts::default());
        let whole = outputs(1, 1);
        let table = table(JOB, 1, None, &whole.outputs, &catalog, &hosts);
        let holders: Vec<_> = table.holders.iter().map(|holder| holder.worker.0).collect();
        assert_eq!(holders, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 99]);
        assert_eq!(table.outputs[..3], [(0, 2, 10), (1, 1, 1), (2, 1, 2)]);
    }
}
