//! A job with a reducer.

use std::marker::PhantomData;
use std::sync::Arc;

use super::batch::{PartSink, RecordBatches, RecordSink};
use super::groups::Groups;
use super::map_side::{InputFormat, MapSide};
use super::part_emitter::PartEmitter;
use super::route::RouteMaker;
use super::{CollectorSetup, Partitioning, Program, ReduceSummary, panic};
use crate::collect::Collector;
use crate::emit::Emit;
use crate::error::Result;
use crate::failure::FailureCause;
use crate::grouping::{Grouping, GroupingOf};
use crate::output::Output;
use crate::reducer::Reducer;

/// Map side, partitions, groups, reducer and output.
pub(crate) struct MapReduce<I, P, G, R, O> {
    pub(crate) map_side: I,
    pub(crate) routes: Arc<P>,
    pub(crate) grouping: PhantomData<fn(&G)>,
    pub(crate) reducer: R,
    pub(crate) output: O,
}

impl<I, P, G, R, O> Program for MapReduce<I, P, G, R, O>
where
    I: MapSide,
    P: RouteMaker,
    G: Grouping<I::Key>,
    R: Reducer<G::Group, I::Value>,
    O: Output<R::OutputKey, R::OutputValue>,
{
    fn input_names(&self) -> Vec<&str> {
        self.map_side.input_names()
    }

    fn input_format(&self, input: u32) -> InputFormat {
        self.map_side.input_format(input)
    }

    fn is_map_only(&self) -> bool {
        false
    }

    fn has_combiner(&self) -> bool {
        I::COMBINES
    }

    fn partitioning(&self) -> Partitioning {
        P::partitioning(true)
    }

    fn collector(self: Arc<Self>, setup: &CollectorSetup) -> Box<dyn Collector> {
        let route = self.routes.make::<GroupingOf<I::Key, G>>(setup);
        self.map_side.collector(setup, route)
    }

    fn combine(
        &self,
        input: &mut dyn RecordBatches,
        output: &mut dyn RecordSink,
    ) -> Result<(), FailureCause> {
        self.map_side.combine(input, output)
    }

    fn reduce(
        &self,
        input: &mut dyn RecordBatches,
        output: &mut dyn PartSink,
    ) -> Result<ReduceSummary, FailureCause> {
        let mut groups = Groups::new(input, !G::WHOLE_KEY);
        let mut out = PartEmitter::new(output, &self.output);
        let outcome =
            panic::guard(|| reduce_groups::<I, G, R>(&self.reducer, &mut groups, &mut out));
        if let Some(cause) = groups.take_failure().or_else(|| out.take_failure()) {
            return Err(cause);
        }
        panic::settle(outcome, || groups.place::<G::Group>(|prefix| G::decode(prefix)))?;
        let (output_records, counters) = out.finish()?;
        Ok(ReduceSummary {
            input_records: groups.records(),
            groups: groups.count(),
            output_records,
            counters,
        })
    }
}

fn reduce_groups<I, G, R>(
    reducer: &R,
    groups: &mut Groups<'_>,
    out: &mut impl Emit<R::OutputKey, R::OutputValue>,
) -> Result<()>
where
    I: MapSide,
    G: Grouping<I::Key>,
    R: Reducer<G::Group, I::Value>,
{
    while groups.next_group(G::prefix_bytes)? {
        let (key, mut values) = groups.current();
        reducer.reduce(G::decode(key)?, &mut values, out)?;
    }
    Ok(())
}
