//! A job that only sorts its pairs.

use std::sync::Arc;

use super::combine_step::{CombineStep, NotCombined};
use super::map_side::InputFormat;
use super::part_emitter::PartEmitter;
use super::part_sink::PartSink;
use super::units::find_units;
use super::{Program, ReduceSummary};
use crate::collect::{Collector, CollectorSetup};
use crate::emit::Emit;
use crate::error::Result;
use crate::failure::{FailureCause, RecordPlace};
use crate::grouping::{GroupingOf, WholeKey};
use crate::input::{FileReader, FoundUnits, Units};
use crate::key::Key;
use crate::mapper::Mapper;
use crate::output::{Output, PartInfo};
use crate::pairs::{RecordBatches, RecordSink};
use crate::partitioning::{Partitioning, RouteMaker};
use crate::user_code::panic;
use crate::value::Value;

/// Mapper, partitions and output. There are no groups: pairs go directly from the merge to the
/// part.
pub(crate) struct Sorted<M, P, O> {
    pub(crate) mapper: Arc<M>,
    pub(crate) routes: Arc<P>,
    pub(crate) output: O,
}

impl<M, P, O> Program for Sorted<M, P, O>
where
    M: Mapper,
    P: RouteMaker,
    O: Output<M::Key, M::Value>,
{
    fn input_names(&self) -> Vec<&str> {
        Vec::new()
    }

    fn input_format(&self, _input: u32) -> InputFormat {
        InputFormat::of(&*self.mapper)
    }

    fn find_units(
        &self,
        _input: u32,
        file: &FileReader<'_>,
        units: Units,
    ) -> Result<FoundUnits, FailureCause> {
        find_units(&self.mapper.format(), file, units)
    }

    fn is_map_only(&self) -> bool {
        false
    }

    fn has_combiner(&self) -> bool {
        false
    }

    fn partitioning(&self) -> Partitioning {
        P::partitioning(false)
    }

    fn extension(&self) -> &str {
        self.output.extension()
    }

    fn collector(self: Arc<Self>, setup: &CollectorSetup) -> Box<dyn Collector> {
        let route =
            self.routes.make::<GroupingOf<M::Key, WholeKey>>(setup.partitions, &setup.split_points);
        let mapper = Arc::clone(&self.mapper);
        CombineStep::<M::Value>::collector(&NotCombined, mapper, setup, route)
    }

    fn combine(
        &self,
        input: &mut dyn RecordBatches,
        output: &mut dyn RecordSink,
    ) -> Result<(), FailureCause> {
        CombineStep::<M::Value>::combine::<M::Key>(&NotCombined, input, output)
    }

    fn reduce(
        &self,
        part: PartInfo,
        input: &mut dyn RecordBatches,
        sink: &mut dyn PartSink,
    ) -> Result<ReduceSummary, FailureCause> {
        let mut out = PartEmitter::<M::Key, M::Value, O>::new(sink, &self.output, part)?;
        let mut records = 0;
        while let Some(batch) = input.next_batch()? {
            records += batch.len() as u64;
            let outcome = panic::guard(|| -> Result<()> {
                for record in batch {
                    let (key, value) =
                        (M::Key::decode(record.key)?, M::Value::decode(record.value)?);
                    Emit::<M::Key, M::Value>::emit(
                        &mut out,
                        M::Key::view(&key),
                        M::Value::view(&value),
                    )?;
                }
                Ok(())
            });
            if let Some(cause) = out.take_failure() {
                return Err(cause);
            }
            panic::settle(outcome, RecordPlace::default)?;
        }
        let (output_records, counters) = out.finish()?;
        Ok(ReduceSummary { input_records: records, groups: records, output_records, counters })
    }
}
