//! The thread that starts processes. The kernel tells a process that its parent has died when the
//! *thread* that has started it ends: threads of the runtime come and go, this one stays as long as
//! the worker has children.

use std::io;
use std::process::{Child, Command};
use std::sync::mpsc;

use tokio::sync::oneshot;

type Order = (Command, oneshot::Sender<io::Result<Child>>);

/// Starts processes, on a thread of its own.
pub(super) struct Spawner {
    orders: mpsc::Sender<Order>,
}

impl Spawner {
    /// Starts the thread, which ends when this is dropped.
    pub(super) fn start() -> io::Result<Self> {
        let (orders, received) = mpsc::channel::<Order>();
        std::thread::Builder::new().name("windrow-spawner".into()).spawn(move || {
            for (mut command, answer) in received {
                if let Err(Ok(mut unwanted)) = answer.send(command.spawn()) {
                    // Nobody waits for it any more.
                    let _ = unwanted.kill();
                    let _ = unwanted.wait();
                }
            }
        })?;
        Ok(Self { orders })
    }

    /// Starts a process.
    pub(super) async fn spawn(&self, command: Command) -> io::Result<Child> {
        let gone = || io::Error::other("the thread that starts processes is gone");
        let (answer, child) = oneshot::channel();
        self.orders.send((command, answer)).map_err(|_| gone())?;
        child.await.map_err(|_| gone())?
    }
}
