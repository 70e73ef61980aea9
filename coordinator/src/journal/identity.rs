//! The identity of a journal and of its writer.

use std::fmt;
use std::io;

use rustix::rand::{GetRandomFlags, getrandom};
use serde::{Deserialize, Serialize};

/// The permanent name of a cluster: ids of jobs, workers and epochs mean something only together
/// with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct ClusterId(pub(crate) u128);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The writer, as every object names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The cluster of the journal.
    pub(crate) cluster: ClusterId,
    /// The writing program's build, exactly: other builds lay out their records differently.
    pub(crate) build: String,
}

/// A random number.
pub(crate) fn draw() -> io::Result<u128> {
    let mut bytes = [0; 16];
    let mut filled = 0;
    while filled < bytes.len() {
        filled += getrandom(&mut bytes[filled..], GetRandomFlags::empty())?;
    }
    Ok(u128::from_le_bytes(bytes))
}
