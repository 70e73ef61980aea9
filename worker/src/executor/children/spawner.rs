//! The thread of a process: it starts it, and stays as long as that lives, since the kernel tells a
//! process that its parent has died when the *thread* that has started it ends.
//!
//! The thread enters a scope of Landlock first: from then on it can signal nothing but what it
//! starts, with all that descends from that, whatever groups and parents they give themselves. So
//! "signal all processes that I may" means the whole family and nobody else, and the kernel does it
//! at once: no process gets away by starting another one and ending, however fast.

use std::io;
use std::process::{Child, Command};
use std::sync::mpsc;

use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, getppid, test_kill_process, waitid};
use tokio::sync::oneshot;

use super::confinement::enter_scope;

/// A process that was started.
pub(super) struct Started {
    /// To be reaped by whoever has this.
    pub(super) child: Child,
    /// When it has ended.
    pub(super) ended: oneshot::Receiver<()>,
    pub(super) family: Family,
}

/// What descends from a process, however it has hidden.
pub(super) struct Family(mpsc::Sender<oneshot::Sender<bool>>);

impl Family {
    /// Kills all of it, once the process itself has ended. False where the kernel cannot tell who
    /// that is.
    pub(super) async fn kill(&self) -> bool {
        let (done, killed) = oneshot::channel();
        self.0.send(done).is_ok() && killed.await.unwrap_or(false)
    }
}

/// Starts a process, whose family can be killed if `is_scoped`.
pub(super) async fn spawn(command: Command, is_scoped: bool) -> io::Result<Started> {
    let (answer, started) = oneshot::channel();
    let live = move || live(command, is_scoped, answer);
    std::thread::Builder::new().name("windrow-process".into()).spawn(live)?;
    started.await.map_err(|_| io::Error::other("the thread that starts a process is gone"))?
}

fn live(mut command: Command, is_scoped: bool, answer: oneshot::Sender<io::Result<Started>>) {
    let is_scoped = is_scoped && enter_scope();
    let child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return drop(answer.send(Err(error))),
    };
    // Closes what it was given.
    drop(command);
    let pid = Pid::from_child(&child);
    let (orders, received) = mpsc::channel();
    let (has_ended, ended) = oneshot::channel();
    if let Err(Ok(mut unwanted)) = answer.send(Ok(Started { child, ended, family: Family(orders) }))
    {
        // Nobody waits for it any more.
        let _ = unwanted.child.kill();
        let _ = unwanted.child.wait();
        return;
    }
    // It is left to be reaped.
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while matches!(waitid(WaitId::Pid(pid), options), Err(Errno::INTR)) {}
    let _ = has_ended.send(());
    for done in received {
        let _ = done.send(is_scoped && kill_all());
    }
}

/// Kills all that this thread may signal, but this process. To be called on a thread that has
/// entered a scope.
fn kill_all() -> bool {
    // It would be fatal to be wrong about that: whoever has started this process is never in it.
    if getppid().is_some_and(|parent| test_kill_process(parent).is_ok()) {
        tracing::error!("a bug in the engine: a thread is in no scope");
        return false;
    }
    // SAFETY: it is given numbers only.
    #[allow(unsafe_code)]
    unsafe {
        libc::kill(-1, libc::SIGKILL);
    }
    true
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::CommandExt;
    use std::process::Stdio;

    use super::*;
    use crate::executor::children::knows_scopes;

    /// One that was started beside it stays.
    #[tokio::test]
    async fn a_family_ends_whatever_its_members_have_done() {
        if !knows_scopes() {
            return;
        }
        let mut other = Command::new("sleep").arg("1000").spawn().unwrap();
        let (pipe, theirs) = io::pipe().unwrap();
        let mut command = Command::new("sh");
        // Of sessions of their own, with no environment, and parents that have ended.
        let script = "setsid env -i sh -c 'sleep 1000 & sleep 1000 & echo ready' & exit 0";
        command.args(["-c", script]).process_group(0).stdin(Stdio::null()).stdout(theirs);
        let mut started = spawn(command, true).await.unwrap();
        started.ended.await.unwrap();
        let mut lines = BufReader::new(pipe).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "ready");
        assert!(started.family.kill().await);
        // The end of the pipe, when all that could write to it have ended.
        assert!(lines.next().is_none());
        started.child.wait().unwrap();
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
    }

    #[tokio::test]
    async fn one_that_cannot_be_started_says_so() {
        let error = spawn(Command::new("/no/such/program"), true).await.err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
