//! Remembers the digest of an executable, so that a small job does not wait for the hash of the
//! program that runs it.
//!
//! Hashing takes 10 ms of CPU time for a program of 30 MB, as much as a small job takes itself. As
//! git does for its index, the cache trusts an entry when the file's identity, size and both
//! times are the same. The kernel sets the change time (`ctime`), so a program that was written to
//! again has another one. A file that changed within the last seconds is never remembered: a later
//! write could leave the same times.
//!
//! The cache is a convenience: when it cannot be read or written, the program is hashed.

use std::fmt::Write as _;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use windrow_jobs::{Blob, Digest};

/// Programs that are remembered, the newest last.
const ENTRIES_MAX: usize = 64;
/// Of the whole file: an entry takes less than 200 bytes.
const BYTES_MAX: u64 = 64 * 1024;
/// A file that changed later than this before it was hashed is not remembered. No file system in
/// use has coarser times.
const SETTLED_AFTER: Duration = Duration::from_secs(3);

/// Names of unfinished files: this, random characters, and [`UNFINISHED_END`].
const UNFINISHED: &str = "digests.";
const UNFINISHED_END: &str = ".new";
/// An unfinished file that is older was left behind by a process that was killed: writing takes
/// milliseconds. A slower writer only loses its entry.
const ABANDONED_AFTER: Duration = Duration::from_secs(60);
/// Most names that one writer looks at for files left behind.
const NAMES_MAX: usize = 1_000;

/// The digests that this user's commands have computed.
pub(super) struct DigestCache {
    file: PathBuf,
}

impl DigestCache {
    /// `$XDG_CACHE_HOME/windrow/digests`, else beneath `~/.cache`.
    pub(super) fn of_user() -> Option<Self> {
        let absolute = |name: &str| {
            let path = PathBuf::from(std::env::var_os(name)?);
            path.is_absolute().then_some(path)
        };
        let caches =
            absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
        Some(Self { file: caches.join("windrow").join("digests") })
    }

    /// What an unchanged file was found to be.
    pub(super) fn get(&self, file: &Metadata) -> Option<Blob> {
        let digest = find(&self.read()?, &identity(file))?;
        Some(Blob { digest, bytes: file.len() })
    }

    /// Remembers what was just read from a file that `before` describes. Losing an entry to another
    /// process that writes at the same time costs that process one hash.
    pub(super) fn put(&self, before: &Metadata, digest: Digest) {
        if is_settled(before, SystemTime::now()) {
            // Without a cache, the next process computes the digest again.
            let _ = self.write(&with_entry(&self.read().unwrap_or_default(), before, digest));
        }
    }

    /// `None` unless it is a file of this user that nobody else may write to.
    fn read(&self) -> Option<String> {
        let flags = (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits();
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags.cast_signed())
            .open(&self.file)
            .ok()?;
        let metadata = file.metadata().ok()?;
        let is_own = metadata.uid() == rustix::process::geteuid().as_raw();
        if !metadata.is_file() || !is_own || metadata.mode() & 0o022 != 0 {
            return None;
        }
        let mut text = String::new();
        file.take(BYTES_MAX).read_to_string(&mut text).ok()?;
        Some(text)
    }

    /// Replaces the file at once: a reader sees the old or the new one.
    fn write(&self, text: &str) -> std::io::Result<()> {
        let folder = self.file.parent().unwrap_or(Path::new("/"));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        remove_abandoned(folder, SystemTime::now());
        let mut new = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .suffix(UNFINISHED_END)
            .tempfile_in(folder)?;
        new.write_all(text.as_bytes())?;
        new.persist(&self.file)?;
        Ok(())
    }
}

/// Removes what killed processes have left behind unfinished. Anything else in the folder stays.
fn remove_abandoned(folder: &Path, now: SystemTime) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.take(NAMES_MAX).flatten() {
        let name = entry.file_name();
        let is_unfinished = name
            .to_str()
            .is_some_and(|name| name.starts_with(UNFINISHED) && name.ends_with(UNFINISHED_END));
        // Of a link, the link's own.
        let modified = || entry.metadata().ok().filter(Metadata::is_file)?.modified().ok();
        let age = || now.duration_since(modified()?).ok();
        if is_unfinished && age().is_some_and(|age| age > ABANDONED_AFTER) {
            // The next writer tries again.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The digest of the executable that this descriptor is open on, from the cache or by `hash`.
pub(super) fn cached(
    cache: Option<&DigestCache>,
    file: &File,
    hash: impl FnOnce() -> std::io::Result<Blob>,
) -> std::io::Result<Blob> {
    let Some(cache) = cache else { return hash() };
    let before = file.metadata()?;
    if let Some(blob) = cache.get(&before) {
        return Ok(blob);
    }
    let blob = hash()?;
    if blob.bytes == before.len() && identity(&file.metadata()?) == identity(&before) {
        cache.put(&before, blob.digest);
    }
    Ok(blob)
}

/// Whatever changes when a file is replaced or written to.
fn identity(file: &Metadata) -> String {
    let (device, inode, bytes) = (file.dev(), file.ino(), file.len());
    let (modified, changed) =
        ((file.mtime(), file.mtime_nsec()), (file.ctime(), file.ctime_nsec()));
    format!(
        "{device} {inode} {bytes} {}.{:09} {}.{:09} ",
        modified.0, modified.1, changed.0, changed.1
    )
}

fn is_settled(file: &Metadata, now: SystemTime) -> bool {
    let changed = UNIX_EPOCH + Duration::from_secs(file.ctime().max(0).cast_unsigned());
    now.duration_since(changed).is_ok_and(|age| age > SETTLED_AFTER)
}

fn find(entries: &str, identity: &str) -> Option<Digest> {
    entries.lines().find_map(|line| Digest::from_hex(line.strip_prefix(identity)?))
}

/// The entries with this one as the newest, at most [`ENTRIES_MAX`].
fn with_entry(entries: &str, file: &Metadata, digest: Digest) -> String {
    let identity = identity(file);
    let others: Vec<&str> = entries.lines().filter(|line| !line.starts_with(&identity)).collect();
    let dropped = (others.len() + 1).saturating_sub(ENTRIES_MAX);
    let mut text = String::new();
    for line in &others[dropped..] {
        let _ = writeln!(text, "{line}");
    }
    let _ = writeln!(text, "{identity}{digest}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob_of(byte: u8, file: &File) -> Blob {
        Blob { digest: Digest([byte; 32]), bytes: file.metadata().unwrap().len() }
    }

    /// A file that was last changed long ago, as far as it can be made to look so: its change time
    /// is the test executable's own.
    fn settled() -> File {
        let file = File::open("/proc/self/exe").unwrap();
        let age = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
            - file.metadata().unwrap().ctime().cast_unsigned();
        if age <= SETTLED_AFTER.as_secs() + 1 { File::open("/bin/sh").unwrap() } else { file }
    }

    fn cache(folder: &Path) -> DigestCache {
        DigestCache { file: folder.join("windrow").join("digests") }
    }

    #[test]
    fn an_unchanged_file_is_hashed_once() {
        let (folder, file) = (tempfile::tempdir().unwrap(), settled());
        let cache = cache(folder.path());
        let first = cached(Some(&cache), &file, || Ok(blob_of(7, &file))).unwrap();
        let second = cached(Some(&cache), &file, || panic!("hashed again")).unwrap();
        assert_eq!(first, second);
    }

    #[test]
    fn a_file_that_has_just_changed_is_hashed_again() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path());
        let file = tempfile::tempfile().unwrap();
        for byte in [1, 2] {
            let blob = cached(Some(&cache), &file, || Ok(blob_of(byte, &file))).unwrap();
            assert_eq!(blob.digest, Digest([byte; 32]));
        }
    }

    #[test]
    fn another_file_is_not_taken_for_it() {
        let (folder, file) = (tempfile::tempdir().unwrap(), settled());
        let cache = cache(folder.path());
        cached(Some(&cache), &file, || Ok(blob_of(7, &file))).unwrap();
        let other = File::open("/etc/passwd").unwrap();
        let blob = cached(Some(&cache), &other, || Ok(blob_of(8, &other))).unwrap();
        assert_eq!(blob.digest, Digest([8; 32]));
    }

    #[test]
    fn a_cache_that_others_may_write_to_is_not_believed() {
        let (folder, file) = (tempfile::tempdir().unwrap(), settled());
        let cache = cache(folder.path());
        cached(Some(&cache), &file, || Ok(blob_of(7, &file))).unwrap();
        let mut rights = fs::metadata(&cache.file).unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut rights, 0o666);
        fs::set_permissions(&cache.file, rights).unwrap();
        assert_eq!(cache.get(&file.metadata().unwrap()), None);
    }

    #[test]
    fn a_damaged_cache_is_no_answer() {
        let (folder, file) = (tempfile::tempdir().unwrap(), settled());
        let cache = cache(folder.path());
        let metadata = file.metadata().unwrap();
        for text in ["", "no entry\n", &format!("{}0123\n", identity(&metadata)), "\u{0}\n\n"] {
            cache.write(text).unwrap();
            assert_eq!(cache.get(&metadata), None, "{text:?}");
            let blob = cached(Some(&cache), &file, || Ok(blob_of(9, &file))).unwrap();
            assert_eq!(blob.digest, Digest([9; 32]), "{text:?}");
        }
    }

    #[test]
    fn a_writer_removes_what_killed_writers_have_left_and_nothing_else() {
        let (folder, file) = (tempfile::tempdir().unwrap(), settled());
        let cache = cache(folder.path());
        let windrow = folder.path().join("windrow");
        fs::create_dir(&windrow).unwrap();
        let put = |name: &str, age: Duration| {
            let file = File::create(windrow.join(name)).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
        };
        let old = ABANDONED_AFTER * 2;
        put("digests.Ab3xYz.new", old);
        put("digests.being-written.new", Duration::ZERO);
        for other in ["digests.old", "notes.new", ".digests.new", "digests.1"] {
            put(other, old);
        }
        fs::create_dir(windrow.join("digests.folder.new")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", windrow.join("digests.link.new")).unwrap();
        cached(Some(&cache), &file, || Ok(blob_of(7, &file))).unwrap();
        let names = fs::read_dir(&windrow).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        let left = [
            ".digests.new",
            "digests",
            "digests.1",
            "digests.being-written.new",
            "digests.folder.new",
            "digests.link.new",
            "digests.old",
            "notes.new",
        ];
        assert_eq!(names, left);
    }

    #[test]
    fn it_keeps_the_newest_entries() {
        let file = settled().metadata().unwrap();
        let old: String =
            (0..200).map(|n| format!("1 {n} 3 4.0 5.0 {}\n", "00".repeat(32))).collect();
        let text = with_entry(&old, &file, Digest([7; 32]));
        assert_eq!(text.lines().count(), ENTRIES_MAX);
        assert_eq!(find(&text, &identity(&file)), Some(Digest([7; 32])));
        assert!(text.contains("1 199 3 ") && !text.contains("1 100 3 "), "{text}");
    }
}
