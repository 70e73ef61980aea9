//! Requests as a worker passes them to the process of their job: as the same orders that it got
//! itself.

use windrow_jobs::{AttemptId, BadRecordBudget, InputRange, JobId, Version};
use windrow_proto::v1;
use windrow_proto::v1::coordinator_message::Message;

use super::failure::poison_to;
use super::{attempt_to, compression_to};
use crate::model::{JobContext, RunRequest, Work};

/// The order to run an attempt. Its job's context must have been sent before, and the outputs that
/// a reduce attempt reads, as `outputs_version`.
pub(crate) fn run_to(request: &RunRequest, outputs_version: u64) -> v1::CoordinatorMessage {
    let attempt = Some(attempt_to(request.attempt));
    let alone = request.alone;
    let skip = request.skip.iter().cloned().map(poison_to).collect();
    order(match &request.work {
        Work::Map { input, ranges } => {
            let ranges = ranges.iter().map(range_to).collect();
            Message::AssignMap(v1::AssignMap { attempt, ranges, input: *input, alone, skip })
        }
        Work::Reduce(_) => {
            Message::AssignReduce(v1::AssignReduce { attempt, outputs_version, alone, skip })
        }
    })
}

/// The order to cancel an attempt.
pub(crate) fn cancel_to(attempt: AttemptId) -> v1::CoordinatorMessage {
    order(Message::CancelAttempt(v1::CancelAttempt { attempt: Some(attempt_to(attempt)) }))
}

fn order(message: Message) -> v1::CoordinatorMessage {
    v1::CoordinatorMessage { message: Some(message) }
}

/// The part of the context that a process of the job needs; it was started with the rest.
pub(crate) fn context_to(job: JobId, context: &JobContext) -> v1::CoordinatorMessage {
    order(Message::JobContext(v1::JobContext {
        id: job.0,
        identity: context.identity.to_bytes().to_vec().into(),
        job: context.job.clone(),
        params: context.params.clone(),
        lossy: context.lossy,
        threads: context.threads,
        memory_bytes: context.memory_bytes,
        fan_in: context.fan_in,
        partitions: context.partitions,
        staging: context.staging.to_string(),
        record_bytes_max: context.record_bytes_max,
        compression: compression_to(context.compression).into(),
        skip_bad_records: context.skip_bad_records.map(budget_to),
        program: None,
        files: Vec::new(),
        writable: Vec::new(),
    }))
}

/// The split points of a job; `None` for a job with one partition, or without order.
pub(crate) fn split_points_to(job: JobId, context: &JobContext) -> Option<v1::CoordinatorMessage> {
    let points = context.split_points.iter();
    let point = |(key, value): (&[u8], &[u8])| v1::SplitPoint {
        key: key.to_vec().into(),
        value: value.to_vec().into(),
    };
    let points: Vec<_> = points.map(point).collect();
    let message = v1::JobSplitPoints { job: job.0, points };
    (!message.points.is_empty()).then(|| order(Message::SplitPoints(message)))
}

fn budget_to(budget: BadRecordBudget) -> v1::BadRecordBudget {
    use v1::bad_record_budget::Budget;
    let budget = match budget {
        BadRecordBudget::Records(most) => Budget::Records(most),
        BadRecordBudget::Share(share) => Budget::Share(share.get()),
    };
    v1::BadRecordBudget { budget: Some(budget) }
}

fn range_to(range: &InputRange) -> v1::InputRange {
    use v1::input_range::Version as Told;
    v1::InputRange {
        location: range.location.to_string(),
        start: range.range.start,
        end: range.range.end,
        file_bytes: range.version.bytes(),
        version: Some(match &range.version {
            Version::Local { modified_unix_ns, .. } => Told::ModifiedUnixNs(*modified_unix_ns),
            Version::Object { etag, .. } => Told::Etag(etag.to_string()),
        }),
        file_number: range.file_number,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use windrow_jobs::partitioning::SplitPoints;
    use windrow_jobs::{
        BadRecord, Compression, JobExecutable, JobIdentity, RecordPlace, Share, StageId, TaskId,
        WorkerId,
    };

    use super::*;
    use crate::model::WorkerOutputs;
    use crate::wire::{AnnouncedJob, Reader};
    use crate::wire::{Order, order_from, outputs_to};

    fn request(stage: StageId, work: Work) -> RunRequest {
        let task = TaskId { job: JobId(7), stage, index: 3 };
        let points = [(vec![1], vec![2]), (vec![1], vec![2]), (vec![9, 9], vec![])];
        let context = JobContext {
            identity: JobIdentity(u128::MAX - 5),
            job: "sort".into(),
            params: "{\"a\":1}".into(),
            lossy: true,
            record_bytes_max: 17,
            skip_bad_records: Some(BadRecordBudget::Share(Share::new(0.25).unwrap())),
            compression: Some(Compression::Zstd),
            threads: Some(3),
            memory_bytes: Some(1 << 20),
            fan_in: Some(9),
            partitions: 4,
            split_points: Arc::new(SplitPoints::new(points)),
            staging: "/out/_temporary".parse().unwrap(),
            program: JobExecutable::default(),
            files: Vec::new(),
            writable: Vec::new(),
        };
        let place = RecordPlace::in_file("/in/a").at(4);
        let skip = vec![BadRecord { place, message: "it kills".into(), record: None }];
        let attempt = AttemptId { task, number: 2 };
        RunRequest { attempt, context: context.into(), work, alone: true, skip }
    }

    /// What a process of the job decodes from these orders.
    fn passed_on(orders: impl IntoIterator<Item = v1::CoordinatorMessage>) -> RunRequest {
        let mut job = AnnouncedJob::default();
        let reader = Reader { host_number: 1, host: "here".into(), ..Reader::default() };
        for message in orders {
            match order_from(message).unwrap() {
                Order::Context(JobId(7), context) => job.take_context(*context).unwrap(),
                Order::SplitPoints(JobId(7), points) => job.take_split_points(points),
                Order::Outputs(outputs) => job.take_outputs(outputs, &reader).unwrap(),
                Order::Map(order) => return job.map(order).unwrap(),
                Order::Reduce(order) => return job.reduce(order).unwrap(),
                other => panic!("{other:?}"),
            }
        }
        panic!("no attempt");
    }

    #[test]
    fn a_map_request_survives_the_round_trip() {
        let range = |location: &str, version| InputRange {
            location: location.parse().unwrap(),
            file_number: 5,
            range: 1..9,
            version,
        };
        let ranges = vec![
            range("/in/a", Version::Local { bytes: 10, modified_unix_ns: 11 }),
            range("s3://bucket/a//b", Version::Object { bytes: 10, etag: "\"e\"".into() }),
        ];
        let sent = request(StageId::MAP, Work::Map { input: 1, ranges: ranges.clone() });
        let context = context_to(JobId(7), &sent.context);
        let points = split_points_to(JobId(7), &sent.context).unwrap();
        for order in [[points.clone(), context.clone()], [context, points]] {
            let run = passed_on(order.into_iter().chain([run_to(&sent, 0)]));
            assert_eq!((run.attempt, &run.context), (sent.attempt, &sent.context));
            assert_eq!((run.alone, &run.skip), (true, &sent.skip));
            assert!(matches!(run.work, Work::Map { input: 1, ranges: told } if told == ranges));
        }
    }

    #[test]
    fn a_reduce_request_survives_the_round_trip_after_its_outputs() {
        let outputs = |worker, host: &str, outputs| WorkerOutputs {
            worker: WorkerId(worker),
            shuffle_address: "a:1".into(),
            host: host.into(),
            directory: "/w".into(),
            outputs,
        };
        let all = vec![outputs(4, "here", vec![(0, 1), (2, 2)]), outputs(9, "", vec![(1, 1)])];
        let sent = request(StageId::REDUCE, Work::Reduce(Arc::new(all.clone())));
        let context = context_to(JobId(7), &sent.context);
        let run = passed_on([context, outputs_to(JobId(7), 3, &all), run_to(&sent, 3)]);
        assert_eq!((run.attempt, run.alone, run.skip), (sent.attempt, true, sent.skip));
        assert!(matches!(run.work, Work::Reduce(heard) if *heard == all));
        let cancel = order_from(cancel_to(sent.attempt));
        assert!(matches!(cancel, Ok(Order::Cancel(id)) if id == sent.attempt));
    }
}
