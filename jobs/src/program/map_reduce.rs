//! A job with a reducer.

use std::sync::Arc;

use super::batch::{PartSink, RecordBatches, RecordSink};
use super::combine_step::CombineStep;
use super::groups::Groups;
use super::part_emitter::PartEmitter;
use super::{Program, ReduceSummary, panic};
use crate::collect::Collector;
use crate::error::Result;
use crate::failure::FailureCause;
use crate::input::{Format, Framing};
use crate::key::Key;
use crate::mapper::Mapper;
use crate::partitioner::Partitioner;
use crate::reducer::Reducer;
use crate::value::Value;

/// Mapper, combine step, partitioner and reducer.
pub(crate) struct MapReduce<M, C, P, R> {
    pub(crate) mapper: Arc<M>,
    pub(crate) combine_step: C,
    pub(crate) partitioner: Arc<P>,
    pub(crate) reducer: R,
}

impl<M, C, P, R> Program for MapReduce<M, C, P, R>
where
    M: Mapper,
    C: CombineStep<M::Value>,
    P: Partitioner,
    R: Reducer<M::Key, M::Value>,
{
    fn framing(&self) -> Framing {
        M::Input::default().framing()
    }

    fn is_map_only(&self) -> bool {
        false
    }

    fn has_combiner(&self) -> bool {
        C::COMBINES
    }

    fn collector(self: Arc<Self>, partitions: u32) -> Box<dyn Collector> {
        let (mapper, partitioner) = (Arc::clone(&self.mapper), Arc::clone(&self.partitioner));
        self.combine_step.collector(mapper, partitioner, partitions)
    }

    fn combine(
        &self,
        input: &mut dyn RecordBatches,
        output: &mut dyn RecordSink,
    ) -> Result<(), FailureCause> {
        self.combine_step.combine::<M::Key>(input, output)
    }

    fn reduce(
        &self,
        input: &mut dyn RecordBatches,
        output: &mut dyn PartSink,
    ) -> Result<ReduceSummary, FailureCause> {
        let mut groups = Groups::new(input);
        let mut out = PartEmitter::new(output);
        let outcome = panic::guard(|| reduce_groups(&self.reducer, &mut groups, &mut out));
        if let Some(cause) = groups.take_failure().or_else(|| out.take_failure()) {
            return Err(cause);
        }
        panic::settle(outcome, || groups.place::<M::Key>())?;
        let (output_records, counters) = out.finish()?;
        Ok(ReduceSummary {
            input_records: groups.records(),
            groups: groups.count(),
            output_records,
            counters,
        })
    }
}

fn reduce_groups<K, V, R>(
    reducer: &R,
    groups: &mut Groups<'_>,
    out: &mut PartEmitter<'_>,
) -> Result<()>
where
    K: Key + ?Sized,
    V: Value + ?Sized,
    R: Reducer<K, V>,
{
    while groups.next_group()? {
        let (key, mut values) = groups.current();
        reducer.reduce(K::decode(key)?, &mut values, out)?;
    }
    Ok(())
}
