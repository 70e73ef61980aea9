//! Folders that a job declares with `--allow-write`: never an output of another job.

use std::fs;

use tonic::Code;
use windrow_proto::v1;
use windrow_proto::v1::JobState;

use crate::support::{Cluster, numbered};

/// A word count into `output` that declares these folders.
fn job(cluster: &Cluster, output: &str, declared: &[&str]) -> v1::JobSpec {
    let path = |name: &&str| cluster.dir.path().join(name).display().to_string();
    let writable = declared.iter().map(path).collect();
    v1::JobSpec { output: path(&output), writable, ..cluster.word_count(1) }
}

async fn refusal(cluster: &Cluster, output: &str, declared: &[&str]) -> String {
    let refused = cluster.submit(job(cluster, output, declared)).await;
    let refused = refused.expect_err(&format!("{output}, {declared:?}"));
    assert!(matches!(refused.code(), Code::FailedPrecondition | Code::InvalidArgument));
    let made = cluster.dir.path().join(output);
    assert!(!made.join("_temporary").exists(), "the staging folder is left");
    refused.message().to_string()
}

#[tokio::test(start_paused = true)]
async fn the_output_of_a_running_job_cannot_be_declared() {
    let mut cluster = Cluster::start_with_journal().await;
    let running = cluster.submit(job(&cluster, "a/out", &[])).await.unwrap();
    // The second round asks a coordinator that has only the journal.
    for _ in 0..2 {
        for declared in ["a/out", "a/out/_temporary", "a/out/missing", "a"] {
            let said = refusal(&cluster, "b/out", &[declared]).await;
            assert!(said.contains("the output of job-") && said.contains("declare"), "{said}");
        }
        for declared in ["c/out", "c", "c/out/x"] {
            let said = refusal(&cluster, "c/out", &[declared]).await;
            assert!(said.contains("the job's output"), "{said}");
        }
        cluster = cluster.take_over().await.0;
    }
    cluster.cancel(numbered(running)).await.unwrap();
    cluster.submit(job(&cluster, "b/out", &["a"])).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_output_inside_a_declared_folder_is_refused() {
    let mut cluster = Cluster::start_with_journal().await;
    fs::create_dir(cluster.dir.path().join("notes")).unwrap();
    let running = cluster.submit(job(&cluster, "out", &["notes", "new/deep/notes"])).await.unwrap();
    for _ in 0..2 {
        for output in ["notes", "notes/a/out", "new/deep", "new/deep/notes"] {
            let said = refusal(&cluster, output, &[]).await;
            let name = format!("the code of job-{running}");
            assert!(said.contains(&name) && said.contains("cancel that job"), "{said}");
        }
        cluster = cluster.take_over().await.0;
    }
    // Other jobs may declare the same folder.
    let second = cluster.submit(job(&cluster, "b/out", &["notes"])).await.unwrap();
    cluster.cancel(numbered(running)).await.unwrap();
    let said = refusal(&cluster, "notes/a/out", &[]).await;
    assert!(said.contains(&format!("the code of job-{second}")), "{said}");
    cluster.cancel(numbered(second)).await.unwrap();
    cluster.submit(job(&cluster, "notes/a/out", &[])).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_output_of_an_ended_job_cannot_be_declared() {
    let cluster = Cluster::start_with_journal().await;
    let mut worker = cluster.worker("/w").await;
    let first = cluster.submit(job(&cluster, "a/deep/out", &[])).await.unwrap();
    let map = worker.next_map().await;
    worker.finish_map(&map).await;
    let reduce = worker.next_reduce_with_outputs().await;
    worker.finish_reduce(&reduce, "a\t2\n").await;
    assert_eq!(cluster.final_status(first).await.state(), JobState::Succeeded);
    for declared in ["a", "a/deep/out", "a/deep/out/part-00000", "a/deep/out/x/y"] {
        let said = refusal(&cluster, "b/out", &[declared]).await;
        assert!(said.contains("out is an output, with _SUCCESS in it"), "{said}");
    }
    std::os::unix::fs::symlink(cluster.dir.path().join("a"), cluster.dir.path().join("l")).unwrap();
    assert!(refusal(&cluster, "b/out", &["l"]).await.contains("is an output"));
}

/// Neither job is known when the other is checked first.
#[tokio::test]
async fn of_two_concurrent_submissions_one_is_refused() {
    let cluster = Cluster::start_with_journal().await;
    for n in 0..20 {
        let output = format!("{n}/out");
        let folder = n.to_string();
        let (one, other) = (job(&cluster, &output, &[]), job(&cluster, "b", &[&folder]));
        let other = v1::JobSpec { output: format!("{}{n}", other.output), ..other };
        let (one, other) = tokio::join!(cluster.submit(one), cluster.submit(other));
        assert!(one.is_ok() != other.is_ok(), "{one:?}, {other:?}");
    }
}
