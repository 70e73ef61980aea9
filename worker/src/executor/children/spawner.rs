//! The thread of a process: it starts the process, and stays as long as the process lives, since
//! the kernel sends the parent-death signal when the *thread* that started a process ends.
//!
//! The thread enters a Landlock scope first: from then on it can signal only the processes that it
//! starts and their descendants, whatever groups and parents they choose. So "signal all processes
//! that I may" reaches the whole family and nobody else, atomically in the kernel: no process
//! escapes by forking and exiting, however fast.

use std::io;
use std::process::{Child, Command};
use std::sync::mpsc;

use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, getppid, test_kill_process, waitid};
use tokio::sync::oneshot;

use super::confinement::enter_scope;

/// A started process.
pub(super) struct Started {
    /// To be reaped by the holder.
    pub(super) child: Child,
    /// Resolves when it has ended.
    pub(super) ended: oneshot::Receiver<()>,
    pub(super) family: Family,
}

/// The descendants of a process, however they hide.
pub(super) struct Family(mpsc::Sender<oneshot::Sender<bool>>);

impl Family {
    /// Kills all of them, once the process itself has ended. False if the kernel does not support
    /// scopes.
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
    // Closes the descriptors that the command holds.
    drop(command);
    let pid = Pid::from_child(&child);
    let (orders, received) = mpsc::channel();
    let (has_ended, ended) = oneshot::channel();
    if let Err(Ok(mut unwanted)) = answer.send(Ok(Started { child, ended, family: Family(orders) }))
    {
        // The caller has stopped waiting.
        let _ = unwanted.child.kill();
        let _ = unwanted.child.wait();
        return;
    }
    // The process is left to be reaped.
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while matches!(waitid(WaitId::Pid(pid), options), Err(Errno::INTR)) {}
    let _ = has_ended.send(());
    for done in received {
        let _ = done.send(is_scoped && kill_all());
    }
}

/// Kills all processes that this thread may signal, except this one. To be called on a thread that
/// has entered a scope.
fn kill_all() -> bool {
    // A mistake about the scope would be fatal, so it is checked: the parent of this process is
    // never in it.
    if getppid().is_some_and(|parent| test_kill_process(parent).is_ok()) {
        tracing::error!("a bug in the engine: a thread is outside its scope");
        return false;
    }
    // SAFETY: all arguments are integers.
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

    /// An unrelated process that was started beside it stays.
    #[tokio::test]
    async fn a_family_ends_even_if_its_members_hide() {
        if !knows_scopes() {
            return;
        }
        let mut other = Command::new("sleep").arg("1000").spawn().unwrap();
        let (pipe, theirs) = io::pipe().unwrap();
        let mut command = Command::new("sh");
        // In sessions of their own, without an environment, and orphaned.
        let script = "setsid env -i sh -c 'sleep 1000 & sleep 1000 & echo ready' & exit 0";
        command.args(["-c", script]).process_group(0).stdin(Stdio::null()).stdout(theirs);
        let mut started = spawn(command, true).await.unwrap();
        started.ended.await.unwrap();
        let mut lines = BufReader::new(pipe).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "ready");
        assert!(started.family.kill().await);
        // The pipe ends when every process that could write to it has ended.
        assert!(lines.next().is_none());
        started.child.wait().unwrap();
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
    }

    #[tokio::test]
    async fn a_start_that_fails_returns_its_error() {
        let error = spawn(Command::new("/no/such/program"), true).await.err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
