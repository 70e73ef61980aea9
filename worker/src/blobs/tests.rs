use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use super::*;
use crate::executor::ChildCommand;
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

    /// Reopens the folder, as after a restart of the worker.
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

    /// The offset at which each fetch since the last call has begun.
    fn offsets(&self) -> Vec<u64> {
        match &self.cache.source {
            Source::Folder { offsets, .. } => std::mem::take(&mut lock(offsets)),
            Source::Coordinator(_) => unreachable!(),
        }
    }

    /// The path of the blob's partial file.
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
async fn concurrent_requests_fetch_a_program_once() {
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
async fn a_damaged_file_is_fetched_again() {
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
    // Damage is noticed while the worker runs, too, even if the file's modification time is
    // restored.
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    fs::write(&path, "pr0gram").unwrap();
    File::open(&path).unwrap().set_modified(modified).unwrap();
    fixture.get(blob).await;
    assert_eq!((fixture.fetches(), fs::read(&path).unwrap()), (2, b"program".to_vec()));
    // A missing file is fetched again, too.
    fs::remove_file(&path).unwrap();
    fixture.get(blob).await;
    assert_eq!(fixture.fetches(), 3);
}

/// A job can remove the permissions of its own executable, through a read-only descriptor.
#[tokio::test]
async fn lost_permissions_are_restored() {
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
    let program = ChildCommand::shipped(File::open(&path).unwrap(), Vec::new());
    take_away();
    program.make_usable().unwrap();
    assert_eq!((mode(&kept.path), fixture.fetches()), (0o500, 1));
}

#[tokio::test]
async fn eviction_takes_the_least_recently_used_and_spares_files_in_use() {
    let fixture = Fixture::new(10);
    let [a, b, c] = [b"aaaa", b"bbbb", b"cccc"].map(|bytes| fixture.offer(bytes));
    let in_use = fixture.get(a).await;
    let path = fixture.get(b).await.path.clone();
    let other = fixture.get(c).await;
    // Files in use do not count: there was room for the third beside the second.
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
async fn a_predecessors_partial_files_are_removed() {
    let fixture = Fixture::new(100);
    let blob = fixture.offer(b"program");
    let folder = fixture.folder.path().join("programs");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join(format!("{}{PART}", Digest::default())), "half").unwrap();
    fixture.get(blob).await;
    assert_eq!(fs::read_dir(folder).unwrap().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn content_with_another_digest_is_refused() {
    let fixture = Fixture::new(100);
    let blob = fixture.offer(b"program");
    fs::write(fixture.source.path().join(blob.digest.to_string()), "malware").unwrap();
    let error = fixture.cache.get(blob, Use::Program).await.unwrap_err().to_string();
    assert!(error.contains("does not have its digest"), "{error}");
    assert_eq!(fs::read_dir(fixture.folder.path().join("programs")).unwrap().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_download_resumes() {
    let mut fixture = Fixture::new(100);
    let blob = fixture.offer(b"program");
    let source = fixture.source.path().join(blob.digest.to_string());
    let breaks = fixture.source.path().join("breaks");
    // The source sends so much and then breaks off, until the tries are used up.
    fs::write(&source, "prog").unwrap();
    fs::write(&breaks, "").unwrap();
    let error = fixture.cache.get(blob, Use::Program).await.unwrap_err().to_string();
    assert!(error.contains("it broke"), "{error}");
    assert_eq!(fixture.offsets()[..2], [0, 4]);
    fs::write(&source, "program").unwrap();
    fs::remove_file(&breaks).unwrap();
    // The next owner of the folder resumes it.
    fixture.restart();
    assert_eq!(fs::read(&fixture.get(blob).await.path).unwrap(), b"program");
    assert_eq!(fixture.offsets(), [4]);
    assert!(!fixture.part(blob).exists());
}

#[tokio::test(start_paused = true)]
async fn a_wrong_prefix_is_discarded() {
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
async fn a_file_larger_than_the_cache_is_refused_with_the_name_of_the_flag() {
    let fixture = Fixture::new(5);
    let blob = fixture.offer(b"program");
    let error = fixture.cache.get(blob, Use::Data).await.unwrap_err().to_string();
    assert!(error.contains("--program-cache"), "{error}");
}

#[tokio::test]
async fn a_full_disk_is_blamed_on_this_worker() {
    let fixture = Fixture::new(100);
    let blob = fixture.offer(b"program");
    let part = fixture.cache.path(blob.digest).with_extension("part");
    fs::create_dir_all(part.parent().unwrap()).unwrap();
    // Accepts no bytes, like a full disk.
    std::os::unix::fs::symlink("/dev/full", &part).unwrap();
    let cause = fixture.cache.get(blob, Use::Program).await.unwrap_err();
    assert!(matches!(cause, FailureCause::Io { disk_full: true, .. }), "{cause}");
    assert!(!part.is_symlink());
}

/// Concurrent evictions find the same unused files, and remove them.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_evictions_do_not_fail() {
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
    // A file that is already gone makes as much room.
    let gone = fixture.cache.path(Digest([7; 32]));
    assert!(fixture.cache.evict(Digest([7; 32]), &gone).unwrap());
}
