//! A publication begins when no process of the job can write to its parts any more.

use super::*;
use crate::driver::releases::RELEASED_WITHIN;

const MOMENT: Duration = Duration::from_secs(1);

/// A job of two tasks, each done by a worker of its own.
struct Done {
    _dir: tempfile::TempDir,
    driver: DriverHandle,
    workers: [Joined; 2],
    job: JobId,
    paths: OutputPaths,
}

fn profile(name: &str) -> WorkerProfile {
    let (directory, instance) = (format!("/{name}"), name.to_string());
    // One slot each, so that each gets a task.
    WorkerProfile { directory, instance, map_slots: 1, ..WorkerProfile::for_test() }
}

async fn join(driver: &DriverHandle, profile: WorkerProfile, of: Option<Returning>) -> Joined {
    driver.join(profile, of).await.unwrap().unwrap()
}

impl Done {
    async fn on(driver: DriverHandle, profiles: [WorkerProfile; 2]) -> Self {
        let [a, b] = profiles;
        let mut workers = [join(&driver, a, None).await, join(&driver, b, None).await];
        let dir = tempfile::tempdir().unwrap();
        let (job, paths) = submit(&driver, map_only(2), &dir.path().join("out")).await;
        for worker in &mut workers {
            run_one(&driver, worker, &paths).await;
        }
        Self { _dir: dir, driver, workers, job, paths }
    }

    async fn new() -> Self {
        let driver = start(Opened::in_memory().unwrap(), settings(None));
        Self::on(driver, [profile("a"), profile("b")]).await
    }

    async fn answer(&self, worker: usize, ticket: u64) {
        answer_release(&self.driver, &self.workers[worker], self.job, ticket).await;
    }

    async fn tickets(&mut self) -> [u64; 2] {
        let [a, b] = &mut self.workers;
        [release_told(a).await, release_told(b).await]
    }

    fn is_published(&self) -> bool {
        self.paths.output().join("_SUCCESS").exists()
    }

    /// Waits for the end of the job, at most this long.
    async fn ends_within(&self, long: Duration) -> JobState {
        let mut changes = self.driver.watch(self.job).await.unwrap().unwrap();
        timeout(long, changes.wait_for(|over| *over)).await.expect("the job does not end").unwrap();
        self.driver.job(self.job).await.unwrap().unwrap().view.state.clone()
    }

    /// Nothing is published for this long, which must be shorter than a lease.
    async fn nothing_happens_for(&self, long: Duration) {
        sleep(long).await;
        assert!(!self.is_published(), "a process may still write to its parts");
    }
}

#[tokio::test(start_paused = true)]
async fn publication_waits_until_no_worker_has_a_process() {
    let mut done = Done::new().await;
    let [a, b] = done.tickets().await;
    done.answer(0, a).await;
    done.answer(0, a).await;
    // An answer to another release.
    done.answer(1, b - 1).await;
    done.nothing_happens_for(RELEASED_WITHIN - MOMENT).await;
    done.answer(1, b).await;
    assert_eq!(done.ends_within(MOMENT / 2).await, JobState::Ended(Outcome::Succeeded));
    assert!(done.is_published());
}

#[tokio::test(start_paused = true)]
async fn publication_does_not_wait_for_ever() {
    let mut done = Done::new().await;
    done.tickets().await;
    done.nothing_happens_for(RELEASED_WITHIN - MOMENT).await;
    assert_eq!(done.ends_within(2 * MOMENT).await, JobState::Ended(Outcome::Succeeded));
}

#[tokio::test(start_paused = true)]
async fn workers_that_cannot_confirm_are_not_awaited() {
    let old = |name| WorkerProfile { says_released: false, ..profile(name) };
    let driver = start(Opened::in_memory().unwrap(), settings(None));
    let mut done = Done::on(driver, [old("a"), old("b")]).await;
    assert_eq!(done.ends_within(MOMENT).await, JobState::Ended(Outcome::Succeeded));
    done.tickets().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_has_left_is_not_awaited() {
    let mut done = Done::new().await;
    let [a, _] = done.tickets().await;
    done.answer(0, a).await;
    let Joined { worker, session, .. } = done.workers[1];
    let end = SessionEnd::Left("it has left".into());
    done.driver.session_ended(worker, session, end).await.unwrap();
    assert_eq!(done.ends_within(MOMENT).await, JobState::Ended(Outcome::Succeeded));
}

#[tokio::test(start_paused = true)]
async fn a_returning_worker_is_asked_again() {
    let mut done = Done::new().await;
    let [a, b] = done.tickets().await;
    done.answer(0, a).await;
    let Joined { worker, session, cluster, epoch, .. } = done.workers[1];
    let end = SessionEnd::Broken("reset".into());
    done.driver.session_ended(worker, session, end).await.unwrap();
    done.nothing_happens_for(MOMENT).await;
    let cluster = cluster.to_string();
    let returning = Returning { worker, cluster, epoch, inventory: Default::default() };
    done.workers[1] = join(&done.driver, profile("b"), Some(returning)).await;
    assert!(done.workers[1].returned);
    assert_eq!(release_told(&mut done.workers[1]).await, b);
    done.nothing_happens_for(MOMENT).await;
    done.answer(1, b).await;
    assert_eq!(done.ends_within(MOMENT).await, JobState::Ended(Outcome::Succeeded));
}

#[tokio::test(start_paused = true)]
async fn a_job_cancelled_while_it_waits_ends_at_once() {
    let mut done = Done::new().await;
    done.tickets().await;
    let cancelled = timeout(MOMENT, done.driver.cancel(done.job)).await;
    assert!(cancelled.expect("it waits for the workers").unwrap(), "it was too late");
    assert_eq!(done.ends_within(MOMENT).await, JobState::Ended(Outcome::Cancelled));
    assert!(!done.is_published());
}

/// The new coordinator does not know which answers its predecessor got.
#[tokio::test(start_paused = true)]
async fn a_new_coordinator_waits_for_its_workers_to_return() {
    let store = Arc::new(InMemory::new());
    let open = || Opened::take_over(store.clone(), None, "a".into(), Failpoint::default());
    let shared = || settings(Some("/nowhere"));
    let driver = start(open().await.unwrap(), shared());
    let mut done = Done::on(driver, [profile("a"), profile("b")]).await;
    let [before, _] = done.tickets().await;
    done.driver.stop().await.unwrap();
    done.driver = start(open().await.unwrap(), shared());
    done.nothing_happens_for(MOMENT).await;
    for (number, name) in ["a", "b"].into_iter().enumerate() {
        let Joined { worker, cluster, epoch, .. } = &done.workers[number];
        let (worker, cluster, epoch) = (*worker, cluster.to_string(), *epoch);
        let returning = Returning { worker, cluster, epoch, inventory: Default::default() };
        let back = join(&done.driver, profile(name), Some(returning)).await;
        assert!(std::mem::replace(&mut done.workers[number], back).worker == worker);
    }
    let [a, b] = done.tickets().await;
    assert_ne!(a, before, "an answer to the former coordinator is ignored");
    done.answer(0, a).await;
    done.nothing_happens_for(MOMENT).await;
    done.answer(1, b).await;
    assert_eq!(done.ends_within(MOMENT).await, JobState::Ended(Outcome::Succeeded));
}
