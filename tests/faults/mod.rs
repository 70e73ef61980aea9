//! One fault at a time, injected into real processes. Whatever dies, stalls, lies or fills up: the job ends with exactly
//! the output of a run without faults, or with one clear cause; and its status tells what was redone.
//!
//! | file | who suffers |
//! | --- | --- |
//! | `workers.rs` | workers that are killed, stopped, replaced or slow |
//! | `shuffle.rs` | map outputs and the connections that carry them |
//! | `network.rs` | the connection between worker and coordinator |
//! | `user_code.rs` | mappers and reducers that panic, hang or fail |
//! | `disks.rs` | disks that are full, inputs that change |
//! | `journal.rs` | the coordinator, killed at each step of its journal, and the journal's disk |
//! | `publication.rs` | the coordinator, killed at each step of a publication, and the output folder |
//! | `reports.rs` | what workers report, and the answers |
//! | `takeover.rs` | the coordinator, stopped while another one takes its place |
//! | `clients.rs` | those who submit, and clocks |
//! | `chaos.rs` | everybody, at random |

mod chaos;
mod clients;
mod coordinator_deaths;
mod disks;
mod gated_job;
mod journal;
mod network;
mod publication;
mod reports;
mod shuffle;
mod small_job;
mod takeover;
mod user_code;
mod workers;

use libtest_mimic::Trial;

pub fn tests() -> Vec<Trial> {
    [
        chaos::tests(),
        clients::tests(),
        disks::tests(),
        journal::tests(),
        network::tests(),
        publication::tests(),
        reports::tests(),
        shuffle::tests(),
        takeover::tests(),
        user_code::tests(),
        workers::tests(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
