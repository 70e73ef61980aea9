//! Workers grouped by platform. All workers of a group can run the same programs, so that a job is
//! compared with a few groups instead of thousands of workers.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;

use serde::{Deserialize, Serialize};
use windrow_model::{Platform, PlatformNeeds, StageId, WorkerId};

use crate::worker::SlotDepth;

/// The id of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct PlatformGroupId(u32);

/// The order of preference: fewer strikes first, then less busy, then by id.
pub(crate) type RankedWorker = (Rank, WorkerId);

/// Strikes, and the share of taken slots in units of 1/65,536.
pub(crate) type Rank = (u32, u64);

/// The workers of one platform.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct PlatformGroup {
    platform: Platform,
    members: BTreeSet<WorkerId>,
    /// How many of them are not leaving.
    staying: u32,
    /// By slot depth and stage, the workers that would take an attempt now, the best first.
    free: [[BTreeSet<RankedWorker>; 2]; 2],
}

/// All groups that have members.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct PlatformGroups {
    groups: BTreeMap<PlatformGroupId, PlatformGroup>,
    next: u32,
}

impl PlatformGroups {
    /// Adds a worker. O(groups).
    pub(crate) fn add(&mut self, worker: WorkerId, platform: &Platform) -> PlatformGroupId {
        let known = self.groups.iter().find(|(_, group)| group.platform == *platform);
        let id = known.map_or(PlatformGroupId(self.next), |(id, _)| *id);
        if id == PlatformGroupId(self.next) {
            self.next += 1;
        }
        let new = || PlatformGroup {
            platform: platform.clone(),
            members: BTreeSet::new(),
            staying: 0,
            free: Default::default(),
        };
        let added = self.groups.entry(id).or_insert_with(new).members.insert(worker);
        debug_assert!(added, "a worker joins once");
        debug_assert!(
            self.groups.last_key_value().is_none_or(|(last, _)| last.0 < self.next),
            "a group's id is not reused"
        );
        id
    }

    /// Removes a worker that is not listed as free any more.
    pub(crate) fn remove(&mut self, worker: WorkerId, id: PlatformGroupId) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        let removed = group.members.remove(&worker);
        debug_assert!(removed, "the worker is a member");
        debug_assert!(
            group.free.iter().flatten().all(|free| free.len() <= group.members.len()),
            "a removed worker is not listed as free"
        );
        if group.members.is_empty() {
            debug_assert_eq!(group.staying, 0, "a staying worker is a member");
            debug_assert!(
                group.free.iter().flatten().all(BTreeSet::is_empty),
                "a free worker is a member"
            );
            self.groups.remove(&id);
        }
    }

    /// Counts one more staying worker, or one fewer. True if it was the first or the last.
    pub(crate) fn count_staying(&mut self, id: PlatformGroupId, stays: bool) -> bool {
        let Some(group) = self.groups.get_mut(&id) else { return false };
        debug_assert!(stays || group.staying > 0, "the worker was counted when it joined");
        group.staying = if stays { group.staying + 1 } else { group.staying.saturating_sub(1) };
        debug_assert!(
            group.staying as usize <= group.members.len(),
            "a staying worker is a member"
        );
        group.staying == u32::from(stays)
    }

    /// Lists a worker as free, or not any more.
    pub(crate) fn set_free(
        &mut self,
        id: PlatformGroupId,
        (stage, depth): (StageId, SlotDepth),
        place: RankedWorker,
        free: bool,
    ) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        debug_assert!(group.members.contains(&place.1), "only members are listed");
        let list = &mut group.free[depth as usize][stage.index()];
        if free {
            list.insert(place);
            debug_assert!(
                list.len() <= group.members.len(),
                "a worker is listed once, by its current rank"
            );
        } else {
            list.remove(&place);
        }
    }

    /// Whether any worker would take an attempt of this stage now. O(groups).
    pub(crate) fn any_free(&self, stage: StageId, depth: SlotDepth) -> bool {
        self.groups.values().any(|group| !group.free[depth as usize][stage.index()].is_empty())
    }

    /// Whether any staying worker can run such a program. O(groups).
    pub(crate) fn any_staying(&self, needs: &PlatformNeeds) -> bool {
        self.fitting(needs).any(|group| group.staying > 0)
    }

    /// All workers that can run such a program, group by group.
    pub(crate) fn members(&self, needs: &PlatformNeeds) -> impl Iterator<Item = WorkerId> {
        self.fitting(needs).flat_map(|group| group.members.iter().copied())
    }

    /// The workers that can run such a program and would take an attempt of this stage now, the
    /// best first. O(groups) per worker.
    pub(crate) fn free(
        &self,
        stage: StageId,
        depth: SlotDepth,
        needs: &PlatformNeeds,
    ) -> impl Iterator<Item = WorkerId> {
        let mut lists: Vec<_> = self
            .fitting(needs)
            .map(|group| group.free[depth as usize][stage.index()].iter().copied().peekable())
            .collect();
        std::iter::from_fn(move || {
            let first = |list: &mut Peekable<_>| list.peek().copied();
            let best = lists.iter_mut().filter_map(|list| Some((first(list)?, list)));
            let (_, list) = best.min_by_key(|(place, _)| *place)?;
            list.next().map(|(_, worker): RankedWorker| worker)
        })
    }

    fn fitting(&self, needs: &PlatformNeeds) -> impl Iterator<Item = &PlatformGroup> {
        self.groups.values().filter(move |group| needs.missing(&group.platform).is_none())
    }
}
