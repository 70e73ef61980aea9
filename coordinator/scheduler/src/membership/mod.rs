//! Membership: sessions that begin, break off, resume or end, and the consequences for the jobs.

pub(crate) mod drain;
pub(crate) mod loss;
pub(crate) mod session;
pub(crate) mod takeover;
