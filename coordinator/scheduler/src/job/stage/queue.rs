//! The tasks of a stage that could be placed now, in the order in which they are to be looked at.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Tasks by their index. Suspects go first: the sooner the culprit is found, the less it takes down
/// with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Queue {
    suspects: BTreeSet<u32>,
    others: BTreeSet<u32>,
}

impl Queue {
    /// Tasks from the first on, none of which is suspect.
    pub(crate) fn of(count: u32) -> Self {
        Self { suspects: BTreeSet::new(), others: (0..count).collect() }
    }

    /// Whether nothing could be placed.
    pub(crate) fn is_empty(&self) -> bool {
        self.suspects.is_empty() && self.others.is_empty()
    }

    /// How many could be placed.
    pub(crate) fn len(&self) -> usize {
        self.suspects.len() + self.others.len()
    }

    /// Adds a task.
    pub(crate) fn insert(&mut self, index: u32, suspect: bool) {
        let (queue, other) = match suspect {
            true => (&mut self.suspects, &self.others),
            false => (&mut self.others, &self.suspects),
        };
        debug_assert!(!other.contains(&index), "a task is queued once");
        let added = queue.insert(index);
        debug_assert!(added, "a task is queued once");
    }

    /// Takes a task out; false if it was not there.
    pub(crate) fn remove(&mut self, index: u32) -> bool {
        let removed = self.suspects.remove(&index) || self.others.remove(&index);
        debug_assert!(
            !self.suspects.contains(&index) && !self.others.contains(&index),
            "what was queued twice would run twice"
        );
        removed
    }

    /// The suspects, then the others, each in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        self.suspects.iter().chain(&self.others).copied()
    }
}
