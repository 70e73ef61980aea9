//! What a coordinator is started with.

use std::fs::File;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use windrow_jobs::Blob;
use windrow_proto::v1::Build;
use windrow_security::LocalUsers;

use crate::failpoint::Failpoint;
use crate::plan::AllowedPaths;
use crate::security::Security;

/// Settings of a coordinator.
#[derive(Clone)]
#[non_exhaustive]
pub struct CoordinatorConfig {
    /// The program that it runs.
    pub build: Build,
    /// Its executable, which need not be shipped to here: size and content.
    pub executable: Option<(Blob, Arc<File>)>,
    /// Folder of its journal, so that another coordinator can go on when this one dies; in memory
    /// if there is none.
    pub state: Option<PathBuf>,
    /// Folder for what goes with the process, where there is no state; one is made when it is
    /// needed if there is none.
    pub temporary: Option<PathBuf>,
    /// Its cluster's authority, where callers need certificates; without one, everybody who
    /// connects may do everything, of this machine the local users.
    pub security: Option<Security>,
    /// Users of this machine that are let in where there is no authority.
    pub local_users: LocalUsers,
    /// Where inputs and outputs of jobs may lie.
    pub allowed_paths: AllowedPaths,
    /// Silence after which a worker counts as lost.
    pub lease: Duration,
    /// How long a worker whose connection broke may take to come back.
    pub reconnect: Duration,
    /// How often workers are asked to speak; at most a quarter of the lease is used.
    pub heartbeat: Duration,
    /// Threads to plan for when a job comes while no worker has joined.
    pub assumed_threads: u32,
    /// Memory for tasks, in bytes, of the one worker that is planned for then.
    pub assumed_memory_bytes: u64,
    /// Largest program or side file that it takes, in bytes. All together may have four times as
    /// many.
    pub blob_bytes_max: u64,
    /// For tests: where to die.
    pub failpoint: Failpoint,
    /// For tests: records after which the journal is begun anew [default: many].
    pub snapshot_after: Option<u64>,
}

impl CoordinatorConfig {
    /// The usual settings.
    pub fn new(build: Build) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self {
            build,
            executable: None,
            state: None,
            temporary: None,
            security: None,
            local_users: LocalUsers::default(),
            allowed_paths: AllowedPaths::everywhere(),
            lease: Duration::from_secs(10),
            reconnect: windrow_scheduler::Config::default().reconnect,
            heartbeat: Duration::from_secs(1),
            assumed_threads: threads as u32,
            assumed_memory_bytes: 2 << 30,
            blob_bytes_max: 1 << 30,
            failpoint: Failpoint::default(),
            snapshot_after: None,
        }
    }
}
