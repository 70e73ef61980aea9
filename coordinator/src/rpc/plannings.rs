//! How many jobs are planned at once. Each holds a thread and the list of its files while a file
//! server answers, so all others wait for their turn, in the order in which they came.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tonic::Status;

/// More do not make a file server faster: each asks on several threads.
const PLANNINGS_MAX: usize = 4;

/// The turns. Cheap to clone; clones count together.
#[derive(Clone)]
pub(crate) struct Plannings(Arc<Semaphore>);

impl Default for Plannings {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(PLANNINGS_MAX)))
    }
}

impl Plannings {
    /// Does something that blocks on the file system, once it is its turn. It goes on to its end
    /// even if nobody waits for it any more, and has its turn until then.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        plan: impl FnOnce() -> Result<T, Status> + Send + 'static,
    ) -> Result<T, Status> {
        let turn = Arc::clone(&self.0).acquire_owned().await;
        let turn = turn.map_err(|closed| Status::internal(closed.to_string()))?;
        let planning = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            plan()
        });
        planning.await.map_err(|error| Status::internal(error.to_string()))?
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn only_so_many_at_once_and_those_that_nobody_waits_for_count() {
        let plannings = Plannings::default();
        let (go, gate) = mpsc::channel::<()>();
        let gate = Arc::new(std::sync::Mutex::new(gate));
        let slow = || {
            let (plannings, gate) = (plannings.clone(), Arc::clone(&gate));
            tokio::spawn(async move {
                let wait = move || {
                    gate.lock().unwrap().recv().map_err(|e| Status::internal(e.to_string()))
                };
                plannings.run(wait).await
            })
        };
        let running: Vec<_> = (0..PLANNINGS_MAX).map(|_| slow()).collect();
        while plannings.0.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        running[0].abort();
        let next = plannings.run(|| Ok(7));
        tokio::pin!(next);
        tokio::select! {
            biased;
            _ = &mut next => panic!("it is not its turn"),
            () = tokio::task::yield_now() => {}
        }
        go.send(()).unwrap();
        assert_eq!(next.await.unwrap(), 7);
        (1..PLANNINGS_MAX).for_each(|_| go.send(()).unwrap());
    }
}
