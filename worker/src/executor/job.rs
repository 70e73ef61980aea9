//! An executor's state of a job, for the length of the job.

use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;
use windrow_jobs::program::Program;
use windrow_jobs::{FailureCause, RecordPlace, Registry};

use crate::memory::Account;
use crate::model::JobContext;
use crate::shuffle::store::JobFolder;
use crate::sync::lock;
use crate::task::large_record_lock::LargeRecordLock;

/// Share of a job's memory for pairs.
const PAIRS_PERCENT: u64 = 75;

/// A job with attempts in this process.
pub struct LocalJob {
    /// Fires when the job is released: ends all its attempts.
    pub released: CancellationToken,
    /// The folder of its segments.
    pub folder: Arc<JobFolder>,
    /// The memory that it may use.
    pub memory: Account,
    /// The part of it for pairs, collected or held for reducers: the rest is for reading, merging
    /// and fetching.
    pub pairs: Account,
    /// Lets one thread at a time work on a large record.
    pub large: Arc<LargeRecordLock>,
    program: Mutex<Option<Arc<dyn Program>>>,
}

impl LocalJob {
    /// A job whose program has not been built yet.
    pub fn new(folder: Arc<JobFolder>, memory: Account) -> Self {
        let released = CancellationToken::new();
        let pairs = memory.share(PAIRS_PERCENT);
        let (large, program) = Default::default();
        Self { released, folder, memory, pairs, large, program }
    }

    /// The job's program, built on first use. Building runs user code.
    pub fn program(
        &self,
        registry: &Registry,
        context: &JobContext,
    ) -> Result<Arc<dyn Program>, FailureCause> {
        let mut program = lock(&self.program);
        if let Some(program) = &*program {
            return Ok(Arc::clone(program));
        }
        let job = registry.get(&context.job).ok_or_else(|| FailureCause::Unsupported {
            message: format!("this worker has no job called {}", context.job),
        })?;
        let built = job.build(&context.params).map_err(|error| FailureCause::UserError {
            place: RecordPlace::default(),
            message: format!("the parameters of {} are not valid: {error}", context.job),
        })?;
        Ok(Arc::clone(program.insert(built)))
    }
}
