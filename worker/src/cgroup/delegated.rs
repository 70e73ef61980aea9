//! The control group that was delegated to this worker, and the groups that it makes in it:
//!
//! ```text
//!  windrow-worker.service            delegated by systemd (Delegate=yes), or by its owner
//!    |- worker                       this process
//!    |- windrow-job-7-1-4711-18c..   job 7's first process here, with its descendants
//!    `- windrow-job-7-2-4711-18c..
//! ```
//!
//! A group with processes of its own cannot enable controllers for its subgroups, so the worker
//! moves into a subgroup first. A group that also holds other processes is left alone: it is not
//! the worker's to divide.
//!
//! A process of a job cannot leave its group on isolation level `process`: it cannot write to the
//! kernel's files, and has no `clone3`, which could start a process in another group.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use windrow_jobs::JobId;

use super::group::Group;
use super::of_process::{GroupLimits, ProcessGroup};
use super::own::{is_delegated, own_group};
use crate::sync::lock;

/// The group of the worker itself; a unit's `DelegateSubgroup=` may give it the same name.
const WORKER: &str = "worker";

/// Prefix of the groups of jobs' processes, whichever worker has made them.
const PREFIX: &str = "windrow-job-";

/// The controllers that are used: they limit memory, the number of processes, and the share of the
/// processor.
const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];

/// How long a starting worker waits for the end of a predecessor's processes.
const SWEEP_TIME_MAX: Duration = Duration::from_secs(5);

/// Why there are no groups for processes of jobs.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoGroups {
    #[error("no control groups of version 2 are visible here (/sys/fs/cgroup)")]
    Unseen,
    #[error(
        "the control group {} is not delegated to this worker; Delegate=yes in its systemd unit does that",
        .0.display()
    )]
    NotDelegated(PathBuf),
    #[error(
        "the control group {} has other processes in it, {other} for one; give the worker a unit of its own",
        .group.display()
    )]
    Shared { group: PathBuf, other: u32 },
    #[error("this kernel is older than Linux 5.14")]
    OldKernel,
    #[error("the control group {} cannot be used: {error}", .group.display())]
    Unusable { group: PathBuf, error: io::Error },
}

/// A delegated group, in which this worker makes others.
#[derive(Debug)]
pub(crate) struct Delegated {
    top: Group,
    controllers: Vec<&'static str>,
    /// Suffix that is unique to this worker.
    instance: String,
    /// Groups that could not be removed yet.
    left: Arc<Mutex<Vec<Group>>>,
}

impl Delegated {
    /// Takes possession of the delegated group, moves this process down into a subgroup, and ends a
    /// predecessor's processes. `instance` identifies this process. Blocks for a moment.
    pub(crate) fn take(instance: &str) -> Result<Self, NoGroups> {
        let own = own_group().ok_or(NoGroups::Unseen)?;
        let (top, leaf) = given(own)?;
        let unusable = unusable(&top);
        // Only whether it exists: the delegatee does not own this file of the group itself.
        if !top.has("cgroup.kill") {
            return Err(NoGroups::OldKernel);
        }
        let this = std::process::id();
        if let Some(other) = somebody_else(&top, &leaf, this).map_err(&unusable)? {
            return Err(NoGroups::Shared { group: top.folder().to_path_buf(), other });
        }
        move_to(&leaf).map_err(&unusable)?;
        let left = sweep(&top).map_err(unusable)?;
        let controllers = CONTROLLERS.into_iter().filter(|it| enable(&top, it)).collect();
        let (instance, left) = (instance.to_string(), Arc::new(Mutex::new(left)));
        Ok(Self { top, controllers, instance, left })
    }

    /// Describes the limits that processes of jobs get, and those that they do not.
    pub(crate) fn describe(&self) -> String {
        let group = self.top.folder().display();
        let (has, lacks): (Vec<_>, Vec<_>) =
            CONTROLLERS.into_iter().partition(|it| self.controllers.contains(it));
        let limits = match &has[..] {
            [] => "without limits".to_string(),
            has => format!("with controllers {}", has.join(", ")),
        };
        let missing = match &lacks[..] {
            [] => String::new(),
            lacks => format!("; {} not available here", lacks.join(", ")),
        };
        format!("each process of a job has a control group in {group}, {limits}{missing}")
    }

    /// A group for a process that is about to be started. Blocks for a moment.
    pub(crate) fn of_process(
        &self,
        job: JobId,
        serial: u32,
        limits: GroupLimits,
    ) -> io::Result<ProcessGroup> {
        lock(&self.left).retain(|group| {
            let _ = group.kill();
            group.remove().is_err_and(|error| error.kind() != io::ErrorKind::NotFound)
        });
        let group = self.top.below(&format!("{PREFIX}{}-{serial}-{}", job.0, self.instance));
        group.make()?;
        let mut made = ProcessGroup::new(group, Arc::clone(&self.left))?;
        made.limit(&self.controllers, limits);
        Ok(made)
    }
}

/// The delegated group, which is `own`, this process's group, or the one above it; and the group
/// into which this process moves.
fn given(own: Group) -> Result<(Group, Group), NoGroups> {
    let unusable = unusable(&own);
    if is_delegated(&own).map_err(&unusable)? {
        let leaf = own.below(WORKER);
        return Ok((own, leaf));
    }
    // Moved down already, by a unit's `DelegateSubgroup=`.
    if own.name() == WORKER
        && let Some(above) = own.folder().parent()
    {
        let above = Group::at(above.to_path_buf());
        if is_delegated(&above).map_err(unusable)? {
            return Ok((above, own));
        }
    }
    Err(NoGroups::NotDelegated(own.folder().to_path_buf()))
}

fn unusable(group: &Group) -> impl Fn(io::Error) -> NoGroups + use<> {
    let group = group.folder().to_path_buf();
    move |error| NoGroups::Unusable { group: group.clone(), error }
}

/// Another process in the group, if there is one. Another worker that takes the same group at this
/// moment is seen in one of the two: it moves from the first, which is read first, to the second.
fn somebody_else(top: &Group, leaf: &Group, this: u32) -> io::Result<Option<u32>> {
    let mut processes = top.processes()?;
    match leaf.processes() {
        Ok(more) => processes.extend(more),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(processes.into_iter().find(|process| *process != this))
}

fn move_to(leaf: &Group) -> io::Result<()> {
    match leaf.make() {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // Moves the writing process, with all its threads.
    leaf.write("cgroup.procs", "0").inspect_err(|_| drop(leaf.remove()))
}

/// Ends a predecessor's processes, and returns the groups that do not end.
fn sweep(top: &Group) -> io::Result<Vec<Group>> {
    let mut left = top.children()?;
    left.retain(|group| group.name().starts_with(PREFIX));
    // Kills all at once, then waits for one after the other.
    left.iter().for_each(|group| drop(group.kill()));
    let begun = Instant::now();
    left.retain(|group| {
        let has_ended = group.end(SWEEP_TIME_MAX.saturating_sub(begun.elapsed()));
        !has_ended || group.remove().is_err()
    });
    if let Some(first) = left.first() {
        tracing::warn!(
            group = %first.folder().display(),
            "processes that a former worker has left behind here do not end: the kernel is waiting for something"
        );
    }
    Ok(left)
}

/// Enables a controller for the groups below. False where it is not delegated, or cannot be used.
fn enable(top: &Group, controller: &str) -> bool {
    let given = top.read("cgroup.controllers").unwrap_or_default();
    if !given.split_ascii_whitespace().any(|it| it == controller) {
        return false;
    }
    top.write("cgroup.subtree_control", &format!("+{controller}"))
        .inspect_err(|error| {
            let group = top.folder().display();
            tracing::warn!(%group, controller, %error, "cannot use a controller of a control group");
        })
        .is_ok()
}
