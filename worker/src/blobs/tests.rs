use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use super::*;
use crate::executor::ChildProgram;
use crate::files::testing::without_privileges;

/// A cache, and the folder that it fetches from.
struct Fixture {
    source: TempDir,
    folder: TempDir,
    cache: Arc<BlobCache>,
}

impl Fixture {
    fn new(bytes_max: u64) -> Self {
        let (source, folder) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let cache = cache(&source, &folder, bytes_max);
        Self { source, folder, cache }
    }

    /// The same folder, as after a restart of the worker.
    fn restart(&mut self) {
        self.cache = cache(&self.source, &self.folder, self.cache.bytes_max);
    }

    fn offer(&self, bytes: &[u8]) -> Blob {
        let digest = Digest(*blake3::hash(bytes).as_bytes());
        fs::write(self.source.path().join(digest.to_string()), bytes).unwrap();
        Blob { digest, bytes: bytes.len() as u64 }
    }

    fn fetches(&self) -> u32 {
        match &self.cache.source {
            Source::Folder { fetches, .. } => fetches.load(Ordering::Relaxed),
            Source::Coordinator(_) => unreachable!(),
        }
    }

    /// Where each fetch has begun since this was asked last.
    fn offsets(&self) -> Vec<u64> {
        match &self.cache.source {
            Source::Folder { offsets, .. } => std::mem::take(&mut lock(offsets)),
            Source::Coordinator(_) => unreachable!(),
        }
    }

    /// What there is of a blob that is not whole.
    fn part(&self, blob: Blob) -> PathBuf {
        self.cache.path(blob.digest).with_extension(PART.trim_start_matches('.'))
    }

    async fn get(&self, blob: Blob) -> Arc<Cached> {
        self.cache.get(blob, Use::Data).await.unwrap()
    }
}

fn cache(source: &TempDir, folder: &TempDir, bytes_max: u64) -> Arc<BlobCache> {
    let path = source.path().to_path_buf();
    let (fetches, offsets) = (AtomicU32::new(0), Mutex::default());
    let source = Source::Folder { path, fetches, offsets };
    Arc::new(BlobCache::new(folder.path().join("programs"), bytes_max, source, None))
}

#[tokio::test]
async fn a_program_is_fetched_once_even_if_several_want_it_at_once() {
    let fixture = Fixture::new(100);
    let blob = fixture.offer(b"program");
    let get = || fixture.cache.get(blob, Use::Program);
    let (a, b, c) = tokio::join!(get(), get(), get());
    let path = a.unwrap().path.clone();
    assert_eq!(fs::read(&path).unwrap(), b"program");
    assert_eq!((b.unwrap().path.clone(), c.unwrap().path.clone()), (path.clone(), path.clone()));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o500);
    get().await.unwrap();
    assert_eq!(fixture.fetches(), 1);
}

#[tokio::test]
async fn what_was_damaged_on_the_disk_is_fetched_again() {
    let mut fixture = Fixture::new(100);
    let blob = fixture.offer(b"program");
    let path = fixture.get(blob).await.path.clone();
    fixture.restart();
    fixture.get(blob).await;
    assert_eq!(fixture.fetches(), 0);
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    fs::write(&path, "pr0gram").unwrap();
    fixture.restart();
    fixture.get(blob).await;
    assert_eq!((fixture.fetches(), fs::read(&path).unwrap()), (1, b"program".to_vec()));
    // Also while the worker runs, whatever the file says of its age.
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    fs::write(&path, "pr0gram").unwrap();
    File::open(&path).unwrap().set_modified(modified).unwrap();
    fixture.get(blob).await;
    assert_eq!((fixture.fetches(), fs::read(&path).unwrap()), (2, b"program".to_vec()));
    // One that has gone, too.
    fs::remove_file(&path).unwrap();
    fixture.get(blob).await;
    assert_eq!(fixture.fetches(), 3);
}

/// A job can do that to what it runs from, with a descriptor that it may read.
#[tokio::test]
async fn what_nobody_may_read_is_given_back() {
    let fixture = Fixture::new(100);
    let blob = fixture.offer(b"program");
    let get = || fixture.cache.get(blob, Use::Program);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let in_use = get().await.unwrap();
    let path = in_use.path.clone();
    let take_away = || fs::set_permissions(&path, Permissions::from_mode(0o000)).unwrap();
    take_away();
    assert_eq!(get().await.unwrap().path, path);
    assert_eq!(mode(&path), 0o500, "while it is used by another job");
    drop(in_use);
    take_away();
    let kept = get().await.unwrap();
    assert_eq!(mode(&path), 0o500, "when nobody uses it");
    take_away();
    let unprivileged = without_privileges(|| is_whole(&path, blob, None).unwrap());
    assert!(unprivileged);
    let program = ChildProgram::shipped(File::open(&path).unwrap(), Vec::new());
    take_away();
    program.make_usable().unwrap();
    assert_eq!((mode(&kept.path), fixture.fetches()), (0o500, 1));
}

#[tokio::test]
async fn the_least_recently_used_goes_and_what_is_in_use_stays() {
    let fixture = Fixture::new(10);
    let [a, b, c] = [b"aaaa", b"bbbb", b"cccc"].map(|bytes| fixture.offer(bytes));
    let in_use = fixture.get(a).await;
    let path = fixture.get(b).await.path.clone();
    let other = fixture.get(c).await;
    // What is in use does not count: there was room for the third beside the second.
    assert!(path.exists());
    let d = fixture.offer(b"dddd");
    drop(fixture.get(d).await);
    assert!(in_use.path.exists() && other.path.exists());
    let e = fixture.offer(b"eeeeeeee");
    drop(fixture.get(e).await);
    assert!(!path.exists());
    assert!(in_use.path.exists() && other.path.exists());
}

#[tokio::test]
async fn what_a_predecessor_was_killed_in_goes() {
    let fixture = Fixture::new(100);
    let blob = fixture.offer(b"program");
    let folder = fixture.folder.path().join("programs");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join(format!("{}{PART}", Digest::default())), "half").unwrap();
    fixture.get(blob).await;
    assert_eq!(fs::read_dir(folder).unwrap().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn other_bytes_than_the_digests_are_not_taken() {
    let fixture = Fixture::new(100);
    let blob = fixture.offer(b"program");
    fs::write(fixture.source.path().join(blob.digest.to_string()), "malware").unwrap();
    let error = fixture.cache.get(blob, Use::Program).await.unwrap_err().to_string();
    assert!(error.contains("not what its digest says"), "{error}");
    assert_eq!(fs::read_dir(fixture.folder.path().join("programs")).unwrap().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_download_that_breaks_off_goes_on_where_it_has_stopped() {
    let mut fixture = Fixture::new(100);
    let blob = fixture.offer(b"program");
    let source = fixture.source.path().join(blob.digest.to_string());
    let breaks = fixture.source.path().join("breaks");
    // It gives so much, and no more, until it is given up.
    fs::write(&source, "prog").unwrap();
    fs::write(&breaks, "").unwrap();
    let error = fixture.cache.get(blob, Use::Program).await.unwrap_err().to_string();
    assert!(error.contains("it broke"), "{error}");
    assert_eq!(fixture.offsets()[..2], [0, 4]);
    fs::write(&source, "program").unwrap();
    fs::remove_file(&breaks).unwrap();
    // Whoever has the folder next goes on with it.
    fixture.restart();
    assert_eq!(fs::read(&fixture.get(blob).await.path).unwrap(), b"program");
    assert_eq!(fixture.offsets(), [4]);
    assert!(!fixture.part(blob).exists());
}

#[tokio::test(start_paused = true)]
async fn a_beginning_that_is_wrong_is_not_gone_on_with_for_ever() {
    for (begun, offsets) in
        [("PROG", vec![4, 0]), ("PROGRAM", vec![7, 0]), ("much too long", vec![0])]
    {
        let fixture = Fixture::new(100);
        let blob = fixture.offer(b"program");
        fs::create_dir_all(fixture.part(blob).parent().unwrap()).unwrap();
        fs::write(fixture.part(blob), begun).unwrap();
        assert_eq!(fs::read(&fixture.get(blob).await.path).unwrap(), b"program");
        assert_eq!(fixture.offsets(), offsets, "{begun}");
    }
}

#[tokio::test]
async fn what_does_not_fit_the_cache_is_refused_by_its_flag() {
    let fixture = Fixture::new(5);
    let blob = fixture.offer(b"program");
    let error = fixture.cache.get(blob, Use::Data).await.unwrap_err().to_string();
    assert!(error.contains("--program-cache"), "{error}");
}

#[tokio::test]
async fn a_full_disk_is_the_failure_of_this_worker() {
    let fixture = Fixture::new(100);
    let blob = fixture.offer(b"program");
    let part = fixture.cache.path(blob.digest).with_extension("part");
    fs::create_dir_all(part.parent().unwrap()).unwrap();
    // Takes nothing, as a disk that is full.
    std::os::unix::fs::symlink("/dev/full", &part).unwrap();
    let cause = fixture.cache.get(blob, Use::Program).await.unwrap_err();
    assert!(matches!(cause, FailureCause::Io { disk_full: true, .. }), "{cause}");
    assert!(!part.is_symlink());
}

/// Each finds the same files that are of no use any more, and removes them.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn evictions_that_meet_fail_nobody() {
    let fixture = Fixture::new(100);
    let stale: Vec<PathBuf> =
        (0..200).map(|n| fixture.part(fixture.offer(format!("stale {n}").as_bytes()))).collect();
    fs::create_dir_all(stale[0].parent().unwrap()).unwrap();
    stale.iter().for_each(|part| fs::write(part, "x").unwrap());
    let blobs = [0, 1, 2, 3].map(|n| fixture.offer(format!("program {n}").as_bytes()));
    let all = blobs.map(|blob| {
        let cache = Arc::clone(&fixture.cache);
        tokio::spawn(async move { cache.get(blob, Use::Program).await })
    });
    for one in all {
        one.await.unwrap().unwrap();
    }
    assert!(stale.iter().all(|part| !part.exists()));
    // One that is gone already makes as much room.
    let gone = fixture.cache.path(Digest([7; 32]));
    assert!(fixture.cache.evict(Digest([7; 32]), &gone).unwrap());
}
