//! The configuration of a coordinator.

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
    /// The coordinator's build.
    pub build: Build,
    /// The coordinator's executable, which submitters need not upload: size and content.
    pub executable: Option<(Blob, Arc<File>)>,
    /// Folder of the journal, so that another coordinator can continue when this one dies; `None`
    /// keeps the journal in memory.
    pub state: Option<PathBuf>,
    /// Folder for temporary files where there is no state; `None` makes one when it is needed.
    pub temporary: Option<PathBuf>,
    /// The cluster's certificate authority. Without one, callers need no certificate, and everybody
    /// who connects may do everything; from this machine, only the local users.
    pub security: Option<Security>,
    /// Users of this machine that are admitted if there is no authority.
    pub local_users: LocalUsers,
    /// Where inputs and outputs of jobs may lie.
    pub allowed_paths: AllowedPaths,
    /// Silence after which a worker counts as lost.
    pub lease: Duration,
    /// How long a worker whose connection broke may take to come back.
    pub reconnect: Duration,
    /// Interval of the workers' heartbeats; at most a quarter of the lease is used.
    pub heartbeat: Duration,
    /// Threads to plan for while no worker has joined.
    pub assumed_threads: u32,
    /// Memory for tasks, in bytes, of the one worker to plan for meanwhile.
    pub assumed_memory_bytes: u64,
    /// Largest program or side file, in bytes. All together may have four times as many.
    pub blob_bytes_max: u64,
    /// Fault injection, for tests.
    pub failpoint: Failpoint,
    /// For tests: records after which a snapshot is written [default: many].
    pub snapshot_after: Option<u64>,
}

impl CoordinatorConfig {
    /// The default settings.
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
