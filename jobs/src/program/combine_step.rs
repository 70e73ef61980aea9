//! The step between map and shuffle: combining, or nothing.

use std::sync::Arc;

use crate::collect::{
    AppendStore, Collector, CollectorSetup, CombineStore, DeferredStore, map_into,
};
use crate::combiner::Combiner;
use crate::error::Result;
use crate::failure::FailureCause;
use crate::key::Key;
use crate::mapper::Mapper;
use crate::pairs::{Groups, RecordBatches, RecordRef, RecordSink};
use crate::partitioning::Route;
use crate::user_code::{hidden, panic};
use crate::value::Value;

/// Either [`NotCombined`] or [`Combined`].
pub(crate) trait CombineStep<V: Value + ?Sized>: Send + Sync + 'static {
    /// Whether values of equal keys are combined.
    const COMBINES: bool;

    /// The collector of one map thread.
    fn collector<M: Mapper<Value = V>>(
        &self,
        mapper: Arc<M>,
        setup: &CollectorSetup,
        route: impl Route,
    ) -> Box<dyn Collector>;

    /// See [`Program::combine`](super::Program::combine).
    fn combine<K: Key + ?Sized>(
        &self,
        input: &mut dyn RecordBatches,
        output: &mut dyn RecordSink,
    ) -> Result<(), FailureCause>;
}

/// Pairs are not combined.
#[derive(Clone, Copy, Debug)]
pub struct NotCombined;

/// Values of equal keys are combined by `C`.
#[derive(Debug)]
pub struct Combined<C>(pub(crate) Arc<C>);

impl<V: Value + ?Sized> CombineStep<V> for NotCombined {
    const COMBINES: bool = false;

    fn collector<M: Mapper<Value = V>>(
        &self,
        mapper: Arc<M>,
        setup: &CollectorSetup,
        route: impl Route,
    ) -> Box<dyn Collector> {
        let store = AppendStore::<M::Key, V, _>::new(setup.partitions, route);
        map_into(mapper, store, setup)
    }

    fn combine<K: Key + ?Sized>(
        &self,
        input: &mut dyn RecordBatches,
        output: &mut dyn RecordSink,
    ) -> Result<(), FailureCause> {
        while let Some(batch) = input.next_batch()? {
            batch.iter().try_for_each(|record| output.push(*record))?;
        }
        Ok(())
    }
}

impl<V: Value + ?Sized, C: Combiner<V>> CombineStep<V> for Combined<C> {
    const COMBINES: bool = true;

    fn collector<M: Mapper<Value = V>>(
        &self,
        mapper: Arc<M>,
        setup: &CollectorSetup,
        route: impl Route,
    ) -> Box<dyn Collector> {
        let combiner = Arc::clone(&self.0);
        let CollectorSetup { partitions, seed, .. } = *setup;
        if V::IS_COPY {
            let store = CombineStore::<M::Key, V, C, _>::new(combiner, partitions, route, seed);
            map_into(mapper, store, setup)
        } else {
            let store = DeferredStore::<M::Key, V, C, _>::new(combiner, partitions, route, seed);
            map_into(mapper, store, setup)
        }
    }

    fn combine<K: Key + ?Sized>(
        &self,
        input: &mut dyn RecordBatches,
        output: &mut dyn RecordSink,
    ) -> Result<(), FailureCause> {
        let mut groups = Groups::new(input, false);
        let mut sink_failure = None;
        let outcome = panic::guard(|| {
            combine_groups(&*self.0, &mut groups, |record| {
                output.push(record).map_err(|cause| hidden(sink_failure.insert(cause)))
            })
        });
        if let Some(cause) = groups.take_failure().or(sink_failure) {
            return Err(cause);
        }
        panic::settle(outcome, || groups.place::<K>(K::decode))
    }
}

fn whole_key(key: &[u8]) -> Result<usize> {
    Ok(key.len())
}

/// Combines group by group. The pair of a group of one is copied.
fn combine_groups<V: Value + ?Sized, C: Combiner<V>>(
    combiner: &C,
    groups: &mut Groups<'_>,
    mut push: impl FnMut(RecordRef<'_>) -> Result<()>,
) -> Result<()> {
    let mut combined = Vec::new();
    let mut spare: Option<C::Accumulator> = None;
    while groups.next_group(whole_key)? {
        let (key, mut values) = groups.current::<V>();
        let Some(first) = values.next_encoded()? else { continue };
        combined.clear();
        combined.extend_from_slice(first);
        if !values.is_at_end()? {
            let accumulator = match &mut spare {
                Some(accumulator) => {
                    combiner.restart(accumulator, V::view(&V::decode(&combined)?))?;
                    accumulator
                }
                none => none.insert(combiner.start(V::view(&V::decode(&combined)?))?),
            };
            while let Some(value) = values.next()? {
                combiner.add(accumulator, V::view(&value))?;
            }
            combined.clear();
            V::encode(combiner.finish(accumulator), &mut combined)?;
        }
        push(RecordRef { key, value: &combined })?;
    }
    Ok(())
}
