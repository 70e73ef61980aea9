//! A driver whose journal hangs, and a driver that is stopped, in virtual time.

mod releases;

use std::path::Path;

use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use tokio::time::{sleep, timeout};
use windrow_jobs::{Location, PartHandle, PartKind, PlatformNeeds};
use windrow_scheduler::{
    AttemptStats, Config, JobPlan, JobState, Outcome, SplitPlan, SubmissionId,
};

use super::*;
use crate::failpoint::{Failpoint, FailpointId};
use crate::journal::Opened;
use crate::output::{Reported, Reservation};

const LEASE: Duration = Duration::from_secs(10);

/// A driver with one worker, on a store that answers at once unless told otherwise.
struct Fixture {
    store: Arc<ThrottledStore<InMemory>>,
    driver: DriverHandle,
    joined: Joined,
    heartbeats: u64,
}

fn settings(state: Option<&str>) -> Settings {
    Settings {
        scheduler: Config { lease: LEASE, ..Config::default() },
        state: state.map(Into::into),
        failpoint: Failpoint::default(),
        snapshot_after: None,
    }
}

impl Fixture {
    async fn start() -> Self {
        let store = Arc::new(ThrottledStore::new(InMemory::new(), ThrottleConfig::default()));
        let opened = Opened::take_over(store.clone(), None, "a".into(), Failpoint::default());
        let driver = start(opened.await.unwrap(), settings(Some("/nowhere")));
        let joined = driver.join(WorkerProfile::for_test(), None).await.unwrap().unwrap();
        Self { store, driver, joined, heartbeats: 0 }
    }

    fn answer_after(&self, wait: Duration) {
        self.store.config_mut(|config| config.wait_put_per_call = wait);
    }

    /// Sends a heartbeat each second, and returns the numbers of the acknowledged ones.
    async fn beat_for(&mut self, seconds: u64) -> Vec<u64> {
        let mut acknowledged = Vec::new();
        for _ in 0..seconds {
            self.heartbeats += 1;
            let Joined { worker, session, .. } = self.joined;
            let report = Report::Heartbeat { running: Vec::new(), sequence: self.heartbeats };
            self.driver.report(worker, session, report).await.unwrap();
            sleep(Duration::from_secs(1)).await;
            while let Ok(receipt) = self.joined.outbox.receipts.try_recv() {
                match receipt {
                    Receipt::HeartbeatAck(sequence) => acknowledged.push(sequence),
                    other => panic!("{other:?}"),
                }
            }
        }
        acknowledged
    }
}

#[tokio::test(start_paused = true)]
async fn a_hanging_journal_stops_acknowledgements_and_ends_no_lease() {
    let mut fixture = Fixture::start().await;
    assert_eq!(fixture.beat_for(3).await, [1, 2, 3]);
    fixture.answer_after(LEASE * 4);
    // The driver appends four times per lease, and waits half a lease for the answer.
    let acknowledged = fixture.beat_for(30).await;
    let last = acknowledged.last().copied().unwrap();
    assert!((3 + 5..=3 + 8).contains(&last), "{acknowledged:?}");
    // Questions are still answered.
    assert!(fixture.driver.stands_still().await.unwrap());
    let workers = timeout(Duration::from_secs(1), fixture.driver.workers()).await;
    assert_eq!(workers.unwrap().unwrap().len(), 1);
    fixture.answer_after(Duration::ZERO);
    let late = fixture.beat_for(30).await;
    // All waiting ones in order, and then each at once.
    assert!(late.iter().copied().eq(last + 1..=63), "{late:?}");
    assert_eq!(fixture.driver.workers().await.unwrap().len(), 1, "its lease ended");
    assert!(!fixture.driver.stands_still().await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_slow_journal_does_not_stop_the_clock() {
    let mut fixture = Fixture::start().await;
    fixture.answer_after(LEASE / 2 - Duration::from_millis(100));
    let acknowledged = fixture.beat_for(60).await;
    assert!(acknowledged.iter().copied().eq(1..=60), "{acknowledged:?}");
}

#[tokio::test(start_paused = true)]
async fn a_driver_stops_while_its_journal_hangs() {
    let mut fixture = Fixture::start().await;
    fixture.answer_after(LEASE * 100);
    fixture.beat_for(20).await;
    timeout(Duration::from_secs(1), fixture.driver.stop()).await.unwrap().unwrap();
    assert!(fixture.driver.workers().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_stopping_driver_accepts_nothing_new() {
    let driver = start(Opened::in_memory().unwrap(), settings(None));
    driver.stop().await.unwrap();
    assert!(driver.join(WorkerProfile::for_test(), None).await.is_err());
    assert_eq!(driver.workers().await.unwrap().len(), 0, "questions are still answered");
}

/// A plan without reducers, so that the map tasks write the parts.
fn map_only(splits: u64) -> JobPlan {
    JobPlan {
        splits: (0..splits).map(|affinity| SplitPlan { bytes: 9, affinity }).collect(),
        partitions: 0,
        max_attempts: 4,
        task_timeout: Duration::from_secs(600),
        worker_wait: Duration::from_secs(600),
        priority: 0,
        submitter: 0,
        skip_bad_records: None,
        needs: PlatformNeeds::default(),
    }
}

/// Submits a job with this plan.
async fn submit(driver: &DriverHandle, plan: JobPlan, output: &Path) -> (JobId, OutputPaths) {
    let owner = driver.owner().cloned();
    let reservation = Arc::new(Reservation::take(output, false, owner).unwrap());
    let paths = reservation.paths().clone();
    let work = Arc::new(JobWork::for_test(&plan, paths.clone()));
    let id = SubmissionId(1);
    let submission = Submission { id, work, plan, reservation };
    (driver.submit(submission).await.unwrap(), paths)
}

/// A worker runs its next map attempt and reports success.
async fn run_one(driver: &DriverHandle, worker: &mut Joined, paths: &OutputPaths) {
    run_one_and_report(driver, worker, paths, |part| part).await;
}

/// A worker runs its next map attempt and reports success with the part that `change` makes of the
/// true one.
async fn run_one_and_report(
    driver: &DriverHandle,
    worker: &mut Joined,
    paths: &OutputPaths,
    change: impl FnOnce(PartHandle) -> PartHandle,
) {
    let attempt = loop {
        if let Outgoing::Map { assignment, .. } = worker.outbox.orders.recv().await.unwrap() {
            break assignment.attempt;
        }
    };
    let staging = Location::of_path(&paths.staging()).unwrap();
    let location = PartKind::Output.location(&staging, attempt).unwrap();
    std::fs::write(location.to_local().unwrap(), "x\n").unwrap();
    let part = PartHandle { location, bytes: 2, records: 1, crc64: 0, upload: None };
    let reported = Reported { part: Some(change(part)), bad_records: None };
    let done = Report::Done { attempt, stats: AttemptStats::default(), reported };
    driver.report(worker.worker, worker.session, done).await.unwrap();
}

/// A worker reports a part that the attempt did not write: it would be renamed into the output.
#[tokio::test(start_paused = true)]
async fn a_part_elsewhere_fails_its_attempt() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("out");
    let driver = start(Opened::in_memory().unwrap(), settings(None));
    let mut worker = driver.join(WorkerProfile::for_test(), None).await.unwrap().unwrap();
    let plan = JobPlan { max_attempts: 1, ..map_only(1) };
    let (job, paths) = submit(&driver, plan, &output).await;
    let elsewhere = |part| PartHandle { location: "/etc/passwd".parse().unwrap(), ..part };
    run_one_and_report(&driver, &mut worker, &paths, elsewhere).await;
    let mut changes = driver.watch(job).await.unwrap().unwrap();
    timeout(Duration::from_secs(60), changes.wait_for(|over| *over)).await.unwrap().unwrap();
    let state = driver.job(job).await.unwrap().unwrap().view.state.clone();
    let said = format!("{state:?}");
    assert!(said.contains("reported the part /etc/passwd"), "{said}");
    assert!(!output.join("part-00000").exists());
}

/// Returns the ticket of the next release that a worker gets.
async fn release_told(worker: &mut Joined) -> u64 {
    loop {
        let order = worker.outbox.orders.recv().await.unwrap();
        if let Outgoing::Release { ticket: Some(ticket), .. } = order {
            return ticket;
        }
    }
}

/// A worker reports that it has no process of the job any more.
async fn answer_release(driver: &DriverHandle, worker: &Joined, job: JobId, ticket: u64) {
    let released = Report::Released { job, ticket };
    driver.report(worker.worker, worker.session, released).await.unwrap();
}

/// The publication hangs after its first file, as on a slow server. A caller that cancels the job
/// does not wait for the other files.
#[tokio::test]
async fn cancelling_stops_a_publication_after_the_file_at_hand() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("out");
    let (reached, is_there) = std::sync::mpsc::channel();
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let failpoint = Failpoint::acting(FailpointId::PartRenamed, 1, move || {
        reached.send(()).unwrap();
        // The test may have failed.
        let _ = gate.lock().unwrap().recv();
    });
    let settings = Settings { failpoint, ..settings(None) };
    let driver = start(Opened::in_memory().unwrap(), settings);
    let mut worker = driver.join(WorkerProfile::for_test(), None).await.unwrap().unwrap();

    let (job, paths) = submit(&driver, map_only(3), &output).await;
    for _ in 0..3 {
        run_one(&driver, &mut worker, &paths).await;
    }
    let ticket = release_told(&mut worker).await;
    answer_release(&driver, &worker, job, ticket).await;
    let minute = Duration::from_secs(60);
    let waiting = tokio::task::spawn_blocking(move || is_there.recv_timeout(minute));
    waiting.await.unwrap().expect("the publication has begun");
    assert!(output.join("part-00000").exists());

    let mut cancel = Box::pin(driver.cancel(job));
    tokio::select! {
        biased;
        answered = &mut cancel => panic!("{answered:?} while a file is moved"),
        // Answered after the cancellation was received.
        told = driver.resubmit(SubmissionId(1)) => assert_eq!(told.unwrap(), Some(job)),
    }
    let mut changes = driver.watch(job).await.unwrap().unwrap();
    go.send(()).unwrap();
    assert!(timeout(minute, cancel).await.unwrap().unwrap(), "it was too late");
    timeout(minute, changes.wait_for(|over| *over)).await.unwrap().unwrap();
    let snapshot = driver.job(job).await.unwrap().unwrap();
    assert_eq!(snapshot.view.state, JobState::Ended(Outcome::Cancelled));
    assert!(!output.exists(), "part of the output is left");
}
