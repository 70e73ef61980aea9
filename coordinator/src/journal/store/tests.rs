use std::fs;

use object_store::local::LocalFileSystem;
use tempfile::TempDir;
use windrow_scheduler::journal::{Appender, JournalError, Nonce, Recovered};

use super::*;
use crate::journal::{Opened, RecoverError};

type TestCall = Call<String, u64>;

fn objects(dir: &TempDir) -> Arc<dyn ObjectStore> {
    Arc::new(LocalFileSystem::new_with_prefix(dir.path()).unwrap())
}

async fn open(dir: &TempDir, build: &str) -> Result<Opened<String, u64>, RecoverError> {
    Opened::take_over(objects(dir), build.to_string(), Failpoint::default()).await
}

/// Writes a state and each batch, as the next coordinator would.
async fn write(dir: &TempDir, state: u64, batches: &[&[&str]]) -> Recovered<String, u64> {
    let Opened { recovered, mut journal, .. } = open(dir, "a").await.unwrap();
    let mut appender = Appender::new(recovered.epoch, recovered.nonce, Arc::new(state));
    for batch in [&[][..]].iter().chain(batches) {
        for record in *batch {
            appender.push(record.to_string());
        }
        while let Some(call) = appender.next_call() {
            journal.start(call);
            appender.answer(journal.answered().await.unwrap()).unwrap();
        }
    }
    recovered
}

fn said(recovered: &Recovered<String, u64>) -> (Option<u64>, Vec<String>) {
    let records = recovered.batches.iter().flat_map(|batch| batch.iter().cloned());
    (recovered.snapshot.as_deref().copied(), records.collect())
}

fn slot(dir: &TempDir, epoch: u64, slot: u64) -> std::path::PathBuf {
    dir.path().join(format!("{LOG}/{epoch:08}/{slot:08}"))
}

#[tokio::test]
async fn what_was_written_is_recovered_and_the_cluster_stays_the_same() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(said(&write(&dir, 1, &[&["a", "b"], &["c"]]).await), (None, vec![]));
    let first = open(&dir, "a").await.unwrap();
    assert_eq!(said(&first.recovered).0, Some(1));
    assert_eq!(said(&first.recovered).1, ["a", "b", "c"]);
    assert_eq!(first.recovered.epoch, Epoch(2));
    // Its successor died before it had written anything.
    let second = open(&dir, "a").await.unwrap();
    assert_eq!(said(&second.recovered).1, ["a", "b", "c"]);
    assert_eq!((second.recovered.epoch, second.cluster), (Epoch(3), first.cluster));
}

#[tokio::test]
async fn old_epochs_go_but_for_their_seals() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir, 1, &[&["a"]]).await;
    write(&dir, 2, &[&["b"], &["c"]]).await;
    write(&dir, 3, &[&["d"]]).await;
    let there = |epoch, n| slot(&dir, epoch, n).exists();
    assert!(!there(1, 0) && !there(1, 1) && there(1, 2));
    assert!(!there(2, 0) && !there(2, 2) && there(2, 3));
    assert!(there(3, 0) && there(3, 1) && !there(3, 2));
}

/// Its writer may only have slept, and would append there again.
#[tokio::test]
async fn what_broke_off_before_a_seal_stays_in_its_slot() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir, 1, &[&["a"], &["b"]]).await;
    fs::write(slot(&dir, 1, 2), "").unwrap();
    write(&dir, 2, &[]).await;
    let there = |n| slot(&dir, 1, n).exists();
    assert!(!there(0) && !there(1) && there(2) && there(3));
}

#[tokio::test]
async fn what_broke_off_at_the_end_was_never_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir, 1, &[&["a"], &["b"]]).await;
    let last = slot(&dir, 1, 2);
    let bytes = fs::read(&last).unwrap();
    for torn in [&[][..], &bytes[..9], &bytes[..bytes.len() - 1]] {
        fs::write(&last, torn).unwrap();
        let opened = open(&dir, "a").await.unwrap();
        assert_eq!(said(&opened.recovered), (Some(1), vec!["a".to_string()]));
    }
}

#[tokio::test]
async fn damage_stops_the_start_and_is_named() {
    for spoilt in [1, 2] {
        let dir = tempfile::tempdir().unwrap();
        write(&dir, 1, &[&["a"], &["b"]]).await;
        let path = slot(&dir, 1, spoilt);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() - 20;
        bytes[middle] ^= 4;
        fs::write(&path, bytes).unwrap();
        let error = open(&dir, "a").await.err().expect("it was opened");
        assert!(matches!(error, RecoverError::Journal(JournalError::Damaged { .. })), "{error}");
        assert!(error.to_string().contains(&format!("log/00000001/{spoilt:08}")), "{error}");
    }
}

#[tokio::test]
async fn what_broke_off_in_the_middle_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir, 1, &[&["a"], &["b"]]).await;
    fs::write(slot(&dir, 1, 1), "").unwrap();
    let error = open(&dir, "a").await.err().expect("it was opened");
    assert!(matches!(error, RecoverError::Journal(JournalError::Damaged { .. })), "{error}");
}

#[tokio::test]
async fn another_build_is_refused_by_name_and_harms_nothing() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir, 1, &[&["a"]]).await;
    let error = open(&dir, "b").await.err().expect("it was opened").to_string();
    assert!(error.contains("was written by a, and this is b"), "{error}");
    assert_eq!(said(&open(&dir, "a").await.unwrap().recovered).1, ["a"]);
}

#[tokio::test]
async fn whoever_fails_to_take_over_leaves_the_other_in_charge() {
    let dir = tempfile::tempdir().unwrap();
    let Opened { recovered, mut journal, .. } = open(&dir, "a").await.unwrap();
    let mut appender = Appender::new(recovered.epoch, recovered.nonce, Arc::new(1));
    for n in 0..4 {
        appender.push(n.to_string());
        appender.roll(Arc::new(n));
        // In each state in which the journal is between two objects.
        while let Some(call) = appender.next_call() {
            journal.start(call);
            appender.answer(journal.answered().await.unwrap()).unwrap();
            let before = fs::read_dir(dir.path().join(EPOCHS)).unwrap().count();
            assert!(matches!(open(&dir, "b").await.err(), Some(RecoverError::Store(_))));
            assert_eq!(fs::read_dir(dir.path().join(EPOCHS)).unwrap().count(), before);
        }
    }
    assert_eq!((appender.epoch(), appender.durable()), (Epoch(5), Some(4)));
}

#[tokio::test]
async fn a_journal_of_another_cluster_is_not_mixed_in() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(&ours, 1, &[&["a"]]).await;
    write(&theirs, 1, &[&["z"]]).await;
    fs::copy(slot(&theirs, 1, 1), slot(&ours, 1, 1)).unwrap();
    assert!(open(&ours, "a").await.is_err());
}

#[tokio::test]
async fn whoever_comes_second_does_not_get_the_slot() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(objects(&dir), "a".into(), Failpoint::default()).await.unwrap();
    let key = Key::Epoch(Epoch(1));
    let create = |nonce| -> TestCall {
        Call::Create(key, Object { epoch: Epoch(1), nonce: Nonce(nonce), body: Body::Begin })
    };
    assert_eq!(store.carry_out(&create(1)).await.unwrap(), Answer::Created);
    assert_eq!(store.carry_out(&create(2)).await.unwrap(), Answer::Exists);
    let Answer::Found(found) = store.carry_out(&TestCall::Read(key)).await.unwrap() else {
        panic!("not found")
    };
    assert_eq!(found.nonce, Nonce(1));
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_an_error_of_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(objects(&dir), "a".into(), Failpoint::default()).await.unwrap();
    fs::write(dir.path().join(EPOCHS), "a file is in the way").unwrap();
    let begin = Object { epoch: Epoch(1), nonce: Nonce(1), body: Body::Begin };
    let error = store.carry_out(&TestCall::Create(Key::Epoch(Epoch(1)), begin)).await.unwrap_err();
    assert!(matches!(error, StoreError::Failed(_)), "{error}");
    assert!(error.is_final());
}

#[tokio::test(start_paused = true)]
async fn what_failed_is_done_when_the_store_is_well_again() {
    let dir = tempfile::tempdir().unwrap();
    let Opened { recovered, mut journal, .. } = open(&dir, "a").await.unwrap();
    let in_the_way = dir.path().join(LOG);
    // A link to itself: an error that is not known to last.
    std::os::unix::fs::symlink(&in_the_way, &in_the_way).unwrap();
    let mut appender = Appender::new(recovered.epoch, recovered.nonce, Arc::new(1));
    appender.push("a".to_string());
    let mut failures = 0;
    while let Some(call) = appender.next_call() {
        journal.start(call);
        let answer = journal.answered().await.unwrap();
        if answer == Answer::Failed {
            assert_eq!(appender.durable(), None, "it was acknowledged");
            failures += 1;
            if failures == 3 {
                fs::remove_file(&in_the_way).unwrap();
            }
        }
        appender.answer(answer).unwrap();
    }
    assert_eq!((failures, appender.durable()), (3, Some(1)));
    assert_eq!(said(&open(&dir, "a").await.unwrap().recovered), (Some(1), vec!["a".to_string()]));
}

#[tokio::test]
async fn a_store_that_will_never_take_anything_is_not_tried_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let Opened { recovered, mut journal, .. } = open(&dir, "a").await.unwrap();
    fs::write(dir.path().join(LOG), "in the way").unwrap();
    let mut appender = Appender::new(recovered.epoch, recovered.nonce, Arc::new(1));
    let call = appender.next_call().unwrap();
    journal.start(call);
    let refused = appender.answer(journal.answered().await.unwrap()).unwrap_err();
    assert!(matches!(refused, JournalError::Refused(_)), "{refused}");
}

#[test]
fn what_may_pass_is_tried_again() {
    let is_final = |kind: std::io::ErrorKind| {
        let source = Box::new(std::io::Error::from(kind));
        StoreError::from(Error::Generic { store: "test", source }).is_final()
    };
    use std::io::ErrorKind::*;
    assert!(
        ![StorageFull, QuotaExceeded, TimedOut, Interrupted, Other].map(is_final).contains(&true)
    );
    assert!(![PermissionDenied, NotADirectory, ReadOnlyFilesystem].map(is_final).contains(&false));
}
