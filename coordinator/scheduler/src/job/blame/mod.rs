//! What one job holds against its tasks and against workers.

mod avoidance;
mod charges;
mod failed_on;

pub(crate) use avoidance::Avoidance;
pub(crate) use charges::{Blame, Charges, Progress};
