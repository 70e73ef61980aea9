//! Puts a job together.

use std::sync::Arc;

use super::Job;
use crate::combiner::Combiner;
use crate::mapper::Mapper;
use crate::partitioner::{HashPartitioner, Partitioner};
use crate::program::{CombineStep, Combined, MapOnly, MapReduce, NotCombined};
use crate::reducer::Reducer;

/// A job that still lacks its reducer: ended by [`reduce`](Self::reduce) or [`map_only`](Self::map_only).
#[must_use = "a job is made by `reduce` or `map_only`"]
pub struct JobBuilder<M, C = NotCombined, P = HashPartitioner> {
    name: String,
    about: String,
    mapper: M,
    combine_step: C,
    partitioner: P,
}

impl<M: Mapper> JobBuilder<M> {
    pub(super) fn new(name: String, mapper: M) -> Self {
        let about = String::new();
        Self { name, about, mapper, combine_step: NotCombined, partitioner: HashPartitioner }
    }

    /// A job without a reducer: what the mapper emits is the output, in input order.
    pub fn map_only(self) -> Job {
        Job::fixed(self.name, self.about, MapOnly(Arc::new(self.mapper)))
    }
}

impl<M: Mapper, P: Partitioner> JobBuilder<M, NotCombined, P> {
    /// Shrinks map output by `combiner` before it is shuffled.
    pub fn combine<C: Combiner<M::Value>>(self, combiner: C) -> JobBuilder<M, Combined<C>, P> {
        let Self { name, about, mapper, partitioner, .. } = self;
        let combine_step = Combined(Arc::new(combiner));
        JobBuilder { name, about, mapper, combine_step, partitioner }
    }
}

impl<M: Mapper, C> JobBuilder<M, C> {
    /// Sends keys to reducers by `partitioner` instead of by their hash.
    pub fn partition_by<P: Partitioner>(self, partitioner: P) -> JobBuilder<M, C, P> {
        let Self { name, about, mapper, combine_step, .. } = self;
        JobBuilder { name, about, mapper, combine_step, partitioner }
    }
}

impl<M: Mapper, C: CombineStep<M::Value>, P: Partitioner> JobBuilder<M, C, P> {
    /// Sets the line for `--help`.
    pub fn about(mut self, about: impl Into<String>) -> Self {
        self.about = about.into();
        self
    }

    /// Reduces by `reducer`.
    pub fn reduce<R: Reducer<M::Key, M::Value>>(self, reducer: R) -> Job {
        let program = MapReduce {
            mapper: Arc::new(self.mapper),
            combine_step: self.combine_step,
            partitioner: Arc::new(self.partitioner),
            reducer,
        };
        Job::fixed(self.name, self.about, program)
    }
}
