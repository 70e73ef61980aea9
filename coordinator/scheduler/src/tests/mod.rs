//! What the scheduler answers, as exact effects, one theme a file. Each call is followed by a full
//! check of the invariants.

mod audit;
mod avoidance;
mod backup;
mod bad_records;
mod cancel;
mod clock;
mod death;
mod drain;
mod fairness;
mod fencing;
mod fetch;
mod fixture;
mod health;
mod journal;
mod leases;
mod loss;
mod no_workers;
mod objects;
mod operation;
mod placement;
mod publication;
mod retry;
mod session;
mod sleepers;
mod slot_depth;
mod stages;
mod takeover;
mod timeouts;
mod views;
