//! Whom something is of, where submitters are told apart: a number instead of a name.

use serde::{Deserialize, Serialize};

/// Stands for a submitter among all others. Zero where nobody is told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Submitter(pub(crate) u64);

impl Submitter {
    /// The one of this name, if there is one.
    pub(crate) fn named(name: Option<&str>) -> Self {
        let Some(name) = name else { return Self::default() };
        let [a, b, c, d, e, f, g, h, ..] = *blake3::hash(name.as_bytes()).as_bytes();
        Self(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
    }
}
