//! The builder of a job with one input.

use std::marker::PhantomData;
use std::sync::Arc;

use super::Job;
use crate::combiner::Combiner;
use crate::grouping::{Grouping, WholeKey};
use crate::mapper::Mapper;
use crate::output::{Output, TextLines};
use crate::partitioning::{HashPartitioner, Ordered, Partitioner, RouteMaker};
use crate::program::{CombineStep, Combined, MapOnly, MapReduce, NotCombined, OneInput, Sorted};
use crate::reducer::Reducer;

/// Builds a job, which is completed by [`reduce`](Self::reduce), [`sort`](Self::sort) or
/// [`map_only`](Self::map_only).
#[must_use = "a job is made by `reduce`, `sort` or `map_only`"]
pub struct JobBuilder<M, C = NotCombined, P = HashPartitioner, G = WholeKey, O = TextLines> {
    name: String,
    about: String,
    mapper: M,
    combine_step: C,
    routes: P,
    grouping: PhantomData<fn(&G)>,
    output: O,
}

impl<M: Mapper> JobBuilder<M> {
    pub(super) fn new(name: String, mapper: M) -> Self {
        Self {
            name,
            about: String::new(),
            mapper,
            combine_step: NotCombined,
            routes: HashPartitioner,
            grouping: PhantomData,
            output: TextLines,
        }
    }
}

impl<M: Mapper, C, P, G, O> JobBuilder<M, C, P, G, O> {
    /// Sets the line for `--help`.
    pub fn about(mut self, about: impl Into<String>) -> Self {
        self.about = about.into();
        self
    }

    /// Shrinks map output with `combiner` before it is shuffled.
    pub fn combine<N: Combiner<M::Value>>(
        self,
        combiner: N,
    ) -> JobBuilder<M, Combined<N>, P, G, O> {
        self.with_step(Combined(Arc::new(combiner)))
    }

    /// Assigns groups to reducers with `partitioner` instead of by the hash of their keys.
    pub fn partition_by<N: Partitioner>(self, partitioner: N) -> JobBuilder<M, C, N, G, O> {
        self.with_routes(partitioner)
    }

    /// Orders the groups across all parts, not only within each part: partitions are ranges of
    /// keys, chosen from a sample of the map output.
    pub fn ordered(self) -> JobBuilder<M, C, Ordered, G, O> {
        self.with_routes(Ordered)
    }

    /// Reduces all keys of one group together, in the order of the whole keys: see
    /// [`FirstPart`](crate::FirstPart).
    pub fn group_by<N: Grouping<M::Key>>(self, grouping: N) -> JobBuilder<M, C, P, N, O> {
        let Self { name, about, mapper, combine_step, routes, output, .. } = self;
        // Only the type of a grouping matters: it has no state.
        let _ = grouping;
        JobBuilder { name, about, mapper, combine_step, routes, grouping: PhantomData, output }
    }

    /// Writes the parts by `output` instead of as lines of key and value.
    pub fn output<N>(self, output: N) -> JobBuilder<M, C, P, G, N> {
        let Self { name, about, mapper, combine_step, routes, grouping, .. } = self;
        JobBuilder { name, about, mapper, combine_step, routes, grouping, output }
    }

    fn with_step<N>(self, combine_step: N) -> JobBuilder<M, N, P, G, O> {
        let Self { name, about, mapper, routes, grouping, output, .. } = self;
        JobBuilder { name, about, mapper, combine_step, routes, grouping, output }
    }

    fn with_routes<N>(self, routes: N) -> JobBuilder<M, C, N, G, O> {
        let Self { name, about, mapper, combine_step, grouping, output, .. } = self;
        JobBuilder { name, about, mapper, combine_step, routes, grouping, output }
    }
}

impl<M: Mapper, O: Output<M::Key, M::Value>>
    JobBuilder<M, NotCombined, HashPartitioner, WholeKey, O>
{
    /// Completes a job without a reducer: the pairs that the mapper emits are the output, in input
    /// order.
    pub fn map_only(self) -> Job {
        let (mapper, output) = (Arc::new(self.mapper), Arc::new(self.output));
        Job::fixed(self.name, self.about, MapOnly { mapper, output })
    }

    /// Completes a job that only sorts: the pairs that the mapper emits are the output, ordered by
    /// key and then by the bytes of the value, across all parts. Pairs of one key may be in several
    /// parts, so that no frequent key makes a part too large.
    pub fn sort(self) -> Job {
        let Self { name, about, mapper, output, .. } = self;
        let program = Sorted { mapper: Arc::new(mapper), routes: Arc::new(Ordered), output };
        Job::fixed(name, about, program)
    }
}

#[expect(private_bounds, reason = "a combine step is one of two types of this crate")]
impl<M, C, P, G, O> JobBuilder<M, C, P, G, O>
where
    M: Mapper,
    C: CombineStep<M::Value>,
    P: RouteMaker,
    G: Grouping<M::Key>,
{
    /// Completes a job that reduces with `reducer`.
    pub fn reduce<R>(self, reducer: R) -> Job
    where
        R: Reducer<G::Group, M::Value>,
        O: Output<R::OutputKey, R::OutputValue>,
    {
        let Self { name, about, mapper, combine_step, routes, grouping, output } = self;
        let map_side = OneInput { mapper: Arc::new(mapper), combine_step };
        let routes = Arc::new(routes);
        Job::fixed(name, about, MapReduce { map_side, routes, grouping, reducer, output })
    }
}
