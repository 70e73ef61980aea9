//! The objects of a journal that were read so far, and the history that they make up.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::call::JournalError;
use super::object::{Body, Epoch, Key, Object, Slot};

/// An object that was read. Objects never change, so none is read twice.
#[derive(Clone, Debug)]
pub(super) enum Seen<R, S, P> {
    Whole(Object<R, S, P>),
    /// A torn write.
    Torn(String),
}

/// All objects that were read.
#[derive(Clone, Debug)]
pub(super) struct History<R, S, P>(BTreeMap<Key, Seen<R, S, P>>);

/// The content of one log.
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
    /// The log ends at this slot, which is empty as far as is known.
    Open(Slot),
}

impl<R> Walked<R> {
    /// Whether its owner never had anything durable in it, and never will have.
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
        debug_assert!(before.is_none(), "an object is read once");
    }

    /// Walks a log from its beginning. All listed slots of it must have been read.
    ///
    /// With several objects in flight, a writer's death may leave gaps and torn writes between
    /// whole objects: nothing after the first gap was acknowledged. Later objects say how much was:
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
                            "all slots below a seal's `holds` were read"
                        );
                        debug_assert!(*holds <= slot, "a seal lies after the slots that count");
                        walked.batches.truncate(holds.0 as usize);
                        (walked.holds, walked.end) = (*holds, End::Sealed);
                        debug_assert_eq!(
                            walked.batches.len() as u64,
                            walked.holds.0,
                            "exactly the slots that count were read"
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
                    Body::Begin | Body::State(_) | Body::Attachment(_) => {
                        check_place(key, false, "a log has records and a seal")?;
                    }
                },
            }
        }
        debug_assert_eq!(
            walked.batches.len() as u64,
            walked.holds.0,
            "slots after a gap do not count"
        );
        self.check_rest(log, &walked, torn.as_deref())?;
        Ok(walked)
    }

    /// Checks that no object after the first gap says that the gap was filled once.
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

/// Checks that all slots below `holds` were found.
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
