use std::fs;

use object_store::local::LocalFileSystem;
use tempfile::TempDir;
use windrow_scheduler::journal::{Appender, CallId, JournalError, Nonce, Recovered};

use super::*;
use crate::journal::{Journal, Opened, RecoverError};

type TestCall = Call<String, u64, u8>;
type TestAppender = Appender<String, u64, u8>;

fn objects(dir: &TempDir) -> Arc<dyn ObjectStore> {
    let store = LocalFileSystem::new_with_prefix(dir.path()).unwrap();
    Arc::new(store.with_automatic_cleanup(true))
}

async fn open(dir: &TempDir, build: &str) -> Result<Opened<String, u64, u8>, RecoverError> {
    let home = PinnedFolder::at(dir.path()).unwrap();
    Opened::take_over(objects(dir), Some(home), build.to_string(), Failpoint::default()).await
}

/// Carries out all calls of the appender.
async fn settle(
    appender: &mut TestAppender,
    journal: &mut Journal<String, u64, u8>,
) -> Result<(), JournalError> {
    let mut under_way = 0;
    loop {
        while let Some((id, call)) = appender.next_call() {
            journal.start(id, call);
            under_way += 1;
        }
        if under_way == 0 {
            return Ok(());
        }
        let (id, answer) = journal.answered().await.unwrap();
        under_way -= 1;
        appender.answer(id, answer)?;
    }
}

/// Writes each batch as another coordinator, which writes `state` as the snapshot of the ones
/// before.
async fn write(dir: &TempDir, state: u64, batches: &[&[&str]]) -> Recovered<String, u64, u8> {
    let Opened { recovered, mut journal, .. } = open(dir, "a").await.unwrap();
    let mut appender = TestAppender::new(recovered.epoch, recovered.nonce);
    if recovered.epoch > Epoch(1) {
        appender.begin_with(Arc::new(state), Default::default(), Vec::new());
    }
    for batch in batches {
        for record in *batch {
            appender.push(record.to_string());
        }
        settle(&mut appender, &mut journal).await.unwrap();
    }
    recovered
}

fn said(recovered: &Recovered<String, u64, u8>) -> (Option<u64>, Vec<String>) {
    let records = recovered.batches.iter().flat_map(|batch| batch.iter().cloned());
    (recovered.snapshot.as_deref().copied(), records.collect())
}

fn slot(dir: &TempDir, epoch: u64, slot: u64) -> PathBuf {
    dir.path().join(format!("{LOG}/{epoch:08}/{slot:08}"))
}

#[tokio::test]
async fn records_and_cluster_are_recovered() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(said(&write(&dir, 0, &[&["a", "b"], &["c"]]).await), (None, vec![]));
    let first = open(&dir, "a").await.unwrap();
    assert_eq!(said(&first.recovered).1, ["a", "b", "c"]);
    assert_eq!(first.recovered.epoch, Epoch(2));
    // The successor died before it had written anything.
    let second = open(&dir, "a").await.unwrap();
    assert_eq!(said(&second.recovered).1, ["a", "b", "c"]);
    assert_eq!((second.recovered.epoch, second.cluster), (Epoch(3), first.cluster));
    write(&dir, 7, &[&["d"]]).await;
    let last = open(&dir, "a").await.unwrap();
    assert_eq!(said(&last.recovered), (Some(7), vec!["d".to_string()]));
}

#[tokio::test]
async fn old_epochs_and_their_folders_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    for state in 0..5 {
        write(&dir, state, &[&["a"], &["b"]]).await;
    }
    let count = |folder: &str| fs::read_dir(dir.path().join(folder)).unwrap().count();
    assert_eq!((count(EPOCHS), count(LOG), count(STATES)), (1, 1, 1));
    assert_eq!(count("log/00000005"), 2);
}

#[tokio::test]
async fn a_torn_last_object_is_ignored() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir, 0, &[&["a"], &["b"]]).await;
    let last = slot(&dir, 1, 1);
    let bytes = fs::read(&last).unwrap();
    for torn in [&[][..], &bytes[..9], &bytes[..bytes.len() - 1]] {
        fs::write(&last, torn).unwrap();
        let opened = open(&dir, "a").await.unwrap();
        assert_eq!(said(&opened.recovered), (None, vec!["a".to_string()]));
    }
}

#[tokio::test]
async fn damage_stops_the_start_and_is_named() {
    for spoilt in [0, 1] {
        let dir = tempfile::tempdir().unwrap();
        write(&dir, 0, &[&["a"], &["b"]]).await;
        let path = slot(&dir, 1, spoilt);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() - 20;
        bytes[middle] ^= 4;
        fs::write(&path, bytes).unwrap();
        let error = open(&dir, "a").await.err().expect("the journal was opened");
        assert!(matches!(error, RecoverError::Journal(JournalError::Damaged { .. })), "{error}");
        assert!(error.to_string().contains(&format!("log/00000001/{spoilt:08}")), "{error}");
    }
}

#[tokio::test]
async fn a_torn_or_missing_object_in_the_middle_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir, 0, &[&["a"], &["b"]]).await;
    fs::write(slot(&dir, 1, 0), "").unwrap();
    for _ in 0..2 {
        let error = open(&dir, "a").await.err().expect("the journal was opened");
        assert!(matches!(error, RecoverError::Journal(JournalError::Damaged { .. })), "{error}");
        assert!(error.to_string().contains("log/00000001/00000000"), "{error}");
        let _ = fs::remove_file(slot(&dir, 1, 0));
    }
}

#[tokio::test]
async fn a_journal_without_its_beginning_is_not_taken_for_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir, 0, &[&["a"]]).await;
    fs::remove_file(dir.path().join(IDENTITY)).unwrap();
    let error = open(&dir, "a").await.err().expect("the journal was opened").to_string();
    assert!(error.contains("is missing, though there is epochs/00000001: bring"), "{error}");
    assert!(!dir.path().join(IDENTITY).exists());
}

#[tokio::test]
async fn a_damaged_identity_is_named_once() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir, 0, &[&["a"]]).await;
    let path = dir.path().join(IDENTITY);
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, bytes).unwrap();
    let error = open(&dir, "a").await.err().expect("the journal was opened").to_string();
    assert!(error.contains("identity, which names the journal's cluster, is damaged ("), "{error}");
    assert!(!error.contains("missing"), "{error}");
}

#[tokio::test]
async fn coordinators_that_begin_a_journal_at_once_share_one_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Store::open(objects(&dir), None, "a".into(), Failpoint::default());
    let (a, b, c) = tokio::join!(open(), open(), open());
    let clusters = [a, b, c].map(|store| store.unwrap().cluster());
    assert!(clusters.iter().all(|cluster| *cluster == clusters[0]), "{clusters:?}");
    // They take over from each other without errors.
    let take = || {
        Opened::<String, u64, u8>::take_over(objects(&dir), None, "a".into(), Failpoint::default())
    };
    let (a, b) = tokio::join!(take(), take());
    let epochs: std::collections::BTreeSet<_> = [a, b].map(|o| o.unwrap().recovered.epoch).into();
    assert_eq!(epochs, [Epoch(1), Epoch(2)].into());
}

#[tokio::test]
async fn another_build_is_named_refused_and_does_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir, 1, &[&["a"]]).await;
    let error = open(&dir, "b").await.err().expect("the journal was opened").to_string();
    assert!(error.contains("was written by a, and this is b"), "{error}");
    assert_eq!(said(&open(&dir, "a").await.unwrap().recovered).1, ["a"]);
}

#[tokio::test]
async fn a_failed_takeover_leaves_the_other_in_charge() {
    let dir = tempfile::tempdir().unwrap();
    let Opened { recovered, mut journal, .. } = open(&dir, "a").await.unwrap();
    let mut appender = TestAppender::new(recovered.epoch, recovered.nonce);
    appender.push("first".to_string());
    settle(&mut appender, &mut journal).await.unwrap();
    for n in 0..4 {
        appender.push(n.to_string());
        appender.roll(Arc::new(n), Default::default(), Vec::new());
        // In each state of the journal between two objects.
        while let Some((id, call)) = appender.next_call() {
            journal.start(id, call);
            let (id, answer) = journal.answered().await.unwrap();
            appender.answer(id, answer).unwrap();
            let licences = || {
                let found = fs::read_dir(dir.path().join(EPOCHS)).unwrap();
                let mut names: Vec<_> = found.map(|entry| entry.unwrap().file_name()).collect();
                names.sort();
                names
            };
            let before = licences();
            let refused = open(&dir, "b").await.err();
            assert!(matches!(refused, Some(RecoverError::Store(_))), "{refused:?}");
            assert_eq!(licences(), before);
        }
    }
    assert_eq!((appender.epoch(), appender.durable()), (Epoch(5), 5));
}

#[tokio::test]
async fn a_journal_of_another_cluster_is_not_mixed_in() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(&ours, 1, &[&["a"]]).await;
    write(&theirs, 1, &[&["z"]]).await;
    fs::copy(slot(&theirs, 1, 0), slot(&ours, 1, 0)).unwrap();
    assert!(open(&ours, "a").await.is_err());
}

#[tokio::test]
async fn the_second_writer_of_a_slot_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(objects(&dir), None, "a".into(), Failpoint::default()).await.unwrap();
    let key = Key::Epoch(Epoch(1));
    let create = |nonce| -> TestCall {
        Call::Create(key, Object { epoch: Epoch(1), nonce: Nonce(nonce), body: Body::Begin })
    };
    assert_eq!(store.carry_out(create(1)).await.unwrap(), Answer::Created);
    assert_eq!(store.carry_out(create(2)).await.unwrap(), Answer::Exists);
    let Answer::Found(found) = store.carry_out(TestCall::Read(key)).await.unwrap() else {
        panic!("not found")
    };
    assert_eq!(found.nonce, Nonce(1));
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_an_error_of_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(objects(&dir), None, "a".into(), Failpoint::default()).await.unwrap();
    fs::write(dir.path().join(EPOCHS), "a file is in the way").unwrap();
    let begin = Object { epoch: Epoch(1), nonce: Nonce(1), body: Body::Begin };
    let error = store.carry_out(TestCall::Create(Key::Epoch(Epoch(1)), begin)).await.unwrap_err();
    assert!(matches!(error, StoreError::Failed(_)), "{error}");
    assert!(error.is_final());
}

#[tokio::test(start_paused = true)]
async fn failed_calls_are_retried_until_the_store_works() {
    let dir = tempfile::tempdir().unwrap();
    let Opened { recovered, mut journal, .. } = open(&dir, "a").await.unwrap();
    let in_the_way = dir.path().join(LOG);
    // A link to itself: an error that counts as transient.
    std::os::unix::fs::symlink(&in_the_way, &in_the_way).unwrap();
    let mut appender = TestAppender::new(recovered.epoch, recovered.nonce);
    appender.push("a".to_string());
    let mut failures = 0;
    while let Some((id, call)) = appender.next_call() {
        journal.start(id, call);
        let (id, answer) = journal.answered().await.unwrap();
        if answer == Answer::Failed {
            assert_eq!(appender.durable(), 0, "the record was acknowledged");
            failures += 1;
            if failures == 3 {
                fs::remove_file(&in_the_way).unwrap();
            }
        }
        appender.answer(id, answer).unwrap();
    }
    assert_eq!((failures, appender.durable()), (3, 1));
    assert_eq!(said(&open(&dir, "a").await.unwrap().recovered), (None, vec!["a".to_string()]));
}

async fn ask(
    appender: &mut TestAppender,
    journal: &mut Journal<String, u64, u8>,
) -> Result<bool, JournalError> {
    let (id, call) = appender.next_call().unwrap();
    journal.start(id, call);
    let (id, answer): (CallId, _) = journal.answered().await.unwrap();
    appender.answer(id, answer)
}

#[tokio::test]
async fn a_permanent_error_is_not_retried_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let Opened { recovered, mut journal, .. } = open(&dir, "a").await.unwrap();
    fs::write(dir.path().join(LOG), "in the way").unwrap();
    let mut appender = TestAppender::new(recovered.epoch, recovered.nonce);
    appender.push("a".to_string());
    let refused = ask(&mut appender, &mut journal).await.unwrap_err();
    assert!(matches!(refused, JournalError::Refused(_)), "{refused}");
}

#[tokio::test]
async fn a_removed_or_replaced_folder_is_not_recreated() {
    for replaced in [false, true] {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("journal");
        fs::create_dir(&path).unwrap();
        let objects = Arc::new(LocalFileSystem::new_with_prefix(&path).unwrap());
        let home = PinnedFolder::at(&path).unwrap();
        let opened = Opened::<String, u64, u8>::take_over(
            objects,
            Some(home),
            "a".to_string(),
            Failpoint::default(),
        );
        let Opened { recovered, mut journal, .. } = opened.await.unwrap();
        let mut appender = TestAppender::new(recovered.epoch, recovered.nonce);
        appender.push("a".to_string());
        settle(&mut appender, &mut journal).await.unwrap();
        fs::remove_dir_all(&path).unwrap();
        if replaced {
            // The inode must be another one.
            let _other = fs::create_dir(outer.path().join("other"));
            fs::create_dir(&path).unwrap();
        }
        appender.push("b".to_string());
        let error = settle(&mut appender, &mut journal).await.unwrap_err().to_string();
        assert!(error.contains("was removed or replaced"), "{error}");
        assert_eq!(appender.durable(), 1);
        assert_eq!(path.exists(), replaced);
        assert!(!replaced || fs::read_dir(&path).unwrap().count() == 0, "something was written");
    }
}

#[test]
fn transient_faults_are_retried() {
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

#[test]
fn a_full_disk_is_named_with_the_folder_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let home = PinnedFolder::at(dir.path()).unwrap();
    let source = Box::new(std::io::Error::from(std::io::ErrorKind::StorageFull));
    let error = StoreError::from(Error::Generic { store: "test", source }).in_folder(Some(&home));
    assert!(!error.is_final(), "a full disk is transient");
    let (text, folder) = (error.to_string(), dir.path().display().to_string());
    assert!(text.contains(&folder) && text.ends_with("free some space there"), "{text}");
}
