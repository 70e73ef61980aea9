//! Hostile contents of an output folder, by a job or another user who may write there: nothing
//! outside changes, nothing blocks, and the message names the file.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tonic::Code;
use windrow_proto::v1;
use windrow_proto::v1::JobState;
use windrow_proto::v1::worker_message::Message as FromWorker;

use crate::support::{Cluster, Worker, numbered};

/// A folder with a file that only the coordinator's user may write.
struct Kept(tempfile::TempDir);

impl Kept {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("tokens")).unwrap();
        for (name, text) in [("ca-key.pem", "key"), ("revoked", "submitter/A"), ("tokens/1", "t")] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        Self(dir)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn assert_untouched(&self) {
        let names = |folder: &Path| {
            let entries = fs::read_dir(folder).unwrap();
            let mut names: Vec<_> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        assert_eq!(names(self.0.path()), ["ca-key.pem", "revoked", "tokens"]);
        assert_eq!(names(&self.at("tokens")), ["1"]);
        assert_eq!(fs::read(self.at("ca-key.pem")).unwrap(), b"key");
        assert_eq!(fs::read(self.at("revoked")).unwrap(), b"submitter/A");
    }
}

/// A job with two reduce tasks, whose maps are all done.
async fn reducing(cluster: &Cluster, overwrite: bool) -> (u64, Worker, [v1::AssignReduce; 2]) {
    let mut worker = cluster.worker("/w").await;
    let mut spec = cluster.word_count(2);
    spec.options.as_mut().unwrap().overwrite = overwrite;
    let job = cluster.submit(spec).await.unwrap();
    let map = worker.next_map().await;
    worker.finish_map(&map).await;
    worker.next_outputs().await;
    let reduces = [worker.next_reduce().await, worker.next_reduce().await];
    (job, worker, reduces)
}

fn staging(worker: &Worker, job: u64) -> PathBuf {
    PathBuf::from(&worker.contexts[&job].staging)
}

/// Reports a part of this size without having written it.
async fn claim(worker: &Worker, assign: &v1::AssignReduce, bytes: u64) {
    let location = worker.part(assign.attempt.unwrap()).display().to_string();
    let part = v1::Part { location, bytes, records: 1, crc64: 1, upload: None };
    let stats = v1::AttemptStats {
        output_bytes: bytes,
        output_records: 1,
        audit: Some(v1::Audit::default()),
        ..Default::default()
    };
    let (attempt, stats, part) = (assign.attempt, Some(stats), Some(part));
    let done = v1::ReduceDone { attempt, stats, part, bad_records: None };
    worker.say(FromWorker::ReduceDone(done)).await;
}

/// The message with which the job fails; nothing of it is visible.
async fn failure(cluster: &Cluster, job: u64) -> String {
    let status = cluster.final_status(job).await;
    assert_eq!(status.state(), JobState::Failed);
    assert_eq!(cluster.output_names(), None);
    status.failure_message
}

fn pipe(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_link_in_place_of_the_manifest_is_not_followed() {
    let kept = Kept::new();
    let cluster = Cluster::start_with_journal().await;
    let (job, worker, reduces) = reducing(&cluster, false).await;
    symlink(kept.at("revoked"), staging(&worker, job).join("_SUCCESS")).unwrap();
    for reduce in &reduces {
        worker.finish_reduce(reduce, "a\t2\n").await;
    }
    assert_eq!(cluster.final_status(job).await.state(), JobState::Succeeded);
    kept.assert_untouched();
    let manifest = cluster.output().join("_SUCCESS");
    assert!(fs::symlink_metadata(&manifest).unwrap().is_file());
    assert!(fs::read_to_string(&manifest).unwrap().contains("word-count"));
}

#[tokio::test(start_paused = true)]
async fn only_files_that_were_moved_aside_are_restored() {
    for is_link in [true, false] {
        let kept = Kept::new();
        let cluster = Cluster::start_with_journal().await;
        let (job, worker, reduces) = reducing(&cluster, false).await;
        let replaced = staging(&worker, job).join("replaced");
        if is_link {
            symlink(kept.at(""), &replaced).unwrap();
        } else {
            fs::create_dir(&replaced).unwrap();
            fs::write(replaced.join("00112233445566aa"), "a token of an admin").unwrap();
        }
        worker.finish_reduce(&reduces[0], "a\t2\n").await;
        fs::write(staging(&worker, job).join("part-00001.1"), "torn").unwrap();
        claim(&worker, &reduces[1], 99).await;
        let message = failure(&cluster, job).await;
        assert!(message.contains("part-00001.1"), "{message}");
        kept.assert_untouched();
    }
}

#[tokio::test(start_paused = true)]
async fn a_replaced_output_is_not_moved_through_a_link() {
    let kept = Kept::new();
    let cluster = Cluster::start_with_journal().await;
    fs::create_dir(cluster.output()).unwrap();
    fs::write(cluster.output().join("part-00112233445566aa"), "a token of an admin").unwrap();
    let manifest = r#"{"format": 1, "job": {"identity": "another"}, "parts": []}"#;
    fs::write(cluster.output().join("_SUCCESS"), manifest).unwrap();
    let (job, worker, reduces) = reducing(&cluster, true).await;
    symlink(kept.at("tokens"), staging(&worker, job).join("replaced")).unwrap();
    for reduce in &reduces {
        worker.finish_reduce(reduce, "a\t2\n").await;
    }
    assert_eq!(cluster.final_status(job).await.state(), JobState::Succeeded);
    kept.assert_untouched();
    assert_eq!(cluster.output_names().unwrap(), ["_SUCCESS", "part-00000", "part-00001"]);
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_is_a_link_is_refused_and_not_written_to() {
    let kept = Kept::new();
    for cluster in [Cluster::start().await, Cluster::start_with_journal().await] {
        let temporary = cluster.output().join("_temporary");
        fs::create_dir_all(&temporary).unwrap();
        symlink(kept.at("revoked"), temporary.join("lock")).unwrap();
        let refused = cluster.submit(cluster.word_count(1)).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        for part in ["_temporary/lock", "it is a link", "remove it"] {
            assert!(refused.message().contains(part), "{}", refused.message());
        }
        kept.assert_untouched();
    }
}

#[tokio::test(start_paused = true)]
async fn a_temporary_folder_that_is_a_link_is_refused_and_not_swept() {
    let cluster = Cluster::start().await;
    let victim = tempfile::tempdir().unwrap();
    for folder in ["attempts-1", "commit-1.1", "own-1.1.1"] {
        fs::create_dir(victim.path().join(folder)).unwrap();
    }
    fs::create_dir(cluster.output()).unwrap();
    symlink(victim.path(), cluster.output().join("_temporary")).unwrap();
    let refused = cluster.submit(cluster.word_count(1)).await.unwrap_err();
    assert!(refused.message().contains("_temporary: it is a link"), "{}", refused.message());
    assert_eq!(fs::read_dir(victim.path()).unwrap().count(), 3);
}

/// Neither publication nor its undoing blocks on a pipe, or reads an endless device.
#[tokio::test(start_paused = true)]
async fn only_a_regular_file_is_a_part() {
    type Plant = fn(&Path);
    let plants: [(&str, Plant); 4] = [
        ("a pipe", pipe),
        ("a link", |path| symlink("/dev/zero", path).unwrap()),
        ("a link", |path| symlink("/etc/passwd", path).unwrap()),
        ("a folder", |path| fs::create_dir(path).unwrap()),
    ];
    for (said, plant) in plants {
        for bytes in [0, 7] {
            let cluster = Cluster::start_with_journal().await;
            let (job, worker, reduces) = reducing(&cluster, false).await;
            let part = staging(&worker, job).join("part-00000.1");
            plant(&part);
            claim(&worker, &reduces[0], bytes).await;
            worker.finish_reduce(&reduces[1], "a\t2\n").await;
            let message = failure(&cluster, job).await;
            assert!(message.contains("part-00000.1") && message.contains(said), "{message}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_hard_link_is_no_part() {
    let kept = Kept::new();
    let cluster = Cluster::start_with_journal().await;
    let (job, worker, reduces) = reducing(&cluster, false).await;
    fs::hard_link(kept.at("ca-key.pem"), staging(&worker, job).join("part-00000.1")).unwrap();
    claim(&worker, &reduces[0], 3).await;
    worker.finish_reduce(&reduces[1], "a\t2\n").await;
    let message = failure(&cluster, job).await;
    assert!(message.contains("another hard link"), "{message}");
    kept.assert_untouched();
}

/// The output folder became a link after it was checked.
#[tokio::test(start_paused = true)]
async fn an_output_that_has_become_a_link_is_not_followed() {
    let victim = tempfile::tempdir().unwrap();
    let cluster = Cluster::start_with_journal().await;
    let (job, worker, reduces) = reducing(&cluster, false).await;
    let aside = cluster.output().with_file_name("aside");
    fs::rename(cluster.output(), &aside).unwrap();
    let unique = staging(&worker, job).file_name().unwrap().to_os_string();
    let there = victim.path().join("_temporary").join(unique);
    fs::create_dir_all(&there).unwrap();
    symlink(victim.path(), cluster.output()).unwrap();
    for reduce in &reduces {
        worker.finish_reduce(reduce, "a\t2\n").await;
    }
    let status = cluster.final_status(job).await;
    assert_eq!(status.state(), JobState::Failed);
    assert!(status.failure_message.contains("it is a link"), "{}", status.failure_message);
    assert_eq!(fs::read_dir(victim.path()).unwrap().count(), 1);
    assert_eq!(fs::read_dir(&there).unwrap().count(), 2, "only what its worker has written");
    let cancelled = cluster.cancel(numbered(job)).await.unwrap();
    assert!(cancelled.too_late, "it was over");
}
