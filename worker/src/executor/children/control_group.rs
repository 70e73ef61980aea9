//! The control group of a process that is about to be started, if the worker has a delegated one.

use std::process::Command;
use std::sync::Arc;

use windrow_jobs::JobId;

use super::Children;
use crate::cgroup::{ProcessGroup, default_memory_bytes};
use crate::sync::blocking;

impl Children {
    /// Makes a group for the process of `command`, which enters it before anything else. `None` if
    /// there is none to be had: the process is started all the same.
    pub(super) async fn control_group(
        &self,
        job: JobId,
        serial: u32,
        command: &mut Command,
    ) -> Option<Arc<ProcessGroup>> {
        let groups = self.settings.groups.clone()?;
        let (limits, budget_bytes) = (self.settings.limits, self.settings.memory_bytes);
        let make = move || {
            let limits = limits.of_group(budget_bytes, default_memory_bytes());
            groups.of_process(job, serial, limits)
        };
        let entered =
            blocking(make).await.and_then(|group| group.bind(command).map(|()| Arc::new(group)));
        entered
            .inspect_err(|error| {
                tracing::warn!(%job, %error, "cannot make a control group for a process of a job");
            })
            .ok()
    }
}
