//! Bounds concurrent plannings. Each holds a thread and the list of its files while a file server
//! answers, so more of them wait.
//!
//! ```text
//!  wait behind others of the same submitter --> wait for a permit --> plan --> done
//!                                                                       |
//!       a call does not return for turn_max: others get its permit (it continues without)
//!       .. nor for answer_max: its submitter is told at which path (the thread is given up)
//! ```
//!
//! Nothing can interrupt a call to a dead file server. So a planning that hangs gives up its
//! permit, and hanging plannings have a bound of their own. One submitter's plannings never have
//! all permits.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tonic::Status;

use super::fair_limit::{FairLimit, FairPermit};
use crate::hanging::Watch;

/// More would not make a file server faster: each planning asks on several threads.
const PLANNINGS_MAX: usize = 4;
/// For one submitter, where submitters are told apart.
const OF_ONE_MAX: usize = PLANNINGS_MAX / 2;
/// Most hanging plannings, of all submitters and of one: each has up to 16 threads that cannot be
/// ended.
const HANGING_MAX: usize = 32;
const HANGING_OF_ONE_MAX: usize = 4;

/// How long a call may take before it counts as hanging, and before it is given up.
#[derive(Clone, Copy)]
struct Limits {
    turn_max: Duration,
    answer_max: Duration,
    /// Time between two looks at a planning.
    look: Duration,
}

const LIMITS: Limits = Limits {
    turn_max: Duration::from_secs(5),
    answer_max: Duration::from_secs(120),
    look: Duration::from_secs(1),
};

/// The limits. Cheap to clone; clones count together.
#[derive(Clone)]
pub(crate) struct Plannings {
    turns: FairLimit,
    hanging: Arc<Mutex<Vec<Hanging>>>,
    limits: Limits,
}

/// A planning with a call that does not return.
struct Hanging {
    submitter: Option<String>,
    watch: Watch,
}

impl Default for Plannings {
    fn default() -> Self {
        let turns = FairLimit::new(PLANNINGS_MAX, OF_ONE_MAX);
        Self { turns, hanging: Arc::default(), limits: LIMITS }
    }
}

impl Plannings {
    /// Runs a planning, which blocks on the file system, once there is a permit for its submitter,
    /// if the submitter is known. If the caller disconnects, the planning ends when it next checks,
    /// or when it is done; it has its permit until then, or until it hangs. A result that nobody
    /// receives must do no harm.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        submitter: Option<&str>,
        plan: impl FnOnce() -> Result<T, Status> + Send + 'static,
    ) -> Result<T, Status> {
        self.refuse_if_too_many_hang(submitter)?;
        let turn = self.turns.take(submitter).await?;
        let watch = Watch::default();
        let planning = tokio::task::spawn_blocking({
            let watch = watch.clone();
            move || watch.watching(plan)
        });
        let looking = Looking {
            plannings: self.clone(),
            submitter: submitter.map(str::to_string),
            turn: Some(turn),
            watch,
            hangs: false,
        };
        let _waits = Waits(looking.watch.clone());
        // In a task of its own, which survives the caller's disconnect.
        let done = tokio::spawn(looking.until_done(planning)).await;
        done.map_err(|error| Status::internal(error.to_string()))?
    }

    fn refuse_if_too_many_hang(&self, submitter: Option<&str>) -> Result<(), Status> {
        let hanging = self.hanging.lock().unwrap_or_else(PoisonError::into_inner);
        let own = hanging.iter().filter(|hanging| hanging.submitter.as_deref() == submitter);
        let too_many = submitter.is_some() && own.clone().count() >= HANGING_OF_ONE_MAX;
        if !too_many && hanging.len() < HANGING_MAX {
            return Ok(());
        }
        let longest = own.chain(&*hanging).find_map(|hanging| hanging.watch.longest());
        let (path, since) = longest.unwrap_or_default();
        Err(Status::resource_exhausted(format!(
            "{} earlier jobs cannot be planned: {} has not answered for {} s; check its file server, and \
             submit again",
            hanging.len(),
            path.display(),
            since.as_secs()
        )))
    }
}

/// Marks a planning as wanted until this is dropped.
struct Waits(Watch);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

/// Polls a planning for hanging calls.
struct Looking {
    plannings: Plannings,
    submitter: Option<String>,
    turn: Option<FairPermit>,
    watch: Watch,
    /// Whether the planning is counted as hanging.
    hangs: bool,
}

impl Looking {
    async fn until_done<T: Send + 'static>(
        mut self,
        mut planning: JoinHandle<Result<T, Status>>,
    ) -> Result<T, Status> {
        loop {
            tokio::select! {
                done = &mut planning => {
                    return done.map_err(|error| Status::internal(error.to_string()))?;
                }
                () = tokio::time::sleep(self.plannings.limits.look) => {}
            }
            let Some((path, since)) = self.watch.longest() else { continue };
            self.note(&path, since);
            if since >= self.plannings.limits.answer_max {
                // Its thread counts until it returns.
                tokio::spawn(async move {
                    let _ = planning.await;
                    drop(self);
                });
                return Err(does_not_answer(&path, since));
            }
        }
    }

    /// A hanging planning gives up its permit. If the server answers again, it continues without.
    fn note(&mut self, path: &Path, since: Duration) {
        if self.hangs || since < self.plannings.limits.turn_max {
            return;
        }
        tracing::warn!(?path, ?since, "planning a job hangs; it has given up its permit");
        self.hangs = true;
        self.turn = None;
        let (submitter, watch) = (self.submitter.clone(), self.watch.clone());
        self.plannings.change_hanging(|all| all.push(Hanging { submitter, watch }));
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        if self.hangs {
            let watch = self.watch.clone();
            self.plannings.change_hanging(|all| all.retain(|hanging| !hanging.watch.is(&watch)));
        }
    }
}

impl Plannings {
    fn change_hanging(&self, change: impl FnOnce(&mut Vec<Hanging>)) {
        change(&mut self.hanging.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn does_not_answer(path: &Path, since: Duration) -> Status {
    Status::failed_precondition(format!(
        "the job cannot be planned: {} has not answered for {} s; check its file server, or leave the path out",
        path.display(),
        since.as_secs()
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tonic::Code;

    use super::*;
    use crate::hanging::at;

    fn limits(turn_max: Duration, answer_max: Duration) -> Plannings {
        let look = Duration::from_millis(1);
        Plannings { limits: Limits { turn_max, answer_max, look }, ..Plannings::default() }
    }

    const NEVER: Duration = Duration::from_secs(1_000_000);

    /// Begins a planning whose call for `/dead` hangs until the gate opens.
    fn begin(
        plannings: &Plannings,
        submitter: Option<&'static str>,
        gate: &Arc<Mutex<mpsc::Receiver<()>>>,
    ) -> JoinHandle<Result<(), Status>> {
        let (plannings, gate) = (plannings.clone(), Arc::clone(gate));
        tokio::spawn(async move {
            let wait = move || {
                let opened = at(Path::new("/dead"), || gate.lock().unwrap().recv());
                opened.map_err(|e| Status::internal(e.to_string()))
            };
            plannings.run(submitter, wait).await
        })
    }

    fn gate() -> (mpsc::Sender<()>, Arc<Mutex<mpsc::Receiver<()>>>) {
        let (go, gate) = mpsc::channel();
        (go, Arc::new(Mutex::new(gate)))
    }

    async fn until(holds: impl Fn() -> bool) {
        let holding = async {
            while !holds() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), holding)
            .await
            .expect("the condition never held");
    }

    #[tokio::test]
    async fn concurrent_plannings_are_bounded_and_unwanted_ones_count() {
        let plannings = limits(NEVER, NEVER);
        let (go, gate) = gate();
        let running: Vec<_> = (0..PLANNINGS_MAX).map(|_| begin(&plannings, None, &gate)).collect();
        until(|| plannings.turns.free() == 0).await;
        running[0].abort();
        let next = plannings.run(None, || Ok(7));
        tokio::pin!(next);
        tokio::select! {
            biased;
            _ = &mut next => panic!("there is no permit for it"),
            () = tokio::task::yield_now() => {}
        }
        go.send(()).unwrap();
        assert_eq!(next.await.unwrap(), 7);
        (1..PLANNINGS_MAX).for_each(|_| go.send(()).unwrap());
    }

    #[tokio::test]
    async fn a_planning_learns_that_its_caller_has_disconnected() {
        let plannings = limits(NEVER, NEVER);
        let (began, begun) = mpsc::channel();
        let endless = {
            let plannings = plannings.clone();
            tokio::spawn(async move {
                let look = move || {
                    let _ = began.send(());
                    while !crate::hanging::is_given_up() {
                        std::thread::yield_now();
                    }
                    Err::<(), _>(Status::cancelled("nobody waits"))
                };
                plannings.run(None, look).await
            })
        };
        tokio::task::spawn_blocking(move || begun.recv()).await.unwrap().unwrap();
        endless.abort();
        until(|| plannings.turns.free() == PLANNINGS_MAX).await;
    }

    #[tokio::test]
    async fn one_submitter_leaves_permits_to_others() {
        let plannings = limits(NEVER, NEVER);
        let (go, gate) = gate();
        let many: Vec<_> =
            (0..3 * PLANNINGS_MAX).map(|_| begin(&plannings, Some("a"), &gate)).collect();
        until(|| plannings.turns.free() == PLANNINGS_MAX - OF_ONE_MAX).await;
        assert_eq!(plannings.run(Some("b"), || Ok(7)).await.unwrap(), 7);
        many.iter().for_each(|_| go.send(()).unwrap());
        for one in many {
            one.await.unwrap().unwrap();
        }
        assert_eq!(plannings.run(Some("a"), || Ok(7)).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn hanging_plannings_delay_nobody_and_continue_when_the_server_answers() {
        let plannings = limits(Duration::ZERO, NEVER);
        let (go, gate) = gate();
        let hanging: Vec<_> = (0..PLANNINGS_MAX).map(|_| begin(&plannings, None, &gate)).collect();
        until(|| plannings.hanging.lock().unwrap().len() == PLANNINGS_MAX).await;
        assert_eq!(plannings.turns.free(), PLANNINGS_MAX);
        assert_eq!(plannings.run(None, || Ok(7)).await.unwrap(), 7);
        hanging.iter().for_each(|_| go.send(()).unwrap());
        for one in hanging {
            one.await.unwrap().unwrap();
        }
        assert!(plannings.hanging.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_dead_path_is_named_and_its_planning_counts_until_it_returns() {
        let plannings = limits(Duration::ZERO, Duration::ZERO);
        let (go, gate) = gate();
        for _ in 0..HANGING_OF_ONE_MAX {
            let refused = begin(&plannings, Some("a"), &gate).await.unwrap().unwrap_err();
            assert_eq!(refused.code(), Code::FailedPrecondition);
            assert!(refused.message().contains("/dead has not answered"), "{refused}");
        }
        let refused = plannings.run(Some("a"), || Ok(7)).await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert!(refused.message().contains("/dead has not answered"), "{refused}");
        assert_eq!(plannings.run(Some("b"), || Ok(7)).await.unwrap(), 7);
        (0..HANGING_OF_ONE_MAX).for_each(|_| go.send(()).unwrap());
        until(|| plannings.hanging.lock().unwrap().is_empty()).await;
        assert_eq!(plannings.run(Some("a"), || Ok(7)).await.unwrap(), 7);
    }
}
