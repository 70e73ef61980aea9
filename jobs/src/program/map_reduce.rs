//! A job with a reducer.

use std::marker::PhantomData;
use std::sync::Arc;

use super::map_side::{InputFormat, MapSide};
use super::part_emitter::PartEmitter;
use super::part_sink::PartSink;
use super::{Program, ReduceSummary};
use crate::bad_records::BadRecord;
use crate::collect::{Collector, CollectorSetup};
use crate::error::Result;
use crate::failure::{FailureCause, RecordPlace};
use crate::grouping::{Grouping, GroupingOf};
use crate::input::{FileReader, FoundUnits, Units};
use crate::key::Key;
use crate::output::{Output, PartInfo};
use crate::pairs::{Groups, RecordBatches, RecordSink};
use crate::partitioning::{Partitioning, RouteMaker};
use crate::reducer::Reducer;
use crate::user_code::{BadRecordPolicy, panic};
use crate::value::Value;

/// The map side, partitions, groups, reducer and output of a job.
pub(crate) struct MapReduce<I, P, G, R, O> {
    pub(crate) map_side: I,
    pub(crate) routes: Arc<P>,
    pub(crate) grouping: PhantomData<fn(&G)>,
    pub(crate) reducer: R,
    pub(crate) output: O,
}

/// The emitter of reducer `R`, which reads the groups `G` of the pairs of `I`.
type Emitter<'s, R, G, I, O> = PartEmitter<'s, OutputKey<R, G, I>, OutputValue<R, G, I>, O>;
type OutputKey<R, G, I> =
    <R as Reducer<<G as Grouping<<I as MapSide>::Key>>::Group, <I as MapSide>::Value>>::OutputKey;
type OutputValue<R, G, I> =
    <R as Reducer<<G as Grouping<<I as MapSide>::Key>>::Group, <I as MapSide>::Value>>::OutputValue;

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

    fn find_units(
        &self,
        input: u32,
        file: &FileReader<'_>,
        units: Units,
    ) -> Result<FoundUnits, FailureCause> {
        self.map_side.find_units(input, file, units)
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

    fn extension(&self) -> &str {
        self.output.extension()
    }

    fn collector(self: Arc<Self>, setup: &CollectorSetup) -> Box<dyn Collector> {
        let route =
            self.routes.make::<GroupingOf<I::Key, G>>(setup.partitions, &setup.split_points);
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
        part: PartInfo,
        input: &mut dyn RecordBatches,
        output: &mut dyn PartSink,
    ) -> Result<ReduceSummary, FailureCause> {
        let mut groups = Groups::new(input, !G::WHOLE_KEY);
        let mut out = Emitter::<R, G, I, O>::new(output, &self.output, part)?;
        self.guarded(&mut groups, &mut out, |groups, out| {
            while groups.next_group(G::prefix_bytes)? {
                self.reduce_group(groups, out)?;
            }
            Ok(())
        })??;
        summary(&groups, out)
    }

    fn reduce_skipping(
        &self,
        part: PartInfo,
        input: &mut dyn RecordBatches,
        output: &mut dyn PartSink,
        policy: &BadRecordPolicy,
        skipped: &mut dyn FnMut(BadRecord) -> Result<(), FailureCause>,
    ) -> Result<ReduceSummary, FailureCause> {
        let mut groups = Groups::new(input, !G::WHOLE_KEY);
        let mut out = Emitter::<R, G, I, O>::new(output, &self.output, part)?;
        while let Some(place) = self.next_place(&mut groups, &mut out, policy)? {
            if let Some(poison) = policy.poison_at(&place) {
                skipped(poison.clone())?;
                continue;
            }
            out.begin_group()?;
            let reduced = policy.with_breadcrumb(&place, || {
                self.guarded(&mut groups, &mut out, |groups, out| self.reduce_group(groups, out))
            })??;
            match reduced {
                Ok(()) => out.keep_group()?,
                Err(cause) if policy.skips_bad_records && out.take_back()? => {
                    skipped(BadRecord::of_group(cause)?)?;
                }
                Err(cause) => return Err(cause),
            }
        }
        summary(&groups, out)
    }
}

impl<I, P, G, R, O> MapReduce<I, P, G, R, O>
where
    I: MapSide,
    G: Grouping<I::Key>,
    R: Reducer<G::Group, I::Value>,
    O: Output<R::OutputKey, R::OutputValue>,
{
    #[inline]
    fn reduce_group(
        &self,
        groups: &mut Groups<'_>,
        out: &mut Emitter<'_, R, G, I, O>,
    ) -> Result<()> {
        let (key, mut values) = groups.current();
        self.reducer.reduce(G::decode(key)?, &mut values, out)
    }

    /// Advances to the next group and returns its place, which is empty unless groups are tried one
    /// by one; `None` at the end.
    fn next_place(
        &self,
        groups: &mut Groups<'_>,
        out: &mut Emitter<'_, R, G, I, O>,
        policy: &BadRecordPolicy,
    ) -> Result<Option<RecordPlace>, FailureCause> {
        self.guarded(groups, out, |groups, _| {
            Ok(match groups.next_group(G::prefix_bytes)? {
                true if policy.tries_one_by_one() => {
                    Some(groups.exact_place::<G::Group>(G::decode))
                }
                true => Some(RecordPlace::default()),
                false => None,
            })
        })?
    }

    /// Runs user code. The inner error is the user's, with the current group; the outer error is
    /// the engine's.
    fn guarded<T>(
        &self,
        groups: &mut Groups<'_>,
        out: &mut Emitter<'_, R, G, I, O>,
        code: impl FnOnce(&mut Groups<'_>, &mut Emitter<'_, R, G, I, O>) -> Result<T>,
    ) -> Result<Result<T, FailureCause>, FailureCause> {
        let outcome = panic::guard(|| code(groups, out));
        match groups.take_failure().or_else(|| out.take_failure()) {
            Some(cause) => Err(cause),
            None => {
                let place = || groups.place::<G::Group>(|prefix| G::decode(prefix));
                Ok(panic::settle(outcome, place))
            }
        }
    }
}

/// The counts of the partition.
fn summary<K: Key + ?Sized, V: Value + ?Sized, O: Output<K, V>>(
    groups: &Groups<'_>,
    out: PartEmitter<'_, K, V, O>,
) -> Result<ReduceSummary, FailureCause> {
    let (output_records, counters) = out.finish()?;
    let (input_records, groups) = (groups.records(), groups.count());
    Ok(ReduceSummary { input_records, groups, output_records, counters })
}
