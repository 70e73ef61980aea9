use std::fs;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::*;

const MOST: u64 = 1_000;
const NOBODY: Submitter = Submitter(0);

fn store(dir: &TempDir) -> Arc<BlobStore> {
    Arc::new(BlobStore::new(Folder::At(dir.path().to_path_buf()), MOST, None))
}

fn blob(bytes: &[u8]) -> Blob {
    let digest = Digest(*blake3::hash(bytes).as_bytes());
    Blob { digest, bytes: bytes.len() as u64 }
}

fn put(store: &Arc<BlobStore>, bytes: &[u8]) -> Result<Blob, BlobError> {
    put_by(store, bytes, NOBODY)
}

fn put_by(store: &Arc<BlobStore>, bytes: &[u8], from: Submitter) -> Result<Blob, BlobError> {
    let mut upload = store.begin(blob(bytes), from, &[])?;
    upload.write(0, bytes)?;
    upload.finish()?;
    Ok(blob(bytes))
}

fn names(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap();
    names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Makes a file look unused for this long.
fn age(store: &BlobStore, blob: Blob, age: Duration, part: bool) {
    let path = if part { store.part(blob.digest, NOBODY) } else { store.path(blob.digest) };
    let file = File::options().append(true).open(path.unwrap()).unwrap();
    file.set_modified(SystemTime::now() - age).unwrap();
    store.with_room(|room| room.used.insert((blob.digest, NOBODY), SystemTime::now() - age));
}

#[test]
fn uploaded_blobs_survive_a_restart() {
    let dir = TempDir::new().unwrap();
    let first = store(&dir);
    assert_eq!(first.offer(blob(b"program"), NOBODY).unwrap(), Offered::Received(0));
    let kept = put(&first, b"program").unwrap();
    for store in [first, store(&dir)] {
        assert_eq!(store.offer(kept, NOBODY).unwrap(), Offered::Present);
        assert!(store.has(kept.digest));
        assert_eq!(fs::read(store.path(kept.digest).unwrap()).unwrap(), b"program");
    }
}

#[test]
fn an_interrupted_upload_is_resumed() {
    let dir = TempDir::new().unwrap();
    let of = blob(b"a whole program");
    let mut upload = store(&dir).begin(of, NOBODY, &[]).unwrap();
    upload.write(0, b"a whole").unwrap();
    let error = upload.finish().unwrap_err().to_string();
    assert_eq!(error, "the upload broke off after 7 of 15 bytes");
    // The coordinator may have died meanwhile.
    let store = store(&dir);
    assert_eq!(store.offer(of, NOBODY).unwrap(), Offered::Received(7));
    let mut upload = store.begin(of, NOBODY, &[]).unwrap();
    assert!(matches!(upload.write(8, b"program"), Err(BlobError::Gap { offset: 8, received: 7 })));
    // Received bytes are skipped, also in a piece that goes beyond them.
    upload.write(0, b"a wh").unwrap();
    upload.write(2, b"whole pro").unwrap();
    upload.write(11, b"gram").unwrap();
    upload.finish().unwrap();
    assert_eq!(store.offer(of, NOBODY).unwrap(), Offered::Present);
    assert_eq!(names(dir.path()), [of.digest.to_string()]);
}

#[test]
fn bytes_that_do_not_match_their_digest_are_removed() {
    let dir = TempDir::new().unwrap();
    let store = store(&dir);
    let of = Blob { digest: Digest([7; 32]), bytes: 5 };
    let mut upload = store.begin(of, NOBODY, &[]).unwrap();
    upload.write(0, b"wrong").unwrap();
    assert!(matches!(upload.finish(), Err(BlobError::WrongDigest)));
    assert_eq!(store.offer(of, NOBODY).unwrap(), Offered::Received(0));
    assert_eq!(names(dir.path()), [""; 0]);
}

#[test]
fn blobs_beyond_the_limit_or_the_declared_size_are_refused() {
    let dir = TempDir::new().unwrap();
    let store = store(&dir);
    let large = Blob { digest: Digest([7; 32]), bytes: MOST + 1 };
    assert!(matches!(
        store.offer(large, NOBODY),
        Err(BlobError::TooLarge { bytes: 1_001, most: MOST })
    ));
    assert!(matches!(store.begin(large, NOBODY, &[]), Err(BlobError::TooLarge { .. })));
    let mut upload = store.begin(blob(b"abc"), NOBODY, &[]).unwrap();
    assert!(matches!(upload.write(0, b"abcd"), Err(BlobError::TooLong)));
    // An incomplete file of another declared size is discarded.
    let of = blob(b"abcdef");
    fs::write(store.part(of.digest, NOBODY).unwrap(), "too many bytes").unwrap();
    let mut upload = store.begin(of, NOBODY, &[]).unwrap();
    upload.write(0, b"abcdef").unwrap();
    upload.finish().unwrap();
}

#[test]
fn the_least_recently_used_blob_is_evicted_first() {
    let dir = TempDir::new().unwrap();
    let store = store(&dir);
    let [oldest, old, used] = [1, 2, 3].map(|n| put(&store, &[n; MOST as usize]).unwrap());
    let hour = Duration::from_secs(3_600);
    age(&store, oldest, 3 * hour, false);
    age(&store, old, 2 * hour, false);
    // The folder holds four of this size.
    let fourth = put(&store, &[4; MOST as usize]).unwrap();
    age(&store, used, 4 * hour, false);
    let mut fifth =
        store.begin(blob(&[5; MOST as usize]), NOBODY, &[(used.digest, NOBODY)]).unwrap();
    fifth.write(0, &[5; MOST as usize]).unwrap();
    fifth.finish().unwrap();
    let there = [oldest, old, used, fourth].map(|blob| store.path(blob.digest).unwrap().exists());
    assert_eq!(there, [false, true, true, true]);
    // All others are in use or recent.
    assert_eq!(store.offer(old, NOBODY).unwrap(), Offered::Present);
    let refused =
        store.begin(blob(&[6; MOST as usize]), NOBODY, &[(used.digest, NOBODY)]).err().unwrap();
    assert!(matches!(refused, BlobError::NoRoom { bytes: MOST, most: 4_000 }));
}

#[test]
fn blobs_of_a_job_being_planned_stay() {
    let dir = TempDir::new().unwrap();
    let store = store(&dir);
    let [pinned, old] = [1, 2].map(|n| put(&store, &[n; MOST as usize]).unwrap());
    put(&store, &[3; MOST as usize]).unwrap();
    let hour = Duration::from_secs(3_600);
    age(&store, pinned, 3 * hour, false);
    age(&store, old, 2 * hour, false);
    let pin = || store.pin(vec![pinned.digest], NOBODY, &[]).unwrap();
    let (pin, again) = (pin(), pin());
    drop(again);
    put(&store, &[4; MOST as usize]).unwrap();
    put(&store, &[5; MOST as usize]).unwrap();
    let is_there = |blob: Blob| store.path(blob.digest).unwrap().exists();
    assert_eq!((is_there(pinned), is_there(old)), (true, false));
    drop(pin);
    // An upload may not know yet of the job for which it was pinned.
    assert!(put(&store, &[6; MOST as usize]).is_err() && is_there(pinned));
}

#[test]
fn running_uploads_keep_their_reservation() {
    let dir = TempDir::new().unwrap();
    let store = store(&dir);
    let large = |n: u8| Blob { digest: Digest([n; 32]), bytes: MOST };
    let running: Vec<_> = (0..4).map(|n| store.begin(large(n), NOBODY, &[]).unwrap()).collect();
    assert!(matches!(store.begin(large(4), NOBODY, &[]), Err(BlobError::NoRoom { .. })));
    drop(running);
    // Their files take no space, since they are empty.
    store.begin(large(4), NOBODY, &[]).unwrap();
}

#[test]
fn an_interrupted_upload_is_removed_after_a_day() {
    let dir = TempDir::new().unwrap();
    let store = store(&dir);
    let day = Duration::from_secs(24 * 3_600);
    for (n, days) in [(1, day * 2), (2, day / 2)] {
        let of = Blob { digest: Digest([n; 32]), bytes: 10 };
        store.begin(of, NOBODY, &[]).unwrap().write(0, b"abc").unwrap();
        age(&store, of, days, true);
    }
    put(&store, b"another").unwrap();
    assert!(!store.part(Digest([1; 32]), NOBODY).unwrap().exists());
    assert!(store.part(Digest([2; 32]), NOBODY).unwrap().exists());
}

#[test]
fn the_coordinators_own_program_is_present_without_a_copy() {
    let own = Blob { digest: Digest([9; 32]), bytes: MOST + 5 };
    let file = Arc::new(File::open("/proc/self/exe").unwrap());
    let store = Arc::new(BlobStore::new(Folder::new(None, "programs"), MOST, Some((own, file))));
    assert_eq!(store.offer(own, NOBODY).unwrap(), Offered::Present);
    assert!(store.open(own.digest).is_ok());
    drop(store.pin(vec![own.digest], NOBODY, &[]).unwrap());
    assert!(!store.folder.is_made(), "nothing has been sent");
    assert!(!store.has(Digest([8; 32])));
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let store = Arc::new(BlobStore::new(Folder::At(file.clone()), MOST, None));
    let error = store.begin(blob(b"abc"), NOBODY, &[]).err().unwrap().to_string();
    assert!(error.contains(&file.display().to_string()), "{error}");
}

#[test]
fn a_pipe_in_place_of_a_blob_does_not_block() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    let dir = TempDir::new().unwrap();
    let store = store(&dir);
    let of = blob(b"abc");
    for path in [store.path(of.digest), store.part(of.digest, NOBODY)] {
        mknodat(CWD, path.unwrap(), FileType::Fifo, Mode::RWXU, 0).unwrap();
    }
    assert!(!store.has(of.digest));
    assert!(store.begin(of, NOBODY, &[]).is_err());
    fs::remove_file(store.part(of.digest, NOBODY).unwrap()).unwrap();
    put(&store, b"abc").unwrap();
    assert!(store.has(of.digest), "an uploaded blob takes its place");
}

#[test]
fn a_full_disk_is_reported_and_the_upload_removed() {
    let dir = TempDir::new().unwrap();
    let store = store(&dir);
    let of = blob(b"abc");
    // Accepts no bytes, like a full disk.
    std::os::unix::fs::symlink("/dev/full", store.part(of.digest, NOBODY).unwrap()).unwrap();
    let error = store.begin(of, NOBODY, &[]).unwrap().write(0, b"abc").unwrap_err();
    let BlobError::Io { error, .. } = error else { panic!("{error}") };
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(names(dir.path()), [""; 0]);
}

/// Anyone who knows a digest can begin an upload of it with other bytes.
#[test]
fn an_upload_cannot_be_spoiled_by_another_submitter() {
    let dir = TempDir::new().unwrap();
    let store = store(&dir);
    let of = blob(b"a whole program");
    let (ann, bob) = (Submitter::named(Some("ann")), Submitter::named(Some("bob")));
    let mut spoiling = store.begin(of, bob, &[]).unwrap();
    spoiling.write(0, b"nothing of the ").unwrap();
    assert_eq!(store.offer(of, ann).unwrap(), Offered::Received(0));
    // Nor does it wait for the other upload.
    let mut upload = store.begin(of, ann, &[]).unwrap();
    upload.write(0, b"a whole program").unwrap();
    upload.finish().unwrap();
    assert!(matches!(spoiling.finish(), Err(BlobError::WrongDigest)));
    assert_eq!(store.offer(of, bob).unwrap(), Offered::Present);
    assert_eq!(fs::read(store.path(of.digest).unwrap()).unwrap(), b"a whole program");
    assert_eq!(names(dir.path()), [of.digest.to_string()]);
}

/// Fills the store with blobs of one submitter.
fn fill(store: &Arc<BlobStore>, of: &str, from: u8, count: u8) -> Vec<Blob> {
    let of = Submitter::named(Some(of));
    (from..from + count).map(|n| put_by(store, &[n; MOST as usize], of).unwrap()).collect()
}

#[test]
fn large_declared_sizes_leave_space_to_others() {
    let dir = TempDir::new().unwrap();
    let most = 1 << 30;
    let store = Arc::new(BlobStore::new(Folder::At(dir.path().to_path_buf()), most, None));
    let large = |n: u8| Blob { digest: Digest([n; 32]), bytes: most };
    let (ann, bob) = (Submitter::named(Some("ann")), Submitter::named(Some("bob")));
    let began = |n| {
        let mut upload = store.begin(large(n), ann, &[])?;
        upload.write(0, b"x").map(|()| upload)
    };
    let uploads: Vec<_> = (0..8).map(began).collect();
    assert_eq!(uploads.iter().filter(|upload| upload.is_ok()).count(), 2);
    let refused = uploads[2].as_ref().err().unwrap().to_string();
    assert!(refused.contains("most for one submitter"), "{refused}");
    // They reserve no more than a step, so that others have the rest.
    let others = ["a", "b", "c"].map(|name| Submitter::named(Some(name)));
    let others = others.map(|other| store.begin(large(9), other, &[]).unwrap());
    put_by(&store, b"twelve bytes", bob).unwrap();
    drop(others);
}

#[test]
fn the_largest_holder_gives_up_space_first() {
    let dir = TempDir::new().unwrap();
    let store = store(&dir);
    // Half of the space is theirs; the rest stays only until it is wanted.
    let of_ann = fill(&store, "ann", 0, 4);
    let is_there = |blob: &Blob| store.path(blob.digest).unwrap().exists();
    assert!(of_ann.iter().all(is_there));
    let of_bob = fill(&store, "bob", 10, 2);
    assert_eq!(of_ann.iter().filter(|blob| is_there(blob)).count(), 2);
    // All blobs are recent now, and both hold as much: a submitter without any gets some of it.
    let bob = Submitter::named(Some("bob"));
    assert!(of_bob.iter().all(|blob| store.offer(*blob, bob).unwrap() == Offered::Present));
    let of_cat = fill(&store, "cat", 20, 1);
    assert!(is_there(&of_cat[0]));
    assert_eq!(of_ann.iter().chain(&of_bob).filter(|blob| is_there(blob)).count(), 3);
    // But no blobs that jobs need.
    let in_use: Vec<_> = of_bob.iter().map(|blob| (blob.digest, bob)).collect();
    let in_use = [in_use, vec![(of_cat[0].digest, Submitter::named(Some("cat")))]].concat();
    let kept = in_use.iter().filter(|(digest, _)| store.has(*digest)).count();
    let dan = Submitter::named(Some("dan"));
    let begun: Vec<_> = (30..34).map(|n| store.begin(blob(&[n; 1_000]), dan, &in_use)).collect();
    assert!(begun.iter().any(Result::is_err));
    assert_eq!(in_use.iter().filter(|(digest, _)| store.has(*digest)).count(), kept);
}

#[test]
fn jobs_of_one_submitter_need_no_more_than_their_share() {
    let dir = TempDir::new().unwrap();
    let store = store(&dir);
    let digests: Vec<_> = fill(&store, "ann", 0, 4).iter().map(|blob| blob.digest).collect();
    let ann = Submitter::named(Some("ann"));
    let in_use = [(digests[0], ann)];
    let pin = |digest| store.pin(vec![digest], ann, &in_use);
    let pins = [pin(digests[0]).unwrap(), pin(digests[1]).unwrap()];
    assert!(matches!(pin(digests[2]), Err(BlobError::NoShare { bytes: 3_000, most: 2_000 })));
    assert!(pin(digests[1]).is_ok(), "the job needs it already");
    // Others share the rest.
    assert!(store.pin(vec![digests[2]], Submitter::named(Some("bob")), &in_use).is_ok());
    drop(pins);
}

/// The jobs of two submitters need their full shares, and a third submitter comes.
#[test]
fn full_shares_leave_space_for_one_more() {
    let dir = TempDir::new().unwrap();
    let store = store(&dir);
    let of = |name| Submitter::named(Some(name));
    let mut in_use = Vec::new();
    let mut needs = |name, n: u8, bytes: usize| -> Result<(), BlobError> {
        let (content, from) = (vec![n; bytes], of(name));
        let mut upload = store.begin(blob(&content), from, &in_use)?;
        upload.write(0, &content)?;
        upload.finish()?;
        store.pin(vec![blob(&content).digest], from, &in_use).map(drop)?;
        in_use.push((blob(&content).digest, from));
        Ok(())
    };
    // Of 4,000 bytes.
    needs("ann", 1, 1_000).unwrap();
    needs("ann", 2, 1_000).unwrap();
    assert!(matches!(needs("ann", 3, 100), Err(BlobError::NoShare { bytes: 2_100, most: 2_000 })));
    needs("bob", 4, 1_000).unwrap();
    assert!(matches!(needs("bob", 5, 100), Err(BlobError::NoShare { bytes: 1_100, most: 1_000 })));
    needs("cat", 6, 500).unwrap();
    assert!(matches!(needs("cat", 7, 100), Err(BlobError::NoShare { bytes: 600, most: 500 })));
    needs("dan", 8, 200).unwrap();
}

/// The bytes of a running upload are not evicted either.
#[test]
fn endless_uploads_leave_space_for_one_more() {
    let dir = TempDir::new().unwrap();
    let most = 64 << 20;
    let store = Arc::new(BlobStore::new(Folder::At(dir.path().to_path_buf()), most, None));
    let whole = |n: u8| Blob { digest: Digest([n; 32]), bytes: most };
    let mut running = Vec::new();
    for (n, name) in ["ann", "ann", "bob", "bob"].into_iter().enumerate() {
        let (of, from) = (whole(n as u8), Submitter::named(Some(name)));
        let Ok(upload) = store.begin(of, from, &[]) else { continue };
        running.push(upload);
        // As if all bytes but the last one had arrived.
        let steps = (1..most / ROOM_STEP).map(|step| step * ROOM_STEP);
        let _ = steps.map(|come| store.make_room((of, come), from, &[])).find(Result::is_err);
    }
    put_by(&store, b"a third one's", Submitter::named(Some("cat"))).unwrap();
}
