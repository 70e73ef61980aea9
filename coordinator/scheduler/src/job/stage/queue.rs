//! The queued tasks of a stage, in the order in which they are considered.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Tasks by index. Suspects go first: the sooner the culprit is found, the fewer other attempts die
/// with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Queue {
    suspects: BTreeSet<u32>,
    others: BTreeSet<u32>,
}

impl Queue {
    /// The first `count` tasks, none of them a suspect.
    pub(crate) fn of(count: u32) -> Self {
        Self { suspects: BTreeSet::new(), others: (0..count).collect() }
    }

    /// Whether no task is queued.
    pub(crate) fn is_empty(&self) -> bool {
        self.suspects.is_empty() && self.others.is_empty()
    }

    /// How many tasks are queued.
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

    /// Removes a task; false if it was not queued.
    pub(crate) fn remove(&mut self, index: u32) -> bool {
        let removed = self.suspects.remove(&index) || self.others.remove(&index);
        debug_assert!(
            !self.suspects.contains(&index) && !self.others.contains(&index),
            "a task is queued once"
        );
        removed
    }

    /// The suspects, then the others, each in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        self.suspects.iter().chain(&self.others).copied()
    }
}
