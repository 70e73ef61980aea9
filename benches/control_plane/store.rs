//! A store in memory, in which objects lie as bytes.

use std::collections::BTreeMap;

use windrow_scheduler::journal::{Answer, Call, Key, Listing, Nonce, Recovered, Takeover};
use windrow_scheduler::{Attachment, JournaledState, Record};

use crate::Result;
use crate::decider::Nothing;

/// What lies in it.
#[derive(Default)]
pub struct Store {
    objects: BTreeMap<Key, Vec<u8>>,
    /// Of all objects now.
    pub bytes: u64,
    /// Of all objects that were ever created.
    pub bytes_ever: u64,
}

type StoreCall = Call<Record<()>, JournaledState<Nothing>, Attachment<()>>;
type StoreAnswer = Answer<Record<()>, JournaledState<Nothing>, Attachment<()>>;

impl Store {
    /// Begins the journal.
    pub fn take_over(
        &mut self,
    ) -> Result<Recovered<Record<()>, JournaledState<Nothing>, Attachment<()>>> {
        let mut takeover = Takeover::new(Nonce(1));
        while let Some((id, call)) = takeover.next_call() {
            if let Some(recovered) = takeover.answer(id, self.perform(call)?)? {
                return Ok(recovered);
            }
        }
        Err("an empty store cannot be taken over".into())
    }

    /// Does it, at once.
    pub fn perform(&mut self, call: StoreCall) -> Result<StoreAnswer> {
        Ok(match call {
            Call::List | Call::Licences => Answer::Listed(self.listing()),
            Call::Create(key, _) if self.objects.contains_key(&key) => Answer::Exists,
            Call::Create(key, object) => {
                let bytes = postcard::to_allocvec(&object)?;
                self.bytes += bytes.len() as u64;
                self.bytes_ever += bytes.len() as u64;
                self.objects.insert(key, bytes);
                Answer::Created
            }
            Call::Read(key) => match self.objects.get(&key) {
                Some(bytes) => Answer::Found(postcard::from_bytes(bytes)?),
                None => Answer::Absent,
            },
            Call::Sweep(sweep) => {
                self.objects.retain(|key, _| !sweep.deletes(*key));
                self.bytes = self.objects.values().map(|object| object.len() as u64).sum();
                Answer::Swept
            }
        })
    }

    fn listing(&self) -> Listing {
        self.objects.keys().copied().collect()
    }
}
