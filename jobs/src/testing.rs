//! For unit tests of mappers, reducers and jobs: runs them in memory, without files, threads or a
//! cluster.
//!
//! A mapper can be tested without this module: a `Vec` serves as its emitter, see
//! [`Mapper`](crate::Mapper).

use std::ops::Range;

use crate::collect::{
    BufferBatches, Collected, Collector, CollectorSetup, RecordBuffer, Unlimited,
};
use crate::error::Result;
use crate::failure::FailureCause;
use crate::input::{Chunk, FileReader, FoundUnits, Framing, Units};
use crate::job::Job;
use crate::key::Key;
use crate::output::PartInfo;
use crate::pairs::{Groups, RecordRef};
use crate::program::{PartSink, Program};
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
pub fn run<C: AsRef<[u8]>>(
    job: &Job,
    params: &str,
    inputs: &[(&str, C)],
) -> Result<String, FailureCause> {
    run_inputs(job, params, &[inputs])
}

/// The output of a job of several inputs: like [`run`], with the files of each input.
pub fn run_inputs<C: AsRef<[u8]>>(
    job: &Job,
    params: &str,
    inputs: &[&[(&str, C)]],
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
        let format = program.input_format(input);
        // Empty files have no number, as in the plan of a job.
        let files = files.iter().map(|(file, content)| (*file, content.as_ref()));
        for (number, (file, content)) in (0..).zip(files.filter(|(_, bytes)| !bytes.is_empty())) {
            if format.framing == Framing::Units {
                map_units(&*program, &mut *collector, input, (file, number), content)?;
                continue;
            }
            let mut chunk = Chunk::new(file, content);
            chunk.file_number = number;
            if format.has_header {
                let first = content.split(|byte| *byte == b'\n').next().unwrap_or_default();
                chunk.header = first.strip_suffix(b"\r").unwrap_or(first);
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

/// Maps the units of a file.
fn map_units(
    program: &dyn Program,
    collector: &mut dyn Collector,
    input: u32,
    (name, number): (&str, u32),
    content: &[u8],
) -> Result<(), FailureCause> {
    let bytes = content.len() as u64;
    // What is read lies within the file.
    let at = |range: &Range<u64>| &content[range.start as usize..range.end as usize];
    let read = |buffer: &mut [u8], offset: u64| {
        buffer.copy_from_slice(at(&(offset..offset + buffer.len() as u64)));
        Ok(())
    };
    let file = FileReader::new(name, bytes, u64::MAX, &read);
    let units = Units::new(0..bytes, bytes, u64::MAX, usize::MAX);
    let FoundUnits { units, header } = program.find_units(input, &file, units)?;
    for unit in units {
        let records = unit.reads().iter().map(at).collect::<Vec<_>>().concat();
        let mut chunk = Chunk::new(name, &records);
        (chunk.file_number, chunk.offset) = (number, unit.range().start);
        (chunk.header, chunk.unit) = (&header, unit.descriptor());
        collector.map_chunk(&chunk, &mut Unlimited)?;
    }
    Ok(())
}

/// A part in memory.
struct Part(Vec<u8>);

impl PartSink for Part {
    fn write(&mut self, bytes: &[u8]) -> Result<(), FailureCause> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}
