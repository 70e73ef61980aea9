//! The executor with real jobs: its outputs, its failures, and its cleanup.

use std::path::{Path, PathBuf};
use std::sync::Condvar;
use std::time::Instant;

use windrow_jobs::prelude::*;
use windrow_jobs::{Location, StageId, WorkerId, ready};

use super::*;
use crate::model::{JobContext, WorkerOutputs};
use crate::shuffle::FetchTimeouts;
use crate::shuffle::store::JobFolder;
use crate::testing::{IDENTITY, attempt_id, context, whole_file};

/// Mappers block here until the test releases them.
#[derive(Clone, Default)]
struct Gate {
    state: Arc<(Mutex<(usize, bool)>, Condvar)>,
}

impl Gate {
    fn pass(&self) {
        let (state, changed) = &*self.state;
        let mut state = state.lock().unwrap();
        state.0 += 1;
        changed.notify_all();
        drop(changed.wait_while(state, |state| !state.1).unwrap());
    }

    /// Waits until a mapper blocks.
    async fn reached(&self) {
        let gate = self.clone();
        let wait = move || {
            let (state, changed) = &*gate.state;
            let limit = Duration::from_secs(20);
            let waited = changed.wait_timeout_while(state.lock().unwrap(), limit, |s| s.0 == 0);
            assert!(!waited.unwrap().1.timed_out());
        };
        tokio::task::spawn_blocking(wait).await.unwrap();
    }

    fn open(&self) {
        self.state.0.lock().unwrap().1 = true;
        self.state.1.notify_all();
    }
}

struct Hanging(Gate);

impl Mapper for Hanging {
    type Input = Line;
    type Key = str;
    type Value = u64;

    fn map(&self, line: &str, out: &mut impl Emit<str, u64>) -> Result<()> {
        self.0.pass();
        out.emit(line, 1)
    }
}

struct Panicking;

impl Mapper for Panicking {
    type Input = Line;
    type Key = str;
    type Value = u64;

    fn map(&self, line: &str, _out: &mut impl Emit<str, u64>) -> Result<()> {
        panic!("cannot take {line}");
    }
}

/// Far in the future.
fn lease_ends() -> tokio::time::Instant {
    tokio::time::Instant::now() + Duration::from_secs(3_600)
}

/// An executor, its input and its staging folder.
struct Bench {
    folder: tempfile::TempDir,
    executor: Arc<InProcess>,
    gate: Gate,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("input"), "be to\nor not to be\n").unwrap();
        std::fs::create_dir(folder.path().join("staging")).unwrap();
        let gate = Gate::default();
        let jobs = [
            Job::new("hanging", Hanging(gate.clone())).reduce(Sum),
            Job::new("hanging-map-only", Hanging(gate.clone())).map_only(),
            Job::new("panicking", Panicking).reduce(Sum),
        ];
        let registry = Arc::new(Registry::new(ready::all().into_iter().chain(jobs)));
        let executor = InProcess::new(config(folder.path()), registry).unwrap();
        executor.identity().set("c", WorkerId(1), lease_ends());
        Self { folder, executor: Arc::new(executor), gate }
    }

    fn request(&self, job: &str, stage: StageId, index: u32, work: Work) -> RunRequest {
        let staging = Location::of_path(&self.folder.path().join("staging")).unwrap();
        let context = JobContext { job: job.into(), staging, ..context() };
        RunRequest {
            attempt: attempt_id(stage, index, 1),
            context: Arc::new(context),
            work,
            alone: false,
            skip: Vec::new(),
        }
    }

    fn map(&self, job: &str, index: u32) -> RunRequest {
        let input = whole_file(&self.folder.path().join("input"));
        self.request(job, StageId::MAP, index, Work::Map { input: 0, ranges: vec![input] })
    }

    async fn run(&self, request: RunRequest) -> Result<Finished, FailureCause> {
        self.executor.run(request, Arc::default(), CancellationToken::new()).await
    }

    /// Starts an attempt and waits until its mapper hangs.
    async fn hang(
        &self,
        job: &str,
        cancel: &CancellationToken,
    ) -> tokio::task::JoinHandle<Result<Finished, FailureCause>> {
        let (executor, request) = (Arc::clone(&self.executor), self.map(job, 0));
        let cancel = cancel.clone();
        let running =
            tokio::spawn(async move { executor.run(request, Arc::default(), cancel).await });
        self.gate.reached().await;
        running
    }

    /// Releases the mappers, waits until no thread works for job 1 any more, and returns the files
    /// that are left.
    async fn files_after_the_end(&self, folder: &Arc<JobFolder>) -> Vec<PathBuf> {
        // Attempts hold the folder; so do the store and the job until they are released, and this
        // test.
        let is_released = !lock(&self.executor.jobs).contains_key(&JobId(1));
        let holders = if is_released { 1 } else { 3 };
        self.gate.open();
        eventually("the attempt ends", || Arc::strong_count(folder) == holders).await;
        self.files()
    }

    fn job_folder(&self) -> Arc<JobFolder> {
        self.executor.store.folder(JobId(1), IDENTITY).unwrap()
    }

    /// All files of attempts.
    fn files(&self) -> Vec<PathBuf> {
        let in_folder = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten();
        in_folder(self.folder.path().join("staging"))
            .chain(in_folder(self.folder.path().join("worker/job-1")))
            .map(|entry| entry.unwrap().path())
            .collect()
    }
}

fn config(folder: &Path) -> ExecutorConfig {
    ExecutorConfig {
        threads: 2,
        memory_bytes: 64 << 20,
        directory: folder.join("worker"),
        host: "here".into(),
        tls: ShuffleTls::Off,
        fetch: FetchTimeouts::default(),
        serial: 0,
        outputs_on_disk: false,
        is_only_worker: true,
    }
}

/// Waits for a condition that another thread soon makes true.
async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_maps_and_a_reduce_count_words() {
    let bench = Bench::new();
    for index in 0..2 {
        let finished = bench.run(bench.map("word-count", index)).await.unwrap();
        assert_eq!((finished.stats.input_records, finished.stats.output_records), (2, 4));
    }
    let outputs = WorkerOutputs {
        worker: WorkerId(1),
        shuffle_address: String::new(),
        host: "here".into(),
        directory: bench.folder.path().join("worker"),
        outputs: vec![(0, 1), (1, 1)],
    };
    let work = Work::Reduce(Arc::new(vec![outputs]));
    let reduced = bench.run(bench.request("word-count", StageId::REDUCE, 0, work)).await.unwrap();
    let part = reduced.part.unwrap();
    let path = part.location.to_local().unwrap();
    assert_eq!(path, bench.folder.path().join("staging/part-00000.1"));
    let text = std::fs::read_to_string(path).unwrap();
    assert_eq!(text, "be\t4\nnot\t2\nor\t2\nto\t4\n");
    assert_eq!((part.records, part.bytes), (4, text.len() as u64));
    bench.executor.release(JobId(1));
    assert_eq!(bench.files(), [path], "segments go, the part stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_attempt_is_abandoned_and_leaves_no_file_however_late_it_ends() {
    for job in ["hanging", "hanging-map-only"] {
        let bench = Bench::new();
        let cancel = CancellationToken::new();
        let running = bench.hang(job, &cancel).await;
        let folder = bench.job_folder();
        cancel.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(10), running).await.unwrap();
        assert_eq!(ended.unwrap(), Err(FailureCause::Cancelled));
        // The threads still hang, and others do the work.
        let mut other = bench.map("word-count", 1);
        other.attempt.task.job = JobId(2);
        bench.run(other).await.unwrap();
        assert_eq!(bench.files_after_the_end(&folder).await, Vec::<PathBuf>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_attempts_run_while_one_hangs() {
    let bench = Bench::new();
    let cancel = CancellationToken::new();
    let running = bench.hang("hanging", &cancel).await;
    let mut other = bench.map("word-count", 1);
    other.attempt.task.job = JobId(2);
    bench.run(other).await.unwrap();
    bench.gate.open();
    assert!(running.await.unwrap().is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn releasing_a_job_ends_its_attempts_and_removes_their_files() {
    let bench = Bench::new();
    let running = bench.hang("hanging", &CancellationToken::new()).await;
    let folder = bench.job_folder();
    bench.executor.release(JobId(1));
    assert_eq!(bench.files_after_the_end(&folder).await, Vec::<PathBuf>::new());
    assert_eq!(running.await.unwrap(), Err(FailureCause::Cancelled));
    assert!(!bench.folder.path().join("worker/job-1").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_whose_future_is_dropped_leaves_no_file() {
    let bench = Bench::new();
    let running = bench.hang("hanging", &CancellationToken::new()).await;
    let folder = bench.job_folder();
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    assert_eq!(bench.files_after_the_end(&folder).await, Vec::<PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_fails_only_its_attempt_and_is_reported_with_its_place() {
    let bench = Bench::new();
    let cause = bench.run(bench.map("panicking", 0)).await.unwrap_err();
    let FailureCause::UserPanic { place, message } = &cause else { panic!("{cause}") };
    assert_eq!(message, "cannot take be to");
    assert!(place.file.ends_with("input") && place.offset == Some(0), "{place}");
    assert_eq!(bench.files(), Vec::<PathBuf>::new());
    let mut other = bench.map("word-count", 1);
    other.attempt.task.job = JobId(2);
    bench.run(other).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_jobs_and_parameters_are_refused() {
    let bench = Bench::new();
    let cause = bench.run(bench.map("weave", 0)).await.unwrap_err();
    assert_eq!(cause.to_string(), "this worker has no job called weave");
    let mut request = bench.map("grep", 0);
    let context = JobContext { params: "{}".into(), ..(*request.context).clone() };
    request.context = Arc::new(context);
    request.attempt.task.job = JobId(2);
    let cause = bench.run(request).await.unwrap_err();
    assert!(matches!(cause, FailureCause::UserError { .. }), "{cause}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_ends_removes_no_file_of_its_worker() {
    let bench = Bench::new();
    let config = ExecutorConfig { outputs_on_disk: true, serial: 1, ..config(bench.folder.path()) };
    let beside = InProcess::beside(config, Arc::clone(&bench.executor.registry));
    let map = bench.map("word-count", 0);
    beside.run(map, Arc::default(), CancellationToken::new()).await.unwrap();
    drop(beside);
    assert_eq!(bench.files(), [bench.folder.path().join("worker/job-1/map-00000.1.segment")]);
}

#[test]
fn two_executors_cannot_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let new = || InProcess::new(config(folder.path()), Arc::new(Registry::default()));
    let first = new().unwrap();
    assert!(matches!(new(), Err(crate::executor::ExecutorError::DirectoryInUse { .. })));
    drop(first);
    new().unwrap();
}
