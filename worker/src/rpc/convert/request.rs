//! Requests as a worker passes them on to the process of their job: the same orders that it was given itself.

use windrow_jobs::{AttemptId, BadRecordBudget, JobId};
use windrow_proto::v1;
use windrow_proto::v1::coordinator_message::Message;

use super::{attempt_to, compression_to, deadly_to};
use crate::executor::{FileRange, JobContext, RunRequest, Work, WorkerOutputs};

/// The order to run an attempt. The outputs that a reduce attempt reads must have been sent before, as `outputs_version`.
pub(crate) fn run_to(request: &RunRequest, outputs_version: u64) -> v1::CoordinatorMessage {
    let attempt = Some(attempt_to(request.attempt));
    let context = Some(context_to(&request.context));
    let alone = request.alone;
    let skip = request.skip.iter().cloned().map(deadly_to).collect();
    order(match &request.work {
        Work::Map { input, ranges } => {
            let ranges = ranges.iter().map(range_to).collect();
            let input = *input;
            Message::AssignMap(v1::AssignMap { attempt, context, ranges, input, alone, skip })
        }
        Work::Reduce(_) => {
            let assign = v1::AssignReduce { attempt, context, outputs_version, alone, skip };
            Message::AssignReduce(assign)
        }
    })
}

/// Where a job's map outputs lie.
pub(crate) fn outputs_to(
    job: JobId,
    version: u64,
    outputs: &[WorkerOutputs],
) -> v1::CoordinatorMessage {
    let workers = outputs.iter().map(worker_outputs_to).collect();
    order(Message::MapOutputs(v1::MapOutputs { job: job.0, version, workers }))
}

/// The order to stop an attempt.
pub(crate) fn cancel_to(attempt: AttemptId) -> v1::CoordinatorMessage {
    order(Message::CancelAttempt(v1::CancelAttempt { attempt: Some(attempt_to(attempt)) }))
}

fn order(message: Message) -> v1::CoordinatorMessage {
    v1::CoordinatorMessage { message: Some(message) }
}

/// What a process of the job needs of it: what it is started from, and bound by, it has been started with.
fn context_to(context: &JobContext) -> v1::JobContext {
    let points = context.split_points.iter();
    let point = |(key, value): (&[u8], &[u8])| v1::SplitPoint {
        key: key.to_vec().into(),
        value: value.to_vec().into(),
    };
    v1::JobContext {
        job: context.job.clone(),
        params: context.params.clone(),
        lossy: context.lossy,
        threads: context.threads,
        memory_bytes: context.memory_bytes,
        fan_in: context.fan_in,
        partitions: context.partitions,
        staging: context.staging.display().to_string(),
        split_points: points.map(point).collect(),
        record_bytes_max: context.record_bytes_max,
        compression: compression_to(context.compression).into(),
        skip_bad_records: context.skip_bad_records.map(budget_to),
        program: None,
        files: Vec::new(),
        writable: Vec::new(),
    }
}

fn budget_to(budget: BadRecordBudget) -> v1::BadRecordBudget {
    use v1::bad_record_budget::Budget;
    let budget = match budget {
        BadRecordBudget::Records(most) => Budget::Records(most),
        BadRecordBudget::Share(share) => Budget::Share(share.get()),
    };
    v1::BadRecordBudget { budget: Some(budget) }
}

fn range_to(range: &FileRange) -> v1::FileRange {
    v1::FileRange {
        path: range.path.display().to_string(),
        start: range.start,
        end: range.end,
        file_bytes: range.file_bytes,
        modified_unix_ns: range.modified_unix_ns,
        file_number: range.file_number,
    }
}

fn worker_outputs_to(outputs: &WorkerOutputs) -> v1::WorkerOutputs {
    let output = |&(task, attempt): &(u32, u32)| v1::MapOutput { task, attempt };
    v1::WorkerOutputs {
        worker: outputs.worker.0,
        shuffle_address: outputs.shuffle_address.clone(),
        host: outputs.host.clone(),
        directory: outputs.directory.display().to_string(),
        outputs: outputs.outputs.iter().map(output).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use windrow_jobs::program::SplitPoints;
    use windrow_jobs::{BadRecord, Compression, JobProgram, Place, Share, Stage, TaskId, WorkerId};

    use super::*;
    use crate::rpc::convert::{Order, order_from};

    fn request(stage: Stage, work: Work) -> RunRequest {
        let task = TaskId { job: JobId(7), stage, index: 3 };
        let points = [(vec![1], vec![2]), (vec![1], vec![2]), (vec![9, 9], vec![])];
        let context = JobContext {
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
            staging: "/out/_temporary".into(),
            program: JobProgram::default(),
            files: Vec::new(),
            writable: Vec::new(),
        };
        let place = Place { file: "/in/a".into(), offset: Some(4), ..Place::default() };
        let skip = vec![BadRecord { place, message: "it kills".into(), record: None }];
        let attempt = AttemptId { task, number: 2 };
        RunRequest { attempt, context: context.into(), work, alone: true, skip }
    }

    #[test]
    fn a_map_attempt_is_passed_on_whole() {
        let range = FileRange {
            path: "/in/a".into(),
            file_number: 5,
            start: 1,
            end: 9,
            file_bytes: 10,
            modified_unix_ns: 11,
        };
        let sent = request(Stage::Map, Work::Map { input: 1, ranges: vec![range.clone()] });
        let Ok(Order::Run(run)) = order_from(run_to(&sent, 0)) else { panic!("no map") };
        assert_eq!((run.attempt, &run.context), (sent.attempt, &sent.context));
        assert_eq!((run.alone, &run.skip), (true, &sent.skip));
        assert!(matches!(run.work, Work::Map { input: 1, ranges } if ranges == [range]));
    }

    #[test]
    fn a_reduce_attempt_follows_its_outputs() {
        let outputs = WorkerOutputs {
            worker: WorkerId(4),
            shuffle_address: "a:1".into(),
            host: "a".into(),
            directory: "/w".into(),
            outputs: vec![(0, 1), (5, 2)],
        };
        let Ok(Order::Outputs { job, version, outputs: passed_on }) =
            order_from(outputs_to(JobId(7), 3, std::slice::from_ref(&outputs)))
        else {
            panic!("no outputs")
        };
        assert_eq!((job, version, passed_on), (JobId(7), 3, vec![outputs]));
        let sent = request(Stage::Reduce, Work::Reduce(Arc::default()));
        let Ok(Order::Reduce { attempt, context, outputs_version, alone, skip }) =
            order_from(run_to(&sent, 3))
        else {
            panic!("no reduce")
        };
        assert_eq!((attempt, context, outputs_version), (sent.attempt, sent.context, 3));
        assert_eq!((alone, skip), (true, sent.skip));
        assert!(matches!(order_from(cancel_to(attempt)), Ok(Order::Cancel(id)) if id == attempt));
    }
}
