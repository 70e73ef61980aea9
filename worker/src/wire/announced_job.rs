//! What the coordinator has announced of a job: its context, the split points of an ordered job,
//! and where its map outputs lie. Orders name only what differs from task to task, and become
//! requests here.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use windrow_jobs::WorkerId;
use windrow_jobs::partitioning::SplitPoints;

use super::{Holder, Malformed, MapOrder, ReduceOrder, ToldOutputs};
use crate::model::{JobContext, RunRequest, Work, WorkerOutputs};

/// The announcements of a job.
#[derive(Default)]
pub(crate) struct AnnouncedJob {
    context: Option<Arc<JobContext>>,
    split_points: Arc<SplitPoints>,
    outputs: AnnouncedOutputs,
}

/// The reader of outputs: it reads those on the same machine directly.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reader {
    /// The worker; `None` in the process of a job, which finds its worker's outputs by itself.
    pub worker: Option<WorkerId>,
    /// The number of its machine in the announcements; 0 if it is not known.
    pub host_number: u32,
    /// Its machine.
    pub host: String,
    /// Its own folder of segments.
    pub directory: PathBuf,
}

#[derive(Default)]
struct AnnouncedOutputs {
    /// Zero before any are announced.
    version: u64,
    /// For each map task, the holder of its output, and the number of its attempt.
    outputs: Vec<(WorkerId, u32)>,
    holders: BTreeMap<WorkerId, Holder>,
    by_worker: Arc<Vec<WorkerOutputs>>,
}

impl AnnouncedJob {
    /// Sets the settings that all tasks share. A number belongs to one job for as long as a session
    /// lasts.
    pub(crate) fn take_context(&mut self, mut context: JobContext) -> Result<(), Malformed> {
        let announced = self.context.as_ref();
        if announced.is_some_and(|announced| announced.identity != context.identity) {
            return Err(Malformed("the number of a job was given to another job"));
        }
        context.split_points = Arc::clone(&self.split_points);
        self.context = Some(Arc::new(context));
        Ok(())
    }

    /// Sets the split points.
    pub(crate) fn take_split_points(&mut self, points: SplitPoints) {
        self.split_points = Arc::new(points);
        if let Some(context) = &mut self.context {
            Arc::make_mut(context).split_points = Arc::clone(&self.split_points);
        }
    }

    /// Sets or updates where map outputs lie. O(M).
    pub(crate) fn take_outputs(
        &mut self,
        told: ToldOutputs,
        reader: &Reader,
    ) -> Result<(), Malformed> {
        self.outputs.take(told)?;
        self.outputs.by_worker = Arc::new(self.outputs.by_worker(reader));
        Ok(())
    }

    /// The request for a map attempt.
    pub(crate) fn map(&self, order: MapOrder) -> Result<RunRequest, Malformed> {
        let MapOrder { attempt, input, ranges, alone, skip } = order;
        let work = Work::Map { input, ranges };
        Ok(RunRequest { attempt, context: self.context()?, work, alone, skip })
    }

    /// The request for a reduce attempt.
    pub(crate) fn reduce(&self, order: ReduceOrder) -> Result<RunRequest, Malformed> {
        let ReduceOrder { attempt, outputs_version, alone, skip } = order;
        if outputs_version != self.outputs.version {
            return Err(Malformed("a reduce attempt came without its map outputs"));
        }
        let work = Work::Reduce(Arc::clone(&self.outputs.by_worker));
        Ok(RunRequest { attempt, context: self.context()?, work, alone, skip })
    }

    fn context(&self) -> Result<Arc<JobContext>, Malformed> {
        self.context.clone().ok_or(Malformed("an attempt came before its job's context"))
    }
}

impl AnnouncedOutputs {
    fn take(&mut self, told: ToldOutputs) -> Result<(), Malformed> {
        let ToldOutputs { version, since, tasks, outputs, holders, .. } = told;
        let who = |&(holder, attempt): &(u32, u32)| {
            let holder: &Holder = &holders[holder as usize];
            (holder.worker, attempt)
        };
        match since {
            None => {
                self.outputs = outputs.iter().map(who).collect();
                self.holders.clear();
            }
            Some(since) if since == self.version => {
                if tasks.last().is_some_and(|last| *last as usize >= self.outputs.len()) {
                    return Err(Malformed("an output of an unknown map task"));
                }
                for (task, output) in tasks.iter().zip(&outputs) {
                    self.outputs[*task as usize] = who(output);
                }
            }
            Some(_) => return Err(Malformed("a change to an unknown version of the map outputs")),
        }
        self.version = version;
        self.holders.extend(holders.into_iter().map(|holder| (holder.worker, holder)));
        Ok(())
    }

    /// The outputs by worker, for the shuffle; drops workers that hold none any more.
    fn by_worker(&mut self, reader: &Reader) -> Vec<WorkerOutputs> {
        let mut by_worker: BTreeMap<WorkerId, Vec<(u32, u32)>> = BTreeMap::new();
        for (task, (worker, attempt)) in self.outputs.iter().enumerate() {
            by_worker.entry(*worker).or_default().push((task as u32, *attempt));
        }
        self.holders.retain(|worker, _| by_worker.contains_key(worker));
        debug_assert_eq!(self.holders.len(), by_worker.len(), "every holder was named");
        // Both are in the order of workers.
        let holders = self.holders.values().zip(by_worker.into_values());
        holders.map(|(holder, outputs)| holder.outputs(outputs, reader)).collect()
    }
}

impl Holder {
    fn outputs(&self, outputs: Vec<(u32, u32)>, reader: &Reader) -> WorkerOutputs {
        let is_own = reader.worker == Some(self.worker);
        let is_near = self.host != 0 && self.host == reader.host_number;
        let directory = if is_own { &reader.directory } else { &self.directory };
        let can_be_read = is_own || is_near && !directory.as_os_str().is_empty();
        WorkerOutputs {
            worker: self.worker,
            shuffle_address: self.shuffle_address.clone(),
            host: if can_be_read { reader.host.clone() } else { String::new() },
            directory: directory.clone(),
            outputs,
        }
    }
}

#[cfg(test)]
mod tests {
    use windrow_jobs::{JobId, JobIdentity};

    use super::*;

    fn holder(worker: u64, host: u32) -> Holder {
        Holder {
            worker: WorkerId(worker),
            shuffle_address: format!("w{worker}:1"),
            host,
            directory: if host == 7 { format!("/w{worker}").into() } else { PathBuf::new() },
        }
    }

    fn whole() -> ToldOutputs {
        ToldOutputs {
            job: JobId(1),
            version: 3,
            since: None,
            tasks: Vec::new(),
            outputs: vec![(0, 1), (1, 1), (0, 2), (2, 1)],
            holders: vec![holder(4, 7), holder(5, 8), holder(9, 7)],
        }
    }

    fn reader() -> Reader {
        let (host, directory) = ("here".into(), "/own".into());
        Reader { worker: Some(WorkerId(9)), host_number: 7, host, directory }
    }

    fn announced(told: impl IntoIterator<Item = ToldOutputs>) -> Result<AnnouncedJob, Malformed> {
        let mut job = AnnouncedJob::default();
        told.into_iter().try_for_each(|told| job.take_outputs(told, &reader()))?;
        Ok(job)
    }

    fn change(since: u64, tasks: Vec<u32>, outputs: Vec<(u32, u32)>) -> ToldOutputs {
        let holders = vec![holder(5, 8), holder(12, 9)];
        ToldOutputs { version: 5, since: Some(since), tasks, outputs, holders, ..whole() }
    }

    #[test]
    fn outputs_are_grouped_by_worker_and_only_local_ones_have_a_folder() {
        let job = announced([whole()]).unwrap();
        let lie = |worker, host: &str, directory: &str, outputs| WorkerOutputs {
            worker: WorkerId(worker),
            shuffle_address: format!("w{worker}:1"),
            host: host.into(),
            directory: directory.into(),
            outputs,
        };
        let expected = [
            lie(4, "here", "/w4", vec![(0, 1), (2, 2)]),
            lie(5, "", "", vec![(1, 1)]),
            lie(9, "here", "/own", vec![(3, 1)]),
        ];
        assert_eq!(job.outputs.by_worker[..], expected);
    }

    #[test]
    fn a_number_cannot_be_given_to_another_job() {
        let context = crate::testing::context();
        let mut job = AnnouncedJob::default();
        job.take_context(context.clone()).unwrap();
        job.take_context(context.clone()).unwrap();
        let other = JobContext { identity: JobIdentity(context.identity.0 + 1), ..context };
        assert!(job.take_context(other).is_err());
    }

    #[test]
    fn changes_lead_to_the_same_outputs_as_a_full_list() {
        let changed = announced([whole(), change(3, vec![0, 3], vec![(1, 3), (0, 2)])]).unwrap();
        let told = ToldOutputs {
            version: 5,
            outputs: vec![(2, 3), (1, 1), (0, 2), (1, 2)],
            holders: vec![holder(4, 7), holder(5, 8), holder(12, 9)],
            ..whole()
        };
        assert_eq!(changed.outputs.by_worker, announced([told]).unwrap().outputs.by_worker);
        assert_eq!(changed.outputs.holders.len(), 3, "a worker without outputs is dropped");
    }

    #[test]
    fn changes_to_an_unknown_version_are_refused() {
        assert!(announced([change(3, vec![], vec![])]).is_err());
        assert!(announced([whole(), change(2, vec![], vec![])]).is_err());
        assert!(announced([whole(), change(3, vec![4], vec![(0, 1)])]).is_err());
    }
}
