//! One fault at a time, injected into real processes. Whatever dies, stalls, lies or fills up: the
//! job ends with exactly the output of a run without faults, or with one clear cause; and its
//! status tells what was redone.
//!
//! | fault | what becomes of it | test |
//! | --- | --- | --- |
//! | coordinator killed at each step of its journal, thrice in a row | goes on where it was, as soon as it is started again | `journal` |
//! | coordinator killed while it takes a job | told again, it is one job | `journal` |
//! | coordinator killed at each step of a publication | the next one ends it; an output that is replaced is old or new, never both | `publication` |
//! | journal's disk full | nothing is acknowledged until it has space again | `journal` |
//! | coordinator stopped, and replaced | the other one goes on; the first one ends when it wakes, in the midst of a publication too | `takeover` |
//! | coordinator replaced while it is well | it notices; nothing is redone | `takeover` |
//! | another build tries to replace it | that one says so and ends; nothing else happens | `takeover` |
//! | state copied while in use | refused beside its original | `takeover` |
//! | coordinator restarted several times at once | nothing is redone | `clients` |
//! | answer to a report lost | told again, counted once | `reports` |
//! | several jobs for one output, at once | one has it, the others are told | `clients` |
//! | submitter killed | its job goes on | `clients` |
//! | coordinator restarted without its journal, or another cluster at its address | who waits for a job, or stops one, is told that it is gone; a job of the same number is left alone | `identities` |
//! | clocks hours apart, input from the future | nothing | `clocks` |
//! | output folder removed | the job fails, and says so | `publication` |
//! | workers killed, stopped, replaced, slow | what they had is redone elsewhere, and no more | `workers` |
//! | worker on which every process dies | the job avoids it, and ends elsewhere | `workers` |
//! | map outputs damaged, or slow to come | fetched again, or redone | `shuffle` |
//! | worker cut off from the coordinator | redone elsewhere, or told later | `network` |
//! | user code panics, hangs, fails | retried, then the job fails with the place | `user_code` |
//! | worker's disk full, input changed | elsewhere; or the job fails, and says why | `disks` |
//! | log's reader gone or asleep, terminal gone, log's disk full | nothing | `machine::standard_files` |
//! | SIGHUP, SIGQUIT, SIGUSR1 | stop, end at once, nothing; what `nohup` has switched off stays off | `machine::signals` |
//! | a part of a role panics | the role ends with a message and status 70 | `machine::deaths` |
//! | worker killed | the next one removes its temporary folder | `machine::deaths` |
//! | kernel kills for memory, `noexec`, no inodes, users of their own, small `ulimit` | named, with what to do | `machine`: `memory`, `file_systems`, `users`, `limits` |
//! | floods of connections, few open files | nobody else notices | `floods` |
//! | everybody, at random | every job ends right | `chaos` |

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
