//! Keeps the folder within its bound, and leaves room to each submitter, whatever others do.
//!
//! What somebody holds is what they upload, what their jobs need, and what was of use to them a
//! moment ago. When room is wanted, what nobody holds goes first; then what those hold who hold
//! most, and no job needs. An upload has room for what has come and a step more: whoever says that
//! much will come has taken nothing by that.
//!
//! Uploads and what jobs need are *fixed*: nothing makes them go. Where submitters are told apart,
//! each may have as much of the room fixed as is left over then (a dynamic threshold, as of
//! switches that share one buffer: Choudhury and Hahne 1998). So one has half of the room at most,
//! two have three quarters, and however many there are, there is room for one more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use windrow_jobs::{Blob, Digest};

use super::BlobError;
use crate::submitter::Submitter;

/// Ends the name of a file that is not whole.
const PART: &str = ".part";

/// The name of what there is of a blob that is not whole.
pub(super) fn part_name(digest: Digest, from: Submitter) -> String {
    format!("{digest}.{:016x}{PART}", from.0)
}

/// What a file of this name is, and from whom if it is not whole.
fn digest_in(name: &str) -> Option<(Digest, Option<Submitter>)> {
    let Some(part) = name.strip_suffix(PART) else { return Some((Digest::from_hex(name)?, None)) };
    // Parts of former versions say no submitter.
    let (digest, from) = part.split_once('.').unwrap_or((part, "0"));
    let from = u64::from_str_radix(from, 16).ok()?;
    Some((Digest::from_hex(digest)?, Some(Submitter(from))))
}

/// What was of use a moment ago may be about to be submitted.
const RECENT: Duration = Duration::from_secs(600);
/// How long what broke off is kept.
const PART_KEPT: Duration = Duration::from_secs(24 * 3600);

/// So much more than what has come of it has room, of each upload.
pub(super) const STEP: u64 = 16 << 20;
/// How long what was pinned remains so: who makes room may have asked before that which jobs need
/// it, and it was none yet.
const UNPINNED_KEPT: Duration = Duration::from_secs(60);

/// How much there may be, and whose it is.
pub(super) struct Quota {
    bytes_max: u64,
    /// Blobs that are being uploaded.
    coming: BTreeMap<Held, Coming>,
    /// What somebody needs at the moment.
    pinned: BTreeMap<Held, Pinned>,
    /// When each of these was last of use. Of what was there before this process, that is not
    /// known.
    pub(super) used: BTreeMap<Held, SystemTime>,
    began: SystemTime,
}

/// A blob, and who has to do with it.
pub(crate) type Held = (Digest, Submitter);

/// An upload.
#[derive(Clone, Copy)]
struct Coming {
    /// What its submitter says.
    declared: u64,
    /// What there is room for.
    promised: u64,
}

/// Needed for something, or a moment ago.
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
    /// Who holds it, and whether a job of theirs needs it.
    holders: BTreeMap<Submitter, bool>,
}

impl Quota {
    pub(super) fn new(bytes_max: u64) -> Self {
        let (coming, pinned, used) = Default::default();
        Self { bytes_max, coming, pinned, used, began: SystemTime::now() }
    }

    /// The most that one of them has fixed, where others have so much fixed.
    fn share_of(&self, submitter: Submitter, others: u64) -> u64 {
        // Where nobody is told apart, it is all theirs.
        if submitter == Submitter::default() {
            return self.bytes_max;
        }
        self.bytes_max.saturating_sub(others) / 2
    }

    /// What is promised to the uploads of one of them, and to those of others.
    fn promised(&self, from: Submitter) -> (u64, u64) {
        let (mut own, mut others) = (0, 0);
        for ((_, of), upload) in &self.coming {
            *if *of == from { &mut own } else { &mut others } += upload.promised;
        }
        (own, others)
    }

    /// It is of use to somebody.
    pub(super) fn uses(&mut self, held: Held) {
        self.used.insert(held, SystemTime::now());
    }

    /// Keeps these for somebody, whether they are there or not, until they are unpinned as often.
    /// Refuses what is beyond their share.
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
        // What they need already is not refused, also where the bound was another one before.
        if all.len() > before.len() && bytes > most {
            return Err(BlobError::NoShare { bytes, most });
        }
        for digest in digests {
            let pinned = self.pinned.entry((*digest, from)).or_default();
            (pinned.count, pinned.until) = (pinned.count + 1, None);
        }
        Ok(())
    }

    /// What was pinned is not needed for that any more.
    pub(super) fn unpin(&mut self, digests: &[Digest], from: Submitter) {
        for digest in digests {
            let pinned = self.pinned.get_mut(&(*digest, from));
            debug_assert!(pinned.is_some(), "it was pinned before");
            if let Some(pinned) = pinned {
                pinned.count -= 1;
                if pinned.count == 0 {
                    pinned.until = Some(Instant::now() + UNPINNED_KEPT);
                }
            }
        }
    }

    /// Promises room for the first bytes of a blob, of which `received` are there; removes others
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

    /// The upload is over, or has broken off: what is in the folder counts.
    pub(super) fn settle(&mut self, digest: Digest, from: Submitter) {
        self.coming.remove(&(digest, from));
    }

    fn forget_old(&mut self) {
        let now = SystemTime::now();
        self.used.retain(|_, used| now.duration_since(*used).unwrap_or_default() < RECENT);
        let now = Instant::now();
        self.pinned.retain(|_, pinned| pinned.until.is_none_or(|until| now < until));
    }

    /// Refuses so many bytes more for the uploads of somebody where that is beyond their share.
    fn check_share(&self, kept: &[Kept], promised: u64, from: Submitter) -> Result<(), BlobError> {
        // Where nobody is told apart, it is seen whether there is room.
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

    /// Whoever would hold more than half of the room, with all that they say will come, lets go of
    /// what was of use a moment ago.
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
        // Where nobody is told apart, what is recent stays.
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

    /// Removes what no job needs, of those who hold more than who comes would then. Whether there
    /// is room.
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

    /// All files but those that are being uploaded, which are promised, and what there is of
    /// `wanted`. Removes what broke off long ago.
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
            // What is called otherwise is not ours.
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

    /// Who holds what nobody has used since this process began: nobody in particular, if it is
    /// recent.
    fn before(&self, used: SystemTime, age: Duration) -> BTreeMap<Submitter, bool> {
        let is_recent = used < self.began && age < RECENT;
        is_recent.then_some((Submitter::default(), false)).into_iter().collect()
    }
}

/// Removes what nobody holds, the least recently used first. What is still missing.
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
    /// Whether a job needs it.
    fn is_needed(&self) -> bool {
        self.holders.values().any(|is_needed| *is_needed)
    }

    fn remove(&self) -> Result<(), BlobError> {
        fs::remove_file(&self.path).map_err(BlobError::io(&self.path))?;
        let (digest, bytes) = (self.digest, self.bytes);
        tracing::info!(%digest, bytes, "removed a program that nobody needs");
        Ok(())
    }
}
