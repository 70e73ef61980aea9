//! What the scheduler answers, as exact effects, one theme a file. Each call is followed by a full check of the
//! invariants.

mod cancel;
mod drain;
mod fairness;
mod fencing;
mod fetch;
mod fixture;
mod journal;
mod leases;
mod loss;
mod no_workers;
mod placement;
mod retry;
mod stages;
mod timeouts;
mod views;
