//! For unit tests of mappers, reducers and jobs: runs them in memory, without files, threads or a
//! cluster.
//!
//! A mapper can be tested without this module: a `Vec` serves as its emitter, see
//! [`Mapper`](crate::Mapper).

use crate::collect::{BufferBatches, Collected, CollectorSetup, RecordBuffer, Unlimited};
use crate::error::Result;
use crate::failure::FailureCause;
use crate::input::Chunk;
use crate::job::Job;
use crate::key::Key;
use crate::output::PartInfo;
use crate::pairs::{Groups, RecordRef};
use crate::program::PartSink;
use crate::reducer::Reducer;
use crate::value::Value;

/// The pairs that a reducer emits, owned.
pub type Reduced<R, K, V> = Vec<(
    <<R as Reducer<K, V>>::OutputKey as Key>::Owned,
    <<R as Reducer<K, V>>::OutputValue as Value>::Owned,
)>;

/// The output of `reducer` for one group. The values pass through the engine's encoding and order.
///
/// ```
/// use windrow_jobs::prelude::*;
/// use windrow_jobs::testing;
///
/// // A ready reducer takes many types, so say which; one of your own needs no types here.
/// let pairs = testing::reduce::<str, u64, _>(&Sum, "rye", [1, 2, 3])?;
/// assert_eq!(pairs, [("rye".to_string(), 6)]);
/// # Ok::<(), Error>(())
/// ```
pub fn reduce<'a, K, V, R>(
    reducer: &R,
    key: K::Ref<'a>,
    values: impl IntoIterator<Item = V::Ref<'a>>,
) -> Result<Reduced<R, K, V>>
where
    K: Key + ?Sized,
    V: Value + ?Sized,
    R: Reducer<K, V>,
{
    let mut buffer = RecordBuffer::new(1);
    let (mut key_bytes, mut value_bytes) = (Vec::new(), Vec::new());
    for value in values {
        let (key, value) = (K::encoded(key, &mut key_bytes), V::encoded(value, &mut value_bytes)?);
        buffer.push(0, RecordRef { key, value })?;
    }
    buffer.sort();
    let mut batches = BufferBatches::new(&buffer, 0);
    let mut groups = Groups::new(&mut batches, false);
    let mut out = Vec::new();
    while groups.next_group(|key| Ok(key.len()))? {
        let (key, mut values) = groups.current();
        reducer.reduce(K::decode(key)?, &mut values, &mut out)?;
    }
    Ok(out)
}

/// The output of `job`, with one reducer, on inputs given as (file name, content). `params` are the
/// job's parameters as JSON, `"{}"` for none.
///
/// ```
/// use windrow_jobs::{ready, testing};
///
/// let text = testing::run(&ready::word_count(), "{}", &[("a.txt", "hay oats\nhay")])?;
/// assert_eq!(text, "hay\t2\noats\t1\n");
/// # Ok::<(), windrow_jobs::FailureCause>(())
/// ```
pub fn run(job: &Job, params: &str, inputs: &[(&str, &str)]) -> Result<String, FailureCause> {
    run_inputs(job, params, &[inputs])
}

/// The output of a job of several inputs: like [`run`], with the files of each input.
pub fn run_inputs(
    job: &Job,
    params: &str,
    inputs: &[&[(&str, &str)]],
) -> Result<String, FailureCause> {
    let program = job
        .build(params)
        .map_err(|error| FailureCause::Unsupported { message: error.message().to_string() })?;
    let partitions = u32::from(!program.is_map_only());
    let info = PartInfo::new(0);
    let mut part = Part(Vec::new());
    let mut frame = program.begin_part(info, &mut part)?;
    let mut pairs = Vec::new();
    for (input, files) in (0..).zip(inputs) {
        let setup = CollectorSetup { partitions, input, ..CollectorSetup::default() };
        let mut collector = program.clone().collector(&setup);
        let has_header = program.input_format(input).has_header;
        // Empty files have no number, as in the plan of a job.
        let files = files.iter().filter(|(_, content)| !content.is_empty());
        for (number, (file, content)) in (0..).zip(files) {
            let mut chunk = Chunk::new(file, content.as_bytes());
            chunk.file_number = number;
            if has_header {
                chunk.header = content.lines().next().unwrap_or_default().as_bytes();
            }
            collector.map_chunk(&chunk, &mut Unlimited)?;
        }
        match collector.take()? {
            Collected::Output { bytes, sections, .. } => {
                part.write(&bytes)?;
                frame.append(sections)?;
            }
            Collected::Pairs(buffer) => pairs.push(buffer),
        }
    }
    if !program.is_map_only() {
        let mut pairs = RecordBuffer::merge(pairs);
        pairs.sort();
        program.reduce(info, &mut BufferBatches::new(&pairs, 0), &mut part)?;
    }
    frame.finish(&mut part)?;
    Ok(String::from_utf8_lossy(&part.0).into_owned())
}

/// A part in memory.
struct Part(Vec<u8>);

impl PartSink for Part {
    fn write(&mut self, bytes: &[u8]) -> Result<(), FailureCause> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}
