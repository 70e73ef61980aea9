//! How many bytes the coordinator sends for a job of any size, by the encoders that sessions use.

use std::sync::Arc;

use prost::Message;
use windrow_jobs::partitioning::{SampledPair, SplitPoints};
use windrow_jobs::{AttemptId, JobId, StageId, TaskId, WorkerId};
use windrow_proto::v1;

use crate::driver::fuzzing::work;
use crate::driver::{
    Assignment, JobWork, Outgoing, OutputsHolder, OutputsTable, Receipt, Shared, SharedContent,
    WorkerProfile,
};
use crate::rpc::convert::{Sent, order_to, packed, receipt_to};

/// The prefix that HTTP/2 and gRPC add to a message.
const FRAME_BYTES: u64 = 9 + 5;

const JOB: JobId = JobId(1_000);

/// A job and its cluster: each worker runs maps, and as many workers as there are reduces run one
/// each.
#[derive(Clone, Copy)]
struct Model {
    maps: u32,
    reduces: u32,
    workers: u32,
    is_ordered: bool,
}

const LARGE: Model = Model { maps: 200_000, reduces: 5_000, workers: 10_000, is_ordered: false };

/// Bytes by kind of message.
#[derive(Debug, PartialEq)]
struct Sizes {
    contexts: u64,
    split_points: u64,
    outputs: u64,
    a_lost_worker: u64,
    assignments: u64,
    receipts: u64,
}

impl Sizes {
    fn sum(&self) -> u64 {
        let Self { contexts, split_points, outputs, a_lost_worker, assignments, receipts } = self;
        contexts + split_points + outputs + a_lost_worker + assignments + receipts
    }
}

impl Model {
    fn sizes(self) -> Sizes {
        let (maps, reduces) = (u64::from(self.maps), u64::from(self.reduces));
        let (workers, reducing) =
            (u64::from(self.workers), u64::from(self.reduces.min(self.workers)));
        let work = Arc::new(self.work());
        let points = if self.is_ordered {
            shared(SharedContent::SplitPoints(JOB, Arc::clone(&work)))
        } else {
            0
        };
        let noted = Receipt::Noted { attempt: attempt(StageId::MAP, self.maps), won: true };
        Sizes {
            contexts: workers * shared(SharedContent::Context(JOB, Arc::clone(&work))),
            split_points: workers * points,
            outputs: reducing * shared(SharedContent::Outputs(self.outputs(None, 1))),
            // The outputs of one worker have moved.
            a_lost_worker: reducing
                * shared(SharedContent::Outputs(self.outputs(Some(1), self.workers as usize))),
            assignments: maps
                * message(Outgoing::Map { assignment: self.assignment(StageId::MAP), work })
                + reduces
                    * message(Outgoing::Reduce {
                        assignment: self.assignment(StageId::REDUCE),
                        outputs_version: 9,
                    }),
            // Two minutes of acknowledgements, one each second.
            receipts: (maps + reduces) * framed(&receipt_to(noted))
                + 120 * workers * framed(&receipt_to(Receipt::HeartbeatAck(100))),
        }
    }

    fn assignment(self, stage: StageId) -> Assignment {
        let attempt = attempt(stage, self.maps.max(self.reduces) - 1);
        Assignment { attempt, alone: false, skip: Vec::new() }
    }

    fn work(self) -> JobWork {
        let mut work = work();
        work.spec.params = format!("{{\"pattern\": \"{}\"}}", "x".repeat(200));
        if self.is_ordered {
            // Random records of 100 bytes, with keys of 10.
            let pair = |index: u32| SampledPair {
                key: mixed(index).to_be_bytes().repeat(2)[..10].to_vec(),
                value: vec![b'v'; 100],
                weight: 1,
            };
            let sample = (0..self.reduces * 20).map(pair).collect();
            let plan = Arc::get_mut(&mut work.plan).expect("it is not shared");
            plan.split_points = SplitPoints::from_sample(sample, self.reduces, true);
        }
        work
    }

    /// All outputs, or each `step`th, spread over the workers as if by chance: the largest
    /// encoding.
    fn outputs(self, since: Option<u64>, step: usize) -> OutputsTable {
        let place = |task: u32| (mixed(task) % u64::from(self.workers)) as u32;
        let outputs = (0..self.maps).step_by(step).map(|task| (task, 1, place(task)));
        let outputs: Vec<_> = outputs.collect();
        let mut used: Vec<_> = outputs.iter().map(|(_, _, place)| *place).collect();
        used.sort_unstable();
        used.dedup();
        let place_of = |worker: u32| used.partition_point(|before| *before < worker) as u32;
        let outputs =
            outputs.iter().map(|(task, attempt, worker)| (*task, *attempt, place_of(*worker)));
        let holders = used.iter().map(|worker| holder(*worker)).collect();
        OutputsTable { job: JOB, version: 2, since, outputs: outputs.collect(), holders }
    }
}

/// One worker on each machine, as in a cluster set up by hand.
fn holder(number: u32) -> OutputsHolder {
    let profile = WorkerProfile {
        shuffle_address: format!("10.8.{}.{}:7172", number / 256, number % 256),
        ..WorkerProfile::for_test()
    };
    OutputsHolder {
        worker: WorkerId(u64::from(number) + 1),
        profile: Some(Arc::new(profile)),
        host: number + 1,
        has_neighbours: false,
    }
}

fn attempt(stage: StageId, index: u32) -> AttemptId {
    AttemptId { task: TaskId { job: JOB, stage, index }, number: 1 }
}

fn mixed(n: u32) -> u64 {
    let mixed = (u64::from(n) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 3
}

fn framed(message: &v1::CoordinatorMessage) -> u64 {
    message.encoded_len() as u64 + FRAME_BYTES
}

fn message(order: Outgoing) -> u64 {
    match order_to(order).unwrap() {
        Sent::Message(message) => framed(&message),
        Sent::Shared(_) => panic!("it is sent to many workers"),
    }
}

fn shared(content: SharedContent) -> u64 {
    let shared = Shared::new(content);
    let fragments = shared.packed(packed).fragments().map(|fragment| {
        let message = Some(v1::coordinator_message::Message::Fragment(fragment));
        framed(&v1::CoordinatorMessage { message })
    });
    fragments.sum()
}

#[test]
fn a_large_job_takes_two_gigabytes_at_most() {
    let sizes = LARGE.sizes();
    println!("{sizes:?}: {} bytes", sizes.sum());
    assert!(sizes.sum() < 2_000_000_000, "{sizes:?}");
    // A lost worker does not cause all of it to be sent again.
    assert!(sizes.a_lost_worker < sizes.outputs / 100, "{sizes:?}");
}

/// The ranges of an ordered job are sent once to each worker that maps.
#[test]
fn a_large_ordered_job_takes_little_more() {
    let sizes = Model { is_ordered: true, ..LARGE }.sizes();
    println!("{sizes:?}: {} bytes", sizes.sum());
    assert!(sizes.split_points < 1_000_000_000, "{sizes:?}");
    assert_eq!(sizes.contexts + sizes.outputs, LARGE.sizes().contexts + LARGE.sizes().outputs);
}

/// Nothing grows with the product of maps and reduces: on as many workers, twice the maps and twice
/// the reduces take twice the bytes.
#[test]
fn bytes_grow_with_the_sum_of_maps_and_reduces() {
    for is_ordered in [false, true] {
        let model = Model { maps: 8_000, reduces: 1_000, workers: 500, is_ordered };
        let one = model.sizes().sum();
        let maps = Model { maps: 16_000, ..model }.sizes().sum();
        let reduces = Model { reduces: 2_000, ..model }.sizes().sum();
        let both = Model { maps: 16_000, reduces: 2_000, ..model }.sizes().sum();
        assert!(maps < 2 * one && reduces < 2 * one, "{one} {maps} {reduces}");
        let more = (maps - one) + (reduces - one);
        assert!(both - one <= more + more / 50, "{one} {maps} {reduces} {both}");
    }
}
