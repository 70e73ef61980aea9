//! Workers by their platform. Those of one kind can run the same programs, so that a job is
//! compared with a few kinds and not with thousands of workers.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;

use serde::{Deserialize, Serialize};
use windrow_model::{Platform, PlatformNeeds, StageId, WorkerId};

use crate::worker::Pace;

/// Names a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct KindId(u32);

/// Whom to prefer: those with fewer strikes, then the less busy; by id where nothing else tells
/// them apart.
pub(crate) type Place = (Rank, WorkerId);

/// Strikes, and the share of its slots that are taken, in parts of 65,536.
pub(crate) type Rank = (u32, u64);

/// The workers of one platform.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Kind {
    platform: Platform,
    members: BTreeSet<WorkerId>,
    /// How many of them do not want to leave.
    staying: u32,
    /// By pace and stage, those that would take an attempt of it now, the best first.
    free: [[BTreeSet<Place>; 2]; 2],
}

/// All kinds that have members.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Kinds {
    kinds: BTreeMap<KindId, Kind>,
    next: u32,
}

impl Kinds {
    /// Takes a worker in. O(kinds).
    pub(crate) fn add(&mut self, worker: WorkerId, platform: &Platform) -> KindId {
        let known = self.kinds.iter().find(|(_, kind)| kind.platform == *platform);
        let id = known.map_or(KindId(self.next), |(id, _)| *id);
        if id == KindId(self.next) {
            self.next += 1;
        }
        let new = || Kind {
            platform: platform.clone(),
            members: BTreeSet::new(),
            staying: 0,
            free: Default::default(),
        };
        let added = self.kinds.entry(id).or_insert_with(new).members.insert(worker);
        debug_assert!(added, "a worker joins once");
        debug_assert!(
            self.kinds.last_key_value().is_none_or(|(last, _)| last.0 < self.next),
            "the number of a kind is not given again while it has members"
        );
        id
    }

    /// Forgets a worker that is in no index any more.
    pub(crate) fn remove(&mut self, worker: WorkerId, id: KindId) {
        let Some(kind) = self.kinds.get_mut(&id) else { return };
        let removed = kind.members.remove(&worker);
        debug_assert!(removed, "it was taken in");
        debug_assert!(
            kind.free.iter().flatten().all(|free| free.len() <= kind.members.len()),
            "who is gone takes nothing"
        );
        if kind.members.is_empty() {
            debug_assert_eq!(kind.staying, 0, "who stays is a member");
            debug_assert!(kind.free.iter().flatten().all(BTreeSet::is_empty), "so is who is free");
            self.kinds.remove(&id);
        }
    }

    /// One more of the kind stays, or one fewer. True if that was the first, or the last.
    pub(crate) fn count_staying(&mut self, id: KindId, stays: bool) -> bool {
        let Some(kind) = self.kinds.get_mut(&id) else { return false };
        debug_assert!(stays || kind.staying > 0, "it was counted when it came");
        kind.staying = if stays { kind.staying + 1 } else { kind.staying.saturating_sub(1) };
        debug_assert!(kind.staying as usize <= kind.members.len(), "who stays is a member");
        kind.staying == u32::from(stays)
    }

    /// Lists a worker as free, or not any more.
    pub(crate) fn set_free(
        &mut self,
        id: KindId,
        (stage, pace): (StageId, Pace),
        place: Place,
        free: bool,
    ) {
        let Some(kind) = self.kinds.get_mut(&id) else { return };
        debug_assert!(kind.members.contains(&place.1), "only members are listed");
        let list = &mut kind.free[pace as usize][stage.index()];
        if free {
            list.insert(place);
            debug_assert!(
                list.len() <= kind.members.len(),
                "a worker is listed once, by its rank of now"
            );
        } else {
            list.remove(&place);
        }
    }

    /// Whether anybody would take an attempt of this stage now. O(kinds).
    pub(crate) fn any_free(&self, stage: StageId, pace: Pace) -> bool {
        self.kinds.values().any(|kind| !kind.free[pace as usize][stage.index()].is_empty())
    }

    /// Whether any that stays can run such a program. O(kinds).
    pub(crate) fn any_staying(&self, needs: &PlatformNeeds) -> bool {
        self.fitting(needs).any(|kind| kind.staying > 0)
    }

    /// All that can run such a program, kind by kind.
    pub(crate) fn members(&self, needs: &PlatformNeeds) -> impl Iterator<Item = WorkerId> {
        self.fitting(needs).flat_map(|kind| kind.members.iter().copied())
    }

    /// Those of them that would take an attempt of this stage now, the best first. O(kinds) a
    /// worker.
    pub(crate) fn free(
        &self,
        stage: StageId,
        pace: Pace,
        needs: &PlatformNeeds,
    ) -> impl Iterator<Item = WorkerId> {
        let mut lists: Vec<_> = self
            .fitting(needs)
            .map(|kind| kind.free[pace as usize][stage.index()].iter().copied().peekable())
            .collect();
        std::iter::from_fn(move || {
            let first = |list: &mut Peekable<_>| list.peek().copied();
            let best = lists.iter_mut().filter_map(|list| Some((first(list)?, list)));
            let (_, list) = best.min_by_key(|(place, _)| *place)?;
            list.next().map(|(_, worker): Place| worker)
        })
    }

    fn fitting(&self, needs: &PlatformNeeds) -> impl Iterator<Item = &Kind> {
        self.kinds.values().filter(move |kind| needs.missing(&kind.platform).is_none())
    }
}
