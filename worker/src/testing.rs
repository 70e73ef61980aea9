//! Helpers for the tests of several modules: jobs written by hand against the engine's side of
//! the contract, so that they can misbehave in ways that typed jobs cannot, and inputs for them.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;
use tonic::transport::{Channel, Endpoint, Server};
use windrow_jobs::collect::{
    Collected, Collector, CollectorSetup, MemoryBudget, RecordBuffer, Sections,
};
use windrow_jobs::fan_in::merge_bytes;
use windrow_jobs::input::{Chunk, Framing};
use windrow_jobs::output::PartInfo;
use windrow_jobs::pairs::{RecordBatches, RecordRef, RecordSink};
use windrow_jobs::partitioning::Partitioning;
use windrow_jobs::program::{InputFormat, PartSink, Program, ReduceSummary};
use windrow_jobs::user_code::BadRecordPolicy;
use windrow_jobs::{
    AttemptId, Audit, Counters, FailureCause, HashPartitioner, InputRange, JobId, JobIdentity,
    Location, Partitioner, StageId, TaskId, Version, hash_key,
};

use crate::memory::Account;
use crate::model::JobContext;
use crate::shuffle::block::Codec;
use crate::shuffle::segment::{Owner, SegmentWriter};
use crate::shuffle::spill::Scratch;
use crate::shuffle::store::SegmentStore;
use crate::task::Attempt;
use crate::task::Cores;

/// The identity of the one job of all tests.
pub const IDENTITY: JobIdentity = JobIdentity(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);

/// The owner of the output of an attempt at one of its maps.
pub fn owner(task: u32, attempt: u32) -> Owner {
    Owner { job: IDENTITY, stage: StageId::MAP, task, attempt }
}

/// A range of a file as it is now.
pub fn file_range(path: &Path, start: u64, end: u64) -> InputRange {
    let metadata = std::fs::metadata(path).unwrap();
    InputRange {
        location: Location::of_path(path).unwrap(),
        file_number: 0,
        range: start..end,
        version: Version::of_file(&metadata).unwrap(),
    }
}

/// All of a file.
pub fn whole_file(path: &Path) -> InputRange {
    file_range(path, 0, std::fs::metadata(path).unwrap().len())
}

/// The context of the one job of all tests.
pub fn context() -> JobContext {
    JobContext {
        identity: IDENTITY,
        job: "words".into(),
        params: "{}".into(),
        lossy: false,
        record_bytes_max: 64 << 20,
        compression: None,
        skip_bad_records: None,
        threads: None,
        memory_bytes: None,
        fan_in: None,
        partitions: 1,
        staging: "/out/_temporary".parse().unwrap(),
        program: windrow_jobs::JobExecutable::default(),
        files: Vec::new(),
        writable: Vec::new(),
        split_points: Arc::default(),
    }
}

/// Appends a pair to a buffer.
pub fn push(buffer: &mut RecordBuffer, partition: u32, key: &[u8], value: &[u8]) {
    buffer.push(partition, RecordRef { key, value }).unwrap();
}

/// The audit of these pairs.
pub fn audit(pairs: &[(Vec<u8>, Vec<u8>)]) -> Audit {
    let mut audit = Audit::default();
    pairs.iter().for_each(|(key, value)| audit.add(key, value));
    audit
}

/// Writes a map output of job 1 with these pairs, sorted, in one partition.
pub fn leave_output(store: &SegmentStore, task: u32, partition: u32, pairs: &[(Vec<u8>, Vec<u8>)]) {
    let folder = store.folder(JobId(1), IDENTITY).unwrap();
    let segment =
        SegmentWriter::create(folder.scratch_path(), Codec::None, &owner(task, 1)).unwrap();
    let mut writer = segment.begin_run().partition(partition);
    for (key, value) in pairs {
        writer.push(RecordRef { key, value }).unwrap();
    }
    let index = writer.finish(audit(pairs)).unwrap();
    let (file, _) = segment.finish(vec![index]).unwrap();
    folder.publish(file, task, 1).unwrap().keep();
}

/// A channel to a server in this process, without a socket.
pub fn connect<S>(service: S) -> Channel
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
        + NamedService
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
{
    let (client, server) = tokio::io::duplex(1 << 20);
    let incoming = tokio_stream::once(Ok::<_, std::io::Error>(server));
    let serving = Server::builder().add_service(service).serve_with_incoming(
        // Without an end: the server would end with it.
        tokio_stream::StreamExt::chain(incoming, tokio_stream::pending()),
    );
    tokio::spawn(serving);
    let mut client = Some(TokioIo::new(client));
    let connector = tower::service_fn(move |_| {
        let client = client.take().ok_or_else(|| std::io::Error::other("connected before"));
        std::future::ready(client)
    });
    Endpoint::from_static("http://in-memory").connect_with_connector_lazy(connector)
}

/// An attempt of job 1.
pub fn attempt_id(stage: StageId, index: u32, number: u32) -> AttemptId {
    AttemptId { task: TaskId { job: JobId(1), stage, index }, number }
}

/// Counts words; with `is_map_only`, it writes each line in brackets instead.
#[derive(Clone, Copy, Default)]
pub struct Words {
    pub has_combiner: bool,
    pub is_map_only: bool,
}

struct WordCollector {
    program: Words,
    partitions: u32,
    pairs: RecordBuffer,
    text: Vec<u8>,
    lines: u64,
}

/// An attempt of a `Words` job, with `folder` for all its files.
pub fn attempt(
    words: Words,
    store: &Arc<SegmentStore>,
    staging: &Path,
    partitions: u32,
) -> Attempt {
    Attempt {
        id: attempt_id(StageId::MAP, 0, 1),
        context: Arc::new(JobContext {
            partitions,
            staging: Location::of_path(staging).unwrap(),
            ..context()
        }),
        program: Arc::new(words),
        bad_records: BadRecordPolicy::default(),
        progress: Arc::default(),
        scratch: Scratch {
            folder: store.folder(JobId(1), IDENTITY).unwrap(),
            owner: owner(0, 1),
            cancel: CancellationToken::new(),
            progress: Arc::default(),
            merge_bytes: merge_bytes(8),
            files_max: usize::MAX,
            codec: Codec::None,
        },
        memory: Account::new(1 << 30),
        pairs: Account::new(1 << 30),
        store: Arc::clone(store),
        outputs_on_disk: false,
        is_only_worker: false,
        large: Arc::default(),
        cores: Arc::new(Cores::new(4).lease(CancellationToken::new())),
        threads: 2,
    }
}

impl Program for Words {
    fn input_names(&self) -> Vec<&str> {
        Vec::new()
    }

    fn input_format(&self, _input: u32) -> InputFormat {
        InputFormat { framing: Framing::Lines, has_header: false }
    }

    fn partitioning(&self) -> Partitioning {
        Partitioning::ByKey
    }

    fn is_map_only(&self) -> bool {
        self.is_map_only
    }

    fn has_combiner(&self) -> bool {
        self.has_combiner
    }

    fn collector(self: Arc<Self>, setup: &CollectorSetup) -> Box<dyn Collector> {
        Box::new(WordCollector {
            program: *self,
            partitions: setup.partitions,
            pairs: RecordBuffer::new(setup.partitions),
            text: Vec::new(),
            lines: 0,
        })
    }

    fn combine(
        &self,
        input: &mut dyn RecordBatches,
        output: &mut dyn RecordSink,
    ) -> Result<(), FailureCause> {
        sum(input, |key, count| output.push(RecordRef { key, value: count.to_string().as_bytes() }))
            .map(|_| ())
    }

    fn reduce(
        &self,
        _part: PartInfo,
        input: &mut dyn RecordBatches,
        output: &mut dyn PartSink,
    ) -> Result<ReduceSummary, FailureCause> {
        let mut groups = 0;
        let input_records = sum(input, |key, count| {
            groups += 1;
            output.write(&[key, format!("\t{count}\n").as_bytes()].concat())
        })?;
        let counters = Counters::default();
        Ok(ReduceSummary { input_records, groups, output_records: groups, counters })
    }
}

/// Adds up the decimal values of each key, and returns the number of pairs.
fn sum(
    input: &mut dyn RecordBatches,
    mut each: impl FnMut(&[u8], u64) -> Result<(), FailureCause>,
) -> Result<u64, FailureCause> {
    let mut records = 0;
    let mut group: Option<(Vec<u8>, u64)> = None;
    while let Some(batch) = input.next_batch()? {
        for record in batch {
            records += 1;
            let count: u64 = std::str::from_utf8(record.value).unwrap().parse().unwrap();
            match &mut group {
                Some((key, sum)) if key == record.key => *sum += count,
                _ => {
                    if let Some((key, sum)) = group.replace((record.key.to_vec(), count)) {
                        each(&key, sum)?;
                    }
                }
            }
        }
    }
    if let Some((key, sum)) = group {
        each(&key, sum)?;
    }
    Ok(records)
}

impl WordCollector {
    fn take_pairs(&mut self) -> RecordBuffer {
        std::mem::replace(&mut self.pairs, RecordBuffer::new(self.partitions))
    }
}

impl Collector for WordCollector {
    fn map_chunk(
        &mut self,
        chunk: &Chunk<'_>,
        room: &mut dyn MemoryBudget,
    ) -> Result<u64, FailureCause> {
        let mut records = 0;
        for line in chunk.bytes.split_inclusive(|byte| *byte == b'\n') {
            records += 1;
            if self.program.is_map_only {
                self.lines += 1;
                self.text.extend_from_slice(&[b"[", line.trim_ascii_end(), b"]\n"].concat());
                continue;
            }
            for word in line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()) {
                let partition = HashPartitioner.partition(word, hash_key(word), self.partitions);
                push(&mut self.pairs, partition, word, b"1");
            }
        }
        if !room.grow(Collector::memory_bytes(self)) {
            self.pairs = room.spill(self.take_pairs())?;
        }
        Ok(records)
    }

    fn memory_bytes(&self) -> usize {
        self.pairs.memory_bytes() + self.text.capacity()
    }

    fn take(&mut self) -> Result<Collected, FailureCause> {
        Ok(if self.program.is_map_only {
            let records = std::mem::take(&mut self.lines);
            let bytes = std::mem::take(&mut self.text);
            Collected::Output { bytes, records, sections: Sections::none() }
        } else {
            Collected::Pairs(self.take_pairs())
        })
    }

    fn take_counters(&mut self) -> Counters {
        Counters::from_iter([("taken", 1)])
    }
}
