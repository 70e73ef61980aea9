//! The reducer's side of the shuffle: a source for each file that can be read here, and one stream or a few for
//! each other worker.

mod remote;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use windrow_jobs::JobId;

use self::remote::RemoteSource;
use super::origin::{MapOutputSource, Origin};
use super::peers::Peers;
use super::serve::{Identity, OUTPUTS_MAX};
use super::source::BlockSource;
use super::store::{SegmentStore, segment_path};
use crate::executor::WorkerOutputs;

/// How long a reducer waits for another worker before it reports that it cannot fetch.
#[derive(Clone, Copy, Debug)]
pub struct FetchTimeouts {
    /// For a connection, and for the answer to a request.
    pub connect: Duration,
    /// For each further message, while the reducer has room for it.
    pub stall: Duration,
}

impl Default for FetchTimeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), stall: Duration::from_secs(60) }
    }
}

/// Finds the outputs that a reducer needs.
pub struct Fetcher {
    /// Who this worker is.
    pub identity: Arc<Identity>,
    /// Its machine; empty if that is not known.
    pub host: String,
    /// Its own outputs.
    pub store: Arc<SegmentStore>,
    /// The other workers.
    pub peers: Arc<Peers>,
    /// How long they may take.
    pub timeouts: FetchTimeouts,
}

/// What a reducer needs, and for how long.
pub struct FetchPlan<'a> {
    /// The job.
    pub job: JobId,
    /// The partition.
    pub partition: u32,
    /// All outputs of its maps.
    pub outputs: &'a [WorkerOutputs],
    /// Where streams are received.
    pub runtime: Handle,
    /// Ends them.
    pub cancel: CancellationToken,
}

impl Fetcher {
    /// One source or several for each worker. Nothing is opened before it is needed.
    pub fn sources(&self, plan: &FetchPlan<'_>) -> Vec<Box<dyn BlockSource>> {
        let mut sources: Vec<Box<dyn BlockSource>> = Vec::new();
        for worker in plan.outputs {
            match self.local_directory(plan, worker) {
                Some(directory) => {
                    let files = worker.outputs.iter().map(|(task, attempt)| {
                        let path = segment_path(directory, plan.job, *task, *attempt);
                        let origin = origin(worker, (*task, *attempt));
                        Box::new(MapOutputSource::new(path, plan.partition, origin)) as _
                    });
                    sources.extend(files);
                }
                None => sources.extend(
                    worker
                        .outputs
                        .chunks(OUTPUTS_MAX)
                        .filter_map(|outputs| self.remote(plan, worker, outputs))
                        .map(|source| Box::new(source) as _),
                ),
            }
        }
        sources
    }

    /// The worker's folder, if its files are to be read directly: it is this one, or runs on the same host and
    /// its files can be seen (they cannot in another container), or has no address.
    fn local_directory<'a>(
        &'a self,
        plan: &FetchPlan<'_>,
        worker: &'a WorkerOutputs,
    ) -> Option<&'a Path> {
        if self.identity.is(worker.worker) {
            return Some(self.store.directory());
        }
        let is_visible = |(task, attempt): &(u32, u32)| {
            segment_path(&worker.directory, plan.job, *task, *attempt).exists()
        };
        let is_near = !self.host.is_empty()
            && worker.host == self.host
            && worker.outputs.iter().all(is_visible);
        (is_near || worker.shuffle_address.is_empty()).then_some(&worker.directory)
    }

    fn remote(
        &self,
        plan: &FetchPlan<'_>,
        worker: &WorkerOutputs,
        outputs: &[(u32, u32)],
    ) -> Option<RemoteSource> {
        let first = *outputs.first()?;
        Some(RemoteSource::new(remote::Stream {
            peers: Arc::clone(&self.peers),
            address: worker.shuffle_address.clone(),
            origin: origin(worker, first),
            job: plan.job,
            partition: plan.partition,
            outputs: outputs.to_vec(),
            timeouts: self.timeouts,
            runtime: plan.runtime.clone(),
            cancel: plan.cancel.clone(),
        }))
    }
}

fn origin(worker: &WorkerOutputs, (map_task, map_attempt): (u32, u32)) -> Origin {
    Origin { map_task, map_attempt, worker: worker.worker }
}
