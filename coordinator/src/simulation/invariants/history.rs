//! Nothing acknowledged is ever forgotten: every effect that was told follows from one line of
//! events, and every later coordinator continues that line. So a fenced coordinator tells nothing
//! that the others do not know.

use super::check;

#[derive(Default)]
pub struct History {
    bound: Vec<u64>,
}

impl History {
    /// Checks an effect that follows from these events, as it is told.
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

    /// Checks the events that a coordinator in charge has recovered.
    pub fn on_recovery(&self, events: &[u64]) -> Result<(), String> {
        let lost = (0..self.bound.len()).find(|&at| events.get(at) != Some(&self.bound[at]));
        check(lost.is_none(), || {
            let at = lost.unwrap_or_default();
            format!("history: event #{} at {at} was acknowledged and is forgotten", self.bound[at])
        })
    }
}
