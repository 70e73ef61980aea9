//! The control group that was given to this worker, and what it makes of it:
//!
//! ```text
//!  windrow-worker.service            given by systemd (Delegate=yes), or by whoever owns it
//!    |- worker                       this process
//!    |- windrow-job-7-1-4711-18c..   job 7's first process here, with all that descends from it
//!    `- windrow-job-7-2-4711-18c..
//! ```
//!
//! A group that has others in it gets no controllers, so the worker moves down first. A group in
//! which there is anybody else is left alone: it is somebody else's plan that counts there.
//!
//! A process of a job cannot leave its group on isolation level `process`: it writes to no file of
//! the kernel's, and has no `clone3`, which starts a process in another group.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use windrow_jobs::JobId;

use super::group::Group;
use super::of_process::{GroupLimits, ProcessGroup};
use super::own::{is_delegated, own_group};
use crate::sync::lock;

/// The group of the worker itself. A unit's `DelegateSubgroup=` may have the same name.
const WORKER: &str = "worker";

/// How the names of groups of processes of jobs begin, whichever worker has made them.
const PREFIX: &str = "windrow-job-";

/// What is made use of: against too much memory, too many processes, and too great a share of the
/// processor.
const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];

/// How long a worker that starts waits for what a predecessor has left.
const SWEEP_TIME_MAX: Duration = Duration::from_secs(5);

/// Why there are no groups for processes of jobs.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoGroups {
    #[error("no control groups of version 2 are to be seen here (/sys/fs/cgroup)")]
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
    #[error("this kernel is from before Linux 5.14")]
    OldKernel,
    #[error("the control group {} cannot be used: {error}", .group.display())]
    Unusable { group: PathBuf, error: io::Error },
}

/// A group in which this worker makes others.
#[derive(Debug)]
pub(crate) struct Delegated {
    top: Group,
    controllers: Vec<&'static str>,
    /// Names of no other worker end like that.
    instance: String,
    /// Groups that could not be removed yet.
    left: Arc<Mutex<Vec<Group>>>,
}

impl Delegated {
    /// Takes possession of the group that was given to this process, moves it down, and ends what a
    /// predecessor has left. `instance` names this process among all. Blocks for a moment.
    pub(crate) fn take(instance: &str) -> Result<Self, NoGroups> {
        let own = own_group().ok_or(NoGroups::Unseen)?;
        let (top, leaf) = given(own)?;
        let unusable = unusable(&top);
        // Of the group itself, it is not for whom it was given to.
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

    /// Says what processes of jobs get by it, and what they do not.
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
            lacks => format!("; {} cannot be had here", lacks.join(", ")),
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

/// The group that was given to the process which is in `own`, and where it is to be itself.
fn given(own: Group) -> Result<(Group, Group), NoGroups> {
    let unusable = unusable(&own);
    if is_delegated(&own).map_err(&unusable)? {
        let leaf = own.below(WORKER);
        return Ok((own, leaf));
    }
    // Down already: a unit's DelegateSubgroup= has put it there.
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

/// A process besides this one, if there is one. Another worker that takes the same group at this
/// moment is seen in one of the two: it moves from the first, which is looked at first, to the
/// second.
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
    // The process that writes it, with all of its threads.
    leaf.write("cgroup.procs", "0").inspect_err(|_| drop(leaf.remove()))
}

/// Ends what a worker before this one has left, and returns what does not end.
fn sweep(top: &Group) -> io::Result<Vec<Group>> {
    let mut left = top.children()?;
    left.retain(|group| group.name().starts_with(PREFIX));
    // All at once, then one after the other.
    left.iter().for_each(|group| drop(group.kill()));
    let begun = Instant::now();
    left.retain(|group| {
        let has_ended = group.end(SWEEP_TIME_MAX.saturating_sub(begun.elapsed()));
        !has_ended || group.remove().is_err()
    });
    if let Some(first) = left.first() {
        tracing::warn!(
            group = %first.folder().display(),
            "what a worker has left behind here does not end: the kernel waits for something"
        );
    }
    Ok(left)
}

/// Has groups in this one be limited by a controller. False where it is not given, or cannot be
/// used.
fn enable(top: &Group, controller: &str) -> bool {
    let given = top.read("cgroup.controllers").unwrap_or_default();
    if !given.split_ascii_whitespace().any(|it| it == controller) {
        return false;
    }
    top.write("cgroup.subtree_control", &format!("+{controller}"))
        .inspect_err(|error| {
            let group = top.folder().display();
            tracing::warn!(%group, controller, %error, "a controller of a control group cannot be used");
        })
        .is_ok()
}
