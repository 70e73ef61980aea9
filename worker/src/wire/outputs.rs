//! Where map outputs lie, as sent: columns of numbers, which are checked against each other here.

use std::path::PathBuf;

use windrow_jobs::{JobId, WorkerId};
use windrow_proto::planes::{numbers, planes};
use windrow_proto::v1;
use windrow_proto::v1::coordinator_message::Message;

use super::Malformed;
use crate::model::WorkerOutputs;

/// All map outputs of a job, or those that have moved.
#[derive(Debug)]
pub(crate) struct ToldOutputs {
    pub job: JobId,
    pub version: u64,
    /// The version to which this is a change; `None` for the full list.
    pub since: Option<u64>,
    /// In a change: the map tasks, ascending.
    pub tasks: Vec<u32>,
    /// For each of these tasks, or for all tasks: the index of its holder in `holders`, and the
    /// number of its attempt.
    pub outputs: Vec<(u32, u32)>,
    /// The holders of any of these.
    pub holders: Vec<Holder>,
}

/// A worker that holds outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub worker: WorkerId,
    /// Empty in embedded mode, or when the worker has left.
    pub shuffle_address: String,
    /// A number for its machine; 0 if it is not known.
    pub host: u32,
    /// Empty if no other worker is on its machine.
    pub directory: PathBuf,
}

/// Decodes map outputs.
pub(super) fn outputs_from(told: v1::MapOutputs) -> Result<ToldOutputs, Malformed> {
    let column =
        |planes| numbers(planes).ok_or(Malformed("columns of outputs of different lengths"));
    let (places, attempts) = (column(&told.holder_planes)?, column(&told.attempt_planes)?);
    let count = told.holders.len();
    if [told.addresses.len(), told.hosts.len(), told.directories.len()] != [count; 3] {
        return Err(Malformed("columns of holders of different lengths"));
    }
    if places.len() != attempts.len() || places.iter().any(|place| *place as usize >= count) {
        return Err(Malformed("an output without a holder"));
    }
    if told.since.is_some() && told.tasks.len() != places.len() {
        return Err(Malformed("a change with different numbers of tasks and outputs"));
    }
    if !told.tasks.is_sorted_by(|a, b| a < b) {
        return Err(Malformed("a change whose tasks do not ascend"));
    }
    Ok(ToldOutputs {
        job: JobId(told.job),
        version: told.version,
        since: told.since,
        tasks: told.tasks,
        outputs: places.into_iter().zip(attempts).collect(),
        holders: holders_from(told.holders, told.addresses, told.hosts, told.directories),
    })
}

fn holders_from(
    workers: Vec<u64>,
    addresses: Vec<String>,
    hosts: Vec<i32>,
    directories: Vec<String>,
) -> Vec<Holder> {
    let (mut worker, mut host) = (0_u64, 0_u32);
    let columns = workers.into_iter().zip(hosts).zip(addresses.into_iter().zip(directories));
    let holder = |((to_next, to_next_host), (shuffle_address, directory)): ((u64, i32), _)| {
        worker = worker.wrapping_add(to_next);
        host = host.wrapping_add_signed(to_next_host);
        let directory: String = directory;
        Holder { worker: WorkerId(worker), shuffle_address, host, directory: directory.into() }
    };
    columns.map(holder).collect()
}

/// All outputs of a job, for one of its processes, whose machine has the number 1.
pub(crate) fn outputs_to(
    job: JobId,
    version: u64,
    outputs: &[WorkerOutputs],
) -> v1::CoordinatorMessage {
    let count = outputs.iter().map(|worker| worker.outputs.len()).sum();
    let (mut places, mut attempts) = (vec![0; count], vec![0; count]);
    let mut message = v1::MapOutputs { job: job.0, version, ..v1::MapOutputs::default() };
    let (mut worker, mut host) = (0_u64, 0_i32);
    for (place, holder) in outputs.iter().enumerate() {
        for (task, attempt) in &holder.outputs {
            debug_assert!((*task as usize) < count, "the full list names each task once");
            (places[*task as usize], attempts[*task as usize]) = (place as u32, *attempt);
        }
        let here = i32::from(!holder.host.is_empty());
        message.holders.push(holder.worker.0.wrapping_sub(worker));
        message.hosts.push(here - host);
        message.addresses.push(holder.shuffle_address.clone());
        message.directories.push(holder.directory.display().to_string());
        (worker, host) = (holder.worker.0, here);
    }
    message.holder_planes = planes(&places);
    message.attempt_planes = planes(&attempts);
    v1::CoordinatorMessage { message: Some(Message::MapOutputs(message)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> v1::MapOutputs {
        v1::MapOutputs {
            job: 1,
            version: 2,
            since: None,
            tasks: Vec::new(),
            holders: vec![4, 3],
            addresses: vec!["a:1".into(), "b:1".into()],
            hosts: vec![2, -1],
            directories: vec![String::new(), "/b".into()],
            holder_planes: planes(&[1, 0, 1]),
            attempt_planes: planes(&[1, 2, 300]),
        }
    }

    #[test]
    fn outputs_survive_the_round_trip() {
        let told = outputs_from(whole()).unwrap();
        assert_eq!(told.outputs, [(1, 1), (0, 2), (1, 300)]);
        let holder = |worker, address: &str, host, directory: &str| Holder {
            worker: WorkerId(worker),
            shuffle_address: address.into(),
            host,
            directory: directory.into(),
        };
        assert_eq!(told.holders, [holder(4, "a:1", 2, ""), holder(7, "b:1", 1, "/b")]);
        let change = v1::MapOutputs { since: Some(1), tasks: vec![4, 5, 9], ..whole() };
        assert_eq!(outputs_from(change).unwrap().tasks, [4, 5, 9]);
    }

    #[test]
    fn malformed_outputs_are_refused() {
        let spoil: [fn(&mut v1::MapOutputs); 8] = [
            |told| told.holder_planes = planes(&[1, 0, 2]),
            |told| told.holder_planes = planes(&[1, 0]),
            |told| told.attempt_planes.push(vec![1].into()),
            |told| told.hosts.truncate(1),
            |told| told.addresses.clear(),
            |told| told.directories.truncate(1),
            |told| told.since = Some(1),
            |told| told.tasks = vec![1, 1],
        ];
        for (number, spoil) in spoil.iter().enumerate() {
            let mut told = whole();
            spoil(&mut told);
            assert!(outputs_from(told).is_err(), "{number}");
        }
    }
}
