//! What was read of a journal so far, and what it says.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::call::JournalError;
use super::object::{Body, Epoch, Key, Object, Slot};

/// What was found under a name. Objects never change, so that nothing is read twice.
#[derive(Clone, Debug)]
pub(super) enum Seen<R, S, P> {
    Whole(Object<R, S, P>),
    /// It breaks off.
    Torn(String),
}

/// All that was read.
#[derive(Clone, Debug)]
pub(super) struct History<R, S, P>(BTreeMap<Key, Seen<R, S, P>>);

/// What one log says.
#[derive(Clone, Debug)]
pub(super) struct Walked<R> {
    /// The records that count, in order.
    pub(super) batches: Vec<Arc<Vec<R>>>,
    /// The slots that count: those below this one.
    pub(super) holds: Slot,
    pub(super) end: End,
}

/// Where a log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Sealed,
    /// At this slot, as far as is known: there is nothing in it.
    Open(Slot),
}

impl<R> Walked<R> {
    /// Whether its owner never had anything durable in it, and never will.
    pub(super) fn is_void(&self) -> bool {
        self.end == End::Sealed && self.holds == Slot(0)
    }
}

impl<R: Clone, S: Clone, P: Clone> History<R, S, P> {
    pub(super) fn new() -> Self {
        Self(BTreeMap::new())
    }

    pub(super) fn knows(&self, key: Key) -> bool {
        self.0.contains_key(&key)
    }

    pub(super) fn get(&self, key: Key) -> Option<&Seen<R, S, P>> {
        self.0.get(&key)
    }

    pub(super) fn add(&mut self, key: Key, seen: Seen<R, S, P>) {
        let before = self.0.insert(key, seen);
        debug_assert!(before.is_none(), "what never changes is read once");
    }

    /// Reads a log from its beginning, all of which was seen that was listed.
    ///
    /// With several objects in flight, a writer's death may leave gaps and torn writes between
    /// whole objects: nothing after the first of them was acknowledged. Later objects say what was:
    /// `holds`.
    pub(super) fn walk(&self, log: Epoch) -> Result<Walked<R>, JournalError> {
        let mut walked = Walked { batches: Vec::new(), holds: Slot(0), end: End::Open(Slot(0)) };
        let mut torn = None;
        for slot in (0..).map(Slot) {
            let key = Key::Log(log, slot);
            match self.get(key) {
                None => {
                    walked.end = End::Open(slot);
                    break;
                }
                Some(Seen::Torn(message)) => {
                    torn.get_or_insert_with(|| message.clone());
                }
                Some(Seen::Whole(object)) => match &object.body {
                    Body::Seal { holds } => {
                        check_holds(log, *holds, &walked, torn.as_deref())?;
                        debug_assert!(
                            walked.batches.len() as u64 >= holds.0,
                            "what a seal says to count was read"
                        );
                        debug_assert!(*holds <= slot, "a seal lies after what it lets count");
                        walked.batches.truncate(holds.0 as usize);
                        (walked.holds, walked.end) = (*holds, End::Sealed);
                        debug_assert_eq!(
                            walked.batches.len() as u64,
                            walked.holds.0,
                            "all that counts was read, and nothing else"
                        );
                        return Ok(walked);
                    }
                    Body::Records { holds, records } => {
                        check_holds(log, *holds, &walked, torn.as_deref())?;
                        check_place(key, object.epoch == log, "it belongs to another epoch")?;
                        if torn.is_none() {
                            debug_assert_eq!(walked.holds, slot, "slots count without gaps");
                            walked.batches.push(Arc::clone(records));
                            walked.holds = slot.next();
                        }
                    }
                    Body::Begin | Body::State(_) | Body::Part(_) => {
                        check_place(key, false, "a log has records and a seal")?;
                    }
                },
            }
        }
        debug_assert_eq!(
            walked.batches.len() as u64,
            walked.holds.0,
            "what lies after a gap does not count"
        );
        self.check_rest(log, &walked, torn.as_deref())?;
        Ok(walked)
    }

    /// Nothing after the first gap must say that the gap was filled once.
    fn check_rest(
        &self,
        log: Epoch,
        walked: &Walked<R>,
        torn: Option<&str>,
    ) -> Result<(), JournalError> {
        let End::Open(gap) = walked.end else { return Ok(()) };
        for (_, seen) in self.0.range(Key::Log(log, gap)..=Key::Log(log, Slot(u64::MAX))) {
            if let Seen::Whole(object) = seen
                && let Body::Records { holds, .. } | Body::Seal { holds } = &object.body
            {
                check_holds(log, *holds, walked, torn)?;
            }
        }
        Ok(())
    }
}

/// Whether all slots below `holds` are there.
fn check_holds<R>(
    log: Epoch,
    holds: Slot,
    walked: &Walked<R>,
    torn: Option<&str>,
) -> Result<(), JournalError> {
    if holds <= walked.holds {
        return Ok(());
    }
    let message = torn.unwrap_or("it is missing, and later objects say that it was there");
    Err(JournalError::Damaged { key: Key::Log(log, walked.holds), message: message.to_string() })
}

fn check_place(key: Key, is_right: bool, message: &str) -> Result<(), JournalError> {
    if is_right {
        return Ok(());
    }
    Err(JournalError::Confused { key, message: message.to_string() })
}
