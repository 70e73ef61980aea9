//! Nothing acknowledged is ever forgotten: what has been told followed from a line of events, and
//! every coordinator that says anything afterwards goes on from that very line. So nobody who was
//! replaced gets anything out that the others do not know of.

use super::check;

#[derive(Default)]
pub struct History {
    bound: Vec<u64>,
}

impl History {
    /// Somebody is told what follows from these events.
    pub fn on_release(&mut self, events: &[u64]) -> Result<(), String> {
        let common = events.len().min(self.bound.len());
        let differs = (0..common).find(|&at| events[at] != self.bound[at]);
        check(differs.is_none(), || {
            let at = differs.unwrap_or_default();
            format!(
                "history: something is told that follows from event #{} at {at}, where others were told of #{}",
                events[at], self.bound[at]
            )
        })?;
        self.bound.extend(&events[common..]);
        Ok(())
    }

    /// A coordinator that nobody has replaced yet has read these events.
    pub fn on_recovery(&self, events: &[u64]) -> Result<(), String> {
        let lost = (0..self.bound.len()).find(|&at| events.get(at) != Some(&self.bound[at]));
        check(lost.is_none(), || {
            let at = lost.unwrap_or_default();
            format!("history: event #{} at {at} was acknowledged and is forgotten", self.bound[at])
        })
    }
}
