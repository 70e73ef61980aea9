//! Epochs only grow, and no two coordinators ever tell anything in the same epoch.

use std::collections::BTreeMap;

use windrow_scheduler::journal::Epoch;

use super::check;

#[derive(Default)]
pub struct Epochs {
    begun: Vec<Epoch>,
    owners: BTreeMap<Epoch, usize>,
}

impl Epochs {
    /// How many coordinators ever decided.
    pub fn begun(&self) -> usize {
        self.begun.len()
    }

    pub fn newest_told(&self) -> Epoch {
        self.owners.keys().next_back().copied().unwrap_or_default()
    }

    pub fn on_recovery(&mut self, epoch: Epoch) -> Result<(), String> {
        let new = !self.begun.contains(&epoch) && !self.owners.contains_key(&epoch);
        self.begun.push(epoch);
        check(new, || format!("epochs: {epoch} begins twice"))
    }

    pub fn on_release(&mut self, coordinator: usize, epoch: Epoch) -> Result<(), String> {
        let owner = *self.owners.entry(epoch).or_insert(coordinator);
        check(owner == coordinator, || {
            format!("epochs: {coordinator} speaks in {epoch}, which {owner} has spoken in")
        })?;
        let last = self.owners.iter().rfind(|(_, owner)| **owner == coordinator);
        check(last.is_none_or(|(last, _)| *last <= epoch), || {
            format!("epochs: {coordinator} goes back to {epoch}")
        })
    }
}
