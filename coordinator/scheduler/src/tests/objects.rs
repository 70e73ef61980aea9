//! A store in memory, for the journal's tests: it applies calls at once.

use std::collections::BTreeMap;

use crate::journal::{
    Answer, Call, Content, Epoch, JournalError, Key, Listing, Nonce, Object, Recovered, Slot,
    Takeover,
};

#[derive(Clone, Debug)]
pub(super) struct Objects<R, S, P>(pub(super) BTreeMap<Key, Object<R, S, P>>);

impl<R: Clone + Content, S: Clone + Content, P: Clone> Objects<R, S, P> {
    pub(super) fn new() -> Self {
        Self(BTreeMap::new())
    }

    pub(super) fn perform(&mut self, call: Call<R, S, P>) -> Answer<R, S, P> {
        match call {
            Call::List => Answer::Listed(self.listing()),
            Call::Licences => {
                // Called with each append: no pass over all objects.
                let range = Key::Epoch(Epoch(0))..=Key::Epoch(Epoch(u64::MAX));
                Answer::Listed(self.0.range(range).map(|(key, _)| *key).collect())
            }
            Call::Create(key, _) if self.0.contains_key(&key) => Answer::Exists,
            Call::Create(key, object) => {
                self.0.insert(key, object);
                Answer::Created
            }
            Call::Read(key) => self.0.get(&key).cloned().map_or(Answer::Absent, Answer::Found),
            Call::Sweep(sweep) => {
                self.0.retain(|key, _| !sweep.deletes(*key));
                Answer::Swept
            }
        }
    }

    pub(super) fn listing(&self) -> Listing {
        self.0.keys().copied().collect()
    }

    /// Slots of a log.
    pub(super) fn slots(&self, log: u64) -> Vec<u64> {
        let range = Key::Log(Epoch(log), Slot(0))..=Key::Log(Epoch(log), Slot(u64::MAX));
        let slots = self.0.range(range).filter_map(|(key, _)| match key {
            Key::Log(_, slot) => Some(slot.0),
            _ => None,
        });
        slots.collect()
    }

    /// Takes over, with answers that `change` may replace.
    pub(super) fn take_over(
        &mut self,
        nonce: u128,
        mut change: impl FnMut(&Call<R, S, P>, Answer<R, S, P>) -> Answer<R, S, P>,
    ) -> Result<Recovered<R, S, P>, JournalError> {
        let mut takeover = Takeover::new(Nonce(nonce));
        for _ in 0..10_000 {
            let (id, call) = takeover.next_call().expect("it stands still");
            let answer = change(&call, self.perform(call.clone()));
            if let Some(recovered) = takeover.answer(id, answer)? {
                return Ok(recovered);
            }
        }
        panic!("it does not end");
    }
}
