//! One fault at a time, injected into real processes. Whatever dies, stalls, lies or fills up, the
//! job ends with exactly the output of a run without faults, or with one clear cause; its status
//! tells what was redone.
//!
//! | fault | result | test |
//! | --- | --- | --- |
//! | coordinator killed thrice in a row at each journal step | resumes once restarted | `journal` |
//! | coordinator killed while it accepts a job | repeated, it is one job | `journal` |
//! | coordinator killed at each step of a publication | the next one completes it | `publication` |
//! | the same, replacing an output | it is old or new, never a mixture | `publication` |
//! | journal's disk full | nothing is acknowledged until there is space | `journal` |
//! | coordinator stopped, replaced | fenced, it ends when it wakes | `takeover` |
//! | the same, during a publication | the same | `takeover` |
//! | healthy coordinator replaced | it notices; nothing is redone | `takeover` |
//! | another build tries to replace it | it says so and ends; no other effect | `takeover` |
//! | state copied while in use | refused beside its original | `takeover` |
//! | coordinator restarted several times at once | nothing is redone | `clients` |
//! | answer to a report lost | repeated, counted once | `reports` |
//! | several jobs for one output, at once | one gets it, the others are refused | `clients` |
//! | submitter killed | its job continues | `clients` |
//! | coordinator restarted without journal | waiting clients learn it is gone | `identities` |
//! | another cluster at its address | waiting clients learn that the job is gone | `identities` |
//! | a job stopped after either | the same; a job of the same number is left alone | `identities` |
//! | clocks hours apart, input from the future | no effect | `clocks` |
//! | output folder removed | the job fails, and says so | `publication` |
//! | workers killed, stopped, replaced, slow | only what was lost is redone elsewhere | `workers` |
//! | worker on which every process dies | the job avoids it, and ends elsewhere | `workers` |
//! | map outputs damaged, or slow to arrive | fetched again, or redone | `shuffle` |
//! | worker cut off from the coordinator | redone elsewhere, or reported later | `network` |
//! | user code panics, hangs, fails | retried, then the job fails with the place | `user_code` |
//! | worker's disk full, input changed | redone; or the job fails and says why | `disks` |
//! | log: no reader, disk full; no terminal | no effect | `machine::standard_files` |
//! | SIGHUP, SIGQUIT, SIGUSR1 | stops; ends at once; no effect | `machine::signals` |
//! | SIGHUP, ignored by `nohup` | stays ignored | `machine::signals` |
//! | a part of a role panics | the role ends with a message and status 70 | `machine::deaths` |
//! | worker killed | the next one removes its temporary folder | `machine::deaths` |
//! | kernel kills for memory | named, with what to do | `machine::memory` |
//! | `noexec`, no inodes | named, with what to do | `machine::file_systems` |
//! | coordinator and worker as different users | named, with what to do | `machine::users` |
//! | small `ulimit` | named, with what to do | `machine::limits` |
//! | floods of connections, few open files | others are not affected | `floods` |
//! | all processes, at random | every job ends right | `chaos` |

mod chaos;
mod clients;
mod clocks;
mod coordinator_deaths;
mod disks;
mod floods;
pub mod gated_job;
mod identities;
mod journal;
mod machine;
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
        clocks::tests(),
        disks::tests(),
        floods::tests(),
        identities::tests(),
        journal::tests(),
        machine::tests(),
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
