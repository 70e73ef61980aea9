//! How many jobs are planned at once. Each holds a thread and the list of its files while a file
//! server answers, so all others wait for their turn.
//!
//! ```text
//!  wait behind others of the same submitter --> wait for a turn --> plan --> done
//!                                                                     |
//!       a call does not return for turn_max: others have the turn (it goes on without)
//!       .. nor for answer_max: its submitter is told at which path (the thread is given up)
//! ```
//!
//! Nothing ends a call to a file server that is gone. So a planning that hangs has no turn, and
//! those that hang are bounded apart; and one submitter's plannings never have all turns.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tonic::Status;

use super::fair_limit::{FairLimit, FairPermit};
use crate::hanging::Watch;

/// More do not make a file server faster: each asks on several threads.
const PLANNINGS_MAX: usize = 4;
/// Of one submitter, where submitters are told apart.
const OF_ONE_MAX: usize = PLANNINGS_MAX / 2;
/// Most plannings that hang, of all and of one submitter: each has up to 16 threads that cannot be
/// ended.
const HANGING_MAX: usize = 32;
const HANGING_OF_ONE_MAX: usize = 4;

/// How long a call may take before it counts as one that hangs, and before it is given up.
#[derive(Clone, Copy)]
struct Limits {
    turn_max: Duration,
    answer_max: Duration,
    /// Between two looks.
    look: Duration,
}

const LIMITS: Limits = Limits {
    turn_max: Duration::from_secs(5),
    answer_max: Duration::from_secs(120),
    look: Duration::from_secs(1),
};

/// The turns. Cheap to clone; clones count together.
#[derive(Clone)]
pub(crate) struct Plannings {
    turns: FairLimit,
    hanging: Arc<Mutex<Vec<Hanging>>>,
    limits: Limits,
}

/// A planning in a call that does not return.
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
    /// Does something for a submitter, if they are known, that blocks on the file system, once it
    /// is its turn. If nobody waits for it any more, it ends when it looks next, or at its end, and
    /// has its turn until then, or until it hangs. Whatever it makes must be of no harm if nobody
    /// gets it.
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
        // In a task of its own, since whoever waits here may go.
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
            "{} jobs that were submitted before cannot be planned: {} has not answered for {} s; see to its file server, and \
             submit again",
            hanging.len(),
            path.display(),
            since.as_secs()
        )))
    }
}

/// Somebody waits for a planning, until this is dropped.
struct Waits(Watch);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

/// Looks at a planning now and then.
struct Looking {
    plannings: Plannings,
    submitter: Option<String>,
    turn: Option<FairPermit>,
    watch: Watch,
    /// Whether it is among those that hang.
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
                // Its thread may come back, and still counts until then.
                tokio::spawn(async move {
                    let _ = planning.await;
                    drop(self);
                });
                return Err(does_not_answer(&path, since));
            }
        }
    }

    /// One that hangs has no turn. When the server answers again, it goes on without.
    fn note(&mut self, path: &Path, since: Duration) {
        if self.hangs || since < self.plannings.limits.turn_max {
            return;
        }
        tracing::warn!(?path, ?since, "a job's planning hangs; others have its turn");
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
        "the job cannot be planned: {} has not answered for {} s; see to its file server, or leave the path out",
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

    /// Begins a planning that asks at `/dead` until the gate opens.
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
        tokio::time::timeout(Duration::from_secs(60), holding).await.expect("it never holds");
    }

    #[tokio::test]
    async fn only_so_many_at_once_and_those_that_nobody_waits_for_count() {
        let plannings = limits(NEVER, NEVER);
        let (go, gate) = gate();
        let running: Vec<_> = (0..PLANNINGS_MAX).map(|_| begin(&plannings, None, &gate)).collect();
        until(|| plannings.turns.free() == 0).await;
        running[0].abort();
        let next = plannings.run(None, || Ok(7));
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

    #[tokio::test]
    async fn one_that_nobody_waits_for_is_told_so() {
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
    async fn one_submitter_leaves_turns_to_others() {
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
    async fn those_that_hang_keep_nobody_waiting_and_go_on_when_the_server_answers() {
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
    async fn what_never_answers_is_named_and_counts_until_it_returns() {
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
