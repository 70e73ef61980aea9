//! Keeps the folder within its bound, with a share for each submitter, whatever the others do.
//!
//! A submitter holds their uploads, the blobs that their jobs need, and blobs that they have used
//! recently. When space is wanted, blobs that nobody holds are evicted first; then recently used
//! ones of the submitters who hold most. An upload reserves its received bytes and a step more:
//! declaring a large size reserves nothing.
//!
//! Uploads and blobs that jobs need are *fixed*: they are never evicted. Where submitters are told
//! apart, each may fix as much space as is left over then (a dynamic threshold, as in switches that
//! share one buffer: Choudhury and Hahne 1998). So one submitter has at most half of the space, two
//! have three quarters, and there is always space for one more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use windrow_jobs::{Blob, Digest};

use super::BlobError;
use crate::submitter::Submitter;

/// Suffix of incomplete files.
const PART: &str = ".part";

/// The file name of an incomplete blob.
pub(super) fn part_name(digest: Digest, from: Submitter) -> String {
    format!("{digest}.{:016x}{PART}", from.0)
}

/// The digest of a file, and its submitter if it is incomplete.
fn digest_in(name: &str) -> Option<(Digest, Option<Submitter>)> {
    let Some(part) = name.strip_suffix(PART) else { return Some((Digest::from_hex(name)?, None)) };
    // Incomplete files of former versions name no submitter.
    let (digest, from) = part.split_once('.').unwrap_or((part, "0"));
    let from = u64::from_str_radix(from, 16).ok()?;
    Some((Digest::from_hex(digest)?, Some(Submitter(from))))
}

/// Recently used blobs may be about to be submitted.
const RECENT: Duration = Duration::from_secs(600);
/// How long interrupted uploads are kept.
const PART_KEPT: Duration = Duration::from_secs(24 * 3600);

/// The space that is reserved beyond the received bytes of each upload.
pub(super) const STEP: u64 = 16 << 20;
/// How long an unpinned blob is kept: an upload may have asked which blobs jobs need before the
/// pinning job was one of them.
const UNPINNED_KEPT: Duration = Duration::from_secs(60);

/// The bound of the folder, and the holders of blobs.
pub(super) struct Quota {
    bytes_max: u64,
    /// Uploads.
    coming: BTreeMap<Held, Coming>,
    /// Pinned blobs.
    pinned: BTreeMap<Held, Pinned>,
    /// The last use of each blob; unknown for blobs that are older than this process.
    pub(super) used: BTreeMap<Held, SystemTime>,
    began: SystemTime,
}

/// A blob and its holder.
pub(crate) type Held = (Digest, Submitter);

#[derive(Clone, Copy)]
struct Coming {
    /// The declared size.
    declared: u64,
    /// The reserved bytes.
    promised: u64,
}

/// A blob that is pinned, or was until recently.
#[derive(Default)]
struct Pinned {
    count: usize,
    until: Option<Instant>,
}

/// A file of the folder.
struct Kept {
    path: PathBuf,
    digest: Digest,
    bytes: u64,
    used: SystemTime,
    /// The holders, and whether their jobs need the file.
    holders: BTreeMap<Submitter, bool>,
}

impl Quota {
    pub(super) fn new(bytes_max: u64) -> Self {
        let (coming, pinned, used) = Default::default();
        Self { bytes_max, coming, pinned, used, began: SystemTime::now() }
    }

    /// The most that a submitter may fix while others have fixed this much.
    fn share_of(&self, submitter: Submitter, others: u64) -> u64 {
        // Where submitters are not told apart, the space is undivided.
        if submitter == Submitter::default() {
            return self.bytes_max;
        }
        self.bytes_max.saturating_sub(others) / 2
    }

    /// The bytes reserved for uploads of one submitter, and of all others.
    fn promised(&self, from: Submitter) -> (u64, u64) {
        let (mut own, mut others) = (0, 0);
        for ((_, of), upload) in &self.coming {
            *if *of == from { &mut own } else { &mut others } += upload.promised;
        }
        (own, others)
    }

    /// Notes a use of a blob.
    pub(super) fn uses(&mut self, held: Held) {
        self.used.insert(held, SystemTime::now());
    }

    /// Pins blobs for a submitter, stored or not, until they are unpinned as often. Refuses blobs
    /// beyond the submitter's share.
    pub(super) fn pin(
        &mut self,
        folder: &Path,
        digests: &[Digest],
        from: Submitter,
        in_use: &[Held],
    ) -> Result<(), BlobError> {
        let bytes_of = |digest: &Digest| {
            fs::metadata(folder.join(digest.to_string())).map_or(0, |file| file.len())
        };
        let needed = || self.pinned.keys().chain(in_use);
        let own = needed().filter(|(_, of)| *of == from);
        let before: BTreeSet<Digest> = own.map(|(digest, _)| *digest).collect();
        let all: BTreeSet<Digest> = before.iter().chain(digests).copied().collect();
        let of_others: BTreeSet<Digest> =
            needed().map(|(digest, _)| *digest).filter(|digest| !all.contains(digest)).collect();
        let (coming, of_others_coming) = self.promised(from);
        let bytes = coming + all.iter().map(bytes_of).sum::<u64>();
        let others = of_others_coming + of_others.iter().map(bytes_of).sum::<u64>();
        let most = self.share_of(from, others);
        // Blobs that they need already are never refused, even if the bound has changed.
        if all.len() > before.len() && bytes > most {
            return Err(BlobError::NoShare { bytes, most });
        }
        for digest in digests {
            let pinned = self.pinned.entry((*digest, from)).or_default();
            (pinned.count, pinned.until) = (pinned.count + 1, None);
        }
        Ok(())
    }

    /// Unpins blobs.
    pub(super) fn unpin(&mut self, digests: &[Digest], from: Submitter) {
        for digest in digests {
            let pinned = self.pinned.get_mut(&(*digest, from));
            debug_assert!(pinned.is_some(), "an unpinned blob was pinned before");
            if let Some(pinned) = pinned {
                pinned.count -= 1;
                if pinned.count == 0 {
                    pinned.until = Some(Instant::now() + UNPINNED_KEPT);
                }
            }
        }
    }

    /// Reserves space for the first bytes of a blob, of which `received` are stored; evicts others
    /// for it.
    pub(super) fn make(
        &mut self,
        folder: &Path,
        (blob, received): (Blob, u64),
        from: Submitter,
        in_use: &[Held],
    ) -> Result<(), BlobError> {
        self.coming.remove(&(blob.digest, from));
        self.forget_old();
        let mut kept = self.kept(folder, (blob.digest, from), in_use)?;
        kept.sort_by_key(|file| file.used);
        let promised = blob.bytes.min(received.saturating_add(STEP));
        self.check_share(&kept, promised, from)?;
        self.keep_to_half(&mut kept, blob, from)?;
        let others: u64 = self.coming.values().map(|upload| upload.promised).sum();
        let all = bytes_of(&kept).saturating_add(others).saturating_add(promised);
        let missing = remove_unheld(&mut kept, all.saturating_sub(self.bytes_max))?;
        if !self.take_from_others(kept, missing, (from, promised))? {
            return Err(BlobError::NoRoom { bytes: blob.bytes, most: self.bytes_max });
        }
        self.coming.insert((blob.digest, from), Coming { declared: blob.bytes, promised });
        Ok(())
    }

    /// The upload has ended or was interrupted: the bytes in the folder count.
    pub(super) fn settle(&mut self, digest: Digest, from: Submitter) {
        self.coming.remove(&(digest, from));
    }

    fn forget_old(&mut self) {
        let now = SystemTime::now();
        self.used.retain(|_, used| now.duration_since(*used).unwrap_or_default() < RECENT);
        let now = Instant::now();
        self.pinned.retain(|_, pinned| pinned.until.is_none_or(|until| now < until));
    }

    /// Refuses to reserve this much more for a submitter's uploads beyond their share.
    fn check_share(&self, kept: &[Kept], promised: u64, from: Submitter) -> Result<(), BlobError> {
        // Where submitters are not told apart, only the space counts.
        if from == Submitter::default() {
            return Ok(());
        }
        let (coming, of_others_coming) = self.promised(from);
        let (mut bytes, mut others) = (coming + promised, of_others_coming);
        for file in kept {
            match file.holders.get(&from) {
                Some(true) => bytes += file.bytes,
                _ if file.is_needed() => others += file.bytes,
                _ => {}
            }
        }
        let most = self.share_of(from, others);
        if bytes <= most { Ok(()) } else { Err(BlobError::NoShare { bytes, most }) }
    }

    /// A submitter who would hold more than half of the space, with all declared bytes, gives up
    /// recently used blobs.
    fn keep_to_half(
        &mut self,
        kept: &mut [Kept],
        blob: Blob,
        from: Submitter,
    ) -> Result<(), BlobError> {
        let own = kept.iter().filter(|file| file.holders.contains_key(&from));
        let coming = self.coming.iter().filter(|((_, of), _)| *of == from);
        let uploads = coming.map(|(_, upload)| upload.declared).chain([blob.bytes]).sum::<u64>();
        let mut bytes = own.map(|file| file.bytes).sum::<u64>().saturating_add(uploads);
        let most = self.share_of(from, 0);
        // Where submitters are not told apart, recently used blobs stay.
        if from == Submitter::default() || bytes <= most {
            return Ok(());
        }
        for file in kept.iter_mut().filter(|file| file.holders.get(&from) == Some(&false)) {
            file.holders.remove(&from);
            self.used.remove(&(file.digest, from));
            bytes -= file.bytes;
            if bytes <= most {
                return Ok(());
            }
        }
        Err(BlobError::NoShare { bytes, most })
    }

    /// Evicts blobs that no job needs, from holders of more than the new submitter would hold then.
    /// Returns whether the space suffices.
    fn take_from_others(
        &self,
        mut kept: Vec<Kept>,
        mut missing: u64,
        (from, promised): (Submitter, u64),
    ) -> Result<bool, BlobError> {
        let mut weights = BTreeMap::<Submitter, u64>::from([(from, promised)]);
        let mut to_go = BTreeMap::<Submitter, VecDeque<usize>>::new();
        for ((_, of), upload) in &self.coming {
            *weights.entry(*of).or_default() += upload.promised;
        }
        for (index, file) in kept.iter().enumerate() {
            let is_needed = file.is_needed();
            for of in file.holders.keys() {
                *weights.entry(*of).or_default() += file.bytes;
                if !is_needed {
                    to_go.entry(*of).or_default().push_back(index);
                }
            }
        }
        while missing > 0 {
            let own = weights.get(&from).copied().unwrap_or_default();
            let weight = |of: &Submitter| weights.get(of).copied().unwrap_or_default();
            let Some(of) = to_go.keys().max_by_key(|of| weight(of)).copied() else {
                return Ok(false);
            };
            if of == from || weight(&of) <= own {
                return Ok(false);
            }
            let Some(index) = to_go.get_mut(&of).and_then(VecDeque::pop_front) else {
                to_go.remove(&of);
                continue;
            };
            let file = &mut kept[index];
            file.holders.remove(&of);
            *weights.entry(of).or_default() -= file.bytes;
            if file.holders.is_empty() {
                file.remove()?;
                missing = missing.saturating_sub(file.bytes);
            }
        }
        Ok(true)
    }

    /// All files except running uploads, which are reserved, and the files of `wanted`. Removes
    /// uploads that were interrupted long ago.
    fn kept(&self, folder: &Path, wanted: Held, in_use: &[Held]) -> Result<Vec<Kept>, BlobError> {
        let mut needed = BTreeMap::<Digest, BTreeMap<Submitter, bool>>::new();
        for (digest, of) in self.used.keys() {
            needed.entry(*digest).or_default().insert(*of, false);
        }
        for (digest, of) in self.pinned.keys().chain(in_use) {
            needed.entry(*digest).or_default().insert(*of, true);
        }
        let (mut kept, now) = (Vec::new(), SystemTime::now());
        for entry in fs::read_dir(folder).map_err(BlobError::io(folder))? {
            let entry = entry.map_err(BlobError::io(folder))?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            // A foreign file.
            let Some((digest, from)) = digest_in(&name) else { continue };
            let Ok(metadata) = entry.metadata() else { continue };
            let is_wanted = digest == wanted.0 && from.is_none_or(|from| from == wanted.1);
            let is_coming = from.is_some_and(|from| self.coming.contains_key(&(digest, from)));
            if is_wanted || is_coming {
                continue;
            }
            let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            let age = now.duration_since(used).unwrap_or_default();
            let holders = match from {
                Some(from) if age < RECENT => BTreeMap::from([(from, false)]),
                Some(_) => BTreeMap::new(),
                None => needed.remove(&digest).unwrap_or_else(|| self.before(used, age)),
            };
            let (path, bytes) = (entry.path(), metadata.len());
            let file = Kept { path, digest, bytes, used, holders };
            if from.is_some() && age > PART_KEPT { file.remove()? } else { kept.push(file) }
        }
        Ok(kept)
    }

    /// The holder of a blob that was not used since this process began: nobody in particular, if it
    /// is recent.
    fn before(&self, used: SystemTime, age: Duration) -> BTreeMap<Submitter, bool> {
        let is_recent = used < self.began && age < RECENT;
        is_recent.then_some((Submitter::default(), false)).into_iter().collect()
    }
}

/// Evicts blobs that nobody holds, least recently used first. Returns the space that is still
/// missing.
fn remove_unheld(kept: &mut Vec<Kept>, mut missing: u64) -> Result<u64, BlobError> {
    let mut left = Vec::with_capacity(kept.len());
    for file in kept.drain(..) {
        if missing > 0 && file.holders.is_empty() {
            file.remove()?;
            missing = missing.saturating_sub(file.bytes);
        } else {
            left.push(file);
        }
    }
    *kept = left;
    Ok(missing)
}

fn bytes_of(kept: &[Kept]) -> u64 {
    kept.iter().map(|file| file.bytes).sum()
}

impl Kept {
    /// Whether a job needs the file.
    fn is_needed(&self) -> bool {
        self.holders.values().any(|is_needed| *is_needed)
    }

    fn remove(&self) -> Result<(), BlobError> {
        fs::remove_file(&self.path).map_err(BlobError::io(&self.path))?;
        let (digest, bytes) = (self.digest, self.bytes);
        tracing::info!(%digest, bytes, "removed an unused program or side file");
        Ok(())
    }
}
