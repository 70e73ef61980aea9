//! The reducer's side of the shuffle: a source for each file that can be read directly, and one
//! or a few streams for each other worker.

mod remote;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use windrow_jobs::{Compression, FailureCause, JobId, JobIdentity, StageId};

use self::remote::RemoteSource;
use super::origin::{MapOutputSource, Origin};
use super::segment::Owner;
use super::serve::OUTPUTS_MAX;
use super::source::BlockSource;
use super::store::{SegmentStore, file_sources, segment_path};
use super::transport::peers::Peers;
use crate::files::is_exhausted;
use crate::identity::Identity;
use crate::memory::Account;
use crate::model::WorkerOutputs;

/// How long a reducer waits for another worker before it reports that it cannot fetch. A wait that
/// ends while this worker has no lease restarts when it has one: this worker may be the one that
/// was cut off, or stopped.
#[derive(Clone, Copy, Debug)]
pub struct FetchTimeouts {
    /// For a connection, and for the answer to a request.
    pub connect: Duration,
    /// For each further message, while the reducer has room for it; and for a worker whose lease
    /// has expired.
    pub stall: Duration,
}

impl FetchTimeouts {
    /// Longest wait for a connection.
    const CONNECT_MAX: Duration = Duration::from_secs(10);

    /// For workers that may be silent for `stall`; the wait for a connection is no longer than
    /// that.
    pub fn of_silence(stall: Duration) -> Self {
        Self { connect: stall.min(Self::CONNECT_MAX), stall }
    }
}

impl Default for FetchTimeouts {
    fn default() -> Self {
        Self::of_silence(Duration::from_secs(60))
    }
}

/// Finds the outputs that a reducer needs.
pub struct Fetcher {
    /// This worker's identity.
    pub identity: Arc<Identity>,
    /// Its machine; empty if that is not known.
    pub host: String,
    /// Its own outputs.
    pub store: Arc<SegmentStore>,
    /// The other workers.
    pub peers: Arc<Peers>,
    /// How long the other workers may take.
    pub timeouts: FetchTimeouts,
    /// How many reducers may fetch at once.
    pub threads: usize,
}

/// Bounds of a stream's credit, for bytes that have been sent and not been used.
const CREDIT_BYTES: RangeInclusive<u64> = 64 << 10..=4 << 20;

/// The credit of one stream is at most one part in this many of the memory, ...
const CREDIT_PARTS: u64 = 256;

/// ... and the credit of all streams of all reducers one part in this many.
const CREDITS_PARTS: u64 = 8;

/// How outputs that are fetched from one worker are divided among streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Streams {
    /// As many outputs in each as one stream serves, merged by the sender.
    Shared,
    /// One for each output, so that each can be judged by itself.
    OneEach,
}

impl Streams {
    fn outputs_max(self) -> usize {
        match self {
            Self::Shared => OUTPUTS_MAX,
            Self::OneEach => 1,
        }
    }
}

/// A reducer's inputs, and how to fetch them.
pub(crate) struct FetchPlan<'a> {
    /// The job's number, which names its folders.
    pub job: JobId,
    /// The job, unique among all jobs of all clusters.
    pub identity: JobIdentity,
    /// The partition.
    pub partition: u32,
    /// All outputs of its maps.
    pub outputs: &'a [WorkerOutputs],
    /// How to divide them among streams.
    pub streams: Streams,
    /// The job's choice.
    pub compression: Option<Compression>,
    /// The runtime that receives streams.
    pub runtime: Handle,
    /// Ends them.
    pub cancel: CancellationToken,
    /// Accounts for bytes that have been received and not been merged.
    pub memory: Account,
}

impl Fetcher {
    /// One source or several for each worker. An error if an output that should be here is missing
    /// or malformed.
    pub fn sources(&self, plan: &FetchPlan<'_>) -> Result<Vec<Box<dyn BlockSource>>, FailureCause> {
        let mut sources: Vec<Box<dyn BlockSource>> = Vec::new();
        let mut all_far = Vec::new();
        for worker in plan.outputs {
            let mut far = Vec::new();
            for output in &worker.outputs {
                match self.near(plan, worker, *output) {
                    Some(found) => {
                        sources.extend(MapOutputSource::all(found, &origin(worker, *output))?);
                    }
                    None => far.push(*output),
                }
            }
            let streams = far.chunks(plan.streams.outputs_max());
            all_far.extend(streams.map(|outputs| (worker, outputs.to_vec())));
        }
        let credit_bytes = self.credit_bytes(plan.memory.limit_bytes(), all_far.len());
        let streams = all_far
            .into_iter()
            .filter_map(|(worker, outputs)| self.remote(plan, worker, outputs, credit_bytes));
        sources.extend(streams.map(|source| Box::new(source) as _));
        Ok(sources)
    }

    /// The credit of each of so many streams.
    fn credit_bytes(&self, memory_bytes: u64, streams: usize) -> u64 {
        let (least, most) = CREDIT_BYTES.into_inner();
        let all_bytes = memory_bytes / CREDITS_PARTS / self.threads.max(1) as u64;
        let share_bytes = all_bytes / streams.max(1) as u64;
        share_bytes.min(memory_bytes / CREDIT_PARTS).clamp(least, most)
    }

    /// The sources of an output that is read directly; `None` if it is fetched over the network.
    /// These are read directly:
    /// - an output of this process. Other outputs of this worker may be in the memory of another
    ///   process.
    /// - an output of a worker on the same host, if its file can be opened: not from another
    ///   container, while it is in memory, or without permission.
    /// - an output of a worker without an address.
    fn near(
        &self,
        plan: &FetchPlan<'_>,
        worker: &WorkerOutputs,
        (task, attempt): (u32, u32),
    ) -> Option<Result<Vec<Box<dyn BlockSource>>, FailureCause>> {
        let has_no_address = worker.shuffle_address.is_empty();
        if self.identity.is(worker.worker) {
            let is_near = has_no_address || self.store.has(plan.job, (task, attempt));
            return is_near.then(|| self.store.sources(plan.job, (task, attempt), plan.partition));
        }
        let path = segment_path(&worker.directory, plan.job, task, attempt);
        if !has_no_address {
            if !self.is_same_host(worker) {
                return None;
            }
            match File::open(&path) {
                Ok(_) => {}
                // A connection could not be opened either.
                Err(error) if is_exhausted(&error) => {
                    return Some(Err(FailureCause::io(&path, &error)));
                }
                Err(_) => return None,
            }
        }
        let owner = Owner { job: plan.identity, stage: StageId::MAP, task, attempt };
        Some(file_sources(&path, &owner, plan.partition))
    }

    fn is_same_host(&self, worker: &WorkerOutputs) -> bool {
        !self.host.is_empty() && worker.host == self.host
    }

    fn remote(
        &self,
        plan: &FetchPlan<'_>,
        worker: &WorkerOutputs,
        outputs: Vec<(u32, u32)>,
        credit_bytes: u64,
    ) -> Option<RemoteSource> {
        let first = *outputs.first()?;
        Some(RemoteSource::new(remote::Stream {
            identity: Arc::clone(&self.identity),
            peers: Arc::clone(&self.peers),
            address: worker.shuffle_address.clone(),
            origin: origin(worker, first),
            job: plan.identity,
            partition: plan.partition,
            outputs,
            credit_bytes,
            compression: plan.compression,
            same_machine: self.is_same_host(worker),
            timeouts: self.timeouts,
            runtime: plan.runtime.clone(),
            cancel: plan.cancel.clone(),
            memory: plan.memory.clone(),
        }))
    }
}

fn origin(worker: &WorkerOutputs, (map_task, map_attempt): (u32, u32)) -> Origin {
    Origin { map_task, map_attempt, worker: worker.worker }
}
