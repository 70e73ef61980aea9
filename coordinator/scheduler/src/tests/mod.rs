//! What the scheduler answers, as exact effects, one theme a file. Each call is followed by a full check of the
//! invariants.

mod audit;
mod backup;
mod cancel;
mod drain;
mod fairness;
mod fencing;
mod fetch;
mod fixture;
mod health;
mod leases;
mod loss;
mod no_workers;
mod placement;
mod retry;
mod session;
mod stages;
mod takeover;
mod timeouts;
mod views;
