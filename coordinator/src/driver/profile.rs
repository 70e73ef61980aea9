//! Profiles of workers.

use serde::{Deserialize, Serialize};
use windrow_jobs::{Isolation, Platform, hash_key};
use windrow_scheduler::WorkerOffer;

/// A worker's description of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WorkerProfile {
    /// The name in its certificate, if it has one.
    pub(crate) identity: Option<String>,
    /// The worker's name, for people.
    pub(crate) name: String,
    /// The address from which peers fetch map outputs.
    pub(crate) shuffle_address: String,
    /// Its machine.
    pub(crate) host: String,
    /// Its folder of segments.
    pub(crate) directory: String,
    /// Identifies the process: the same when it returns after losing its session.
    pub(crate) instance: String,
    /// Concurrent map attempts.
    pub(crate) map_slots: u32,
    /// Concurrent reduce attempts.
    pub(crate) reduce_slots: u32,
    /// Its threads for user code.
    pub(crate) threads: u32,
    /// Its memory for tasks.
    pub(crate) memory_bytes: u64,
    /// Decides which programs it can run.
    pub(crate) platform: Platform,
    /// How far it keeps the code of jobs from the rest of its machine; `None` where it does not
    /// say.
    pub(crate) isolation: Option<Isolation>,
    /// Whether it reports when the processes of a job that was released have ended.
    pub(crate) says_released: bool,
}

impl WorkerProfile {
    /// The profile of some worker.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn for_test() -> Self {
        Self {
            identity: None,
            name: "w".into(),
            shuffle_address: "127.0.0.1:1".into(),
            host: "host".into(),
            directory: "/w".into(),
            instance: "1".into(),
            map_slots: 2,
            reduce_slots: 2,
            threads: 2,
            memory_bytes: 1 << 30,
            platform: Platform::default(),
            isolation: None,
            says_released: true,
        }
    }

    pub(super) fn offer(&self) -> WorkerOffer {
        WorkerOffer {
            name: self.name.clone(),
            identity: hash_key(format!("{}\0{}", self.host, self.directory).as_bytes()),
            map_slots: self.map_slots,
            reduce_slots: self.reduce_slots,
            platform: self.platform.clone(),
        }
    }

    /// Its machine and folder.
    pub(super) fn place(&self) -> (String, String) {
        (self.host.clone(), self.directory.clone())
    }

    /// Whether both have shown certificates of the same name.
    pub(super) fn has_same_identity(&self, other: &Self) -> bool {
        self.identity.is_some() && self.identity == other.identity
    }

    /// Whether both are the same process and the same member of the cluster.
    pub(super) fn is_same_process(&self, other: &Self) -> bool {
        let place = |of: &Self| (of.instance.clone(), of.host.clone(), of.directory.clone());
        let is_same = self.identity == other.identity && place(self) == place(other);
        !self.instance.is_empty() && is_same
    }
}
