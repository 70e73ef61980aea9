//! Who works: sessions that begin, break off, go on or end, and what follows for the jobs.

pub(crate) mod drain;
pub(crate) mod loss;
pub(crate) mod session;
pub(crate) mod takeover;
