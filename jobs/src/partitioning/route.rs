//! Routes: the partition of each encoded pair.

use std::marker::PhantomData;
use std::sync::Arc;

use super::{Partitioner, Partitioning, SplitPoints, hash_key};
use crate::error::{Error, Result};
use crate::grouping::Prefix;
use crate::pairs::RecordRef;

/// Finds the partitions of the pairs of one map task.
pub(crate) trait Route: Send + Sync + 'static {
    /// The partition of `record`. `salt` is any number that differs between the records of the
    /// input, such as their offset: it chooses among the partitions of a pair that may go to
    /// several.
    fn route(&self, record: RecordRef<'_>, salt: u64) -> Result<u32>;
}

impl Route for Arc<dyn Route> {
    #[inline]
    fn route(&self, record: RecordRef<'_>, salt: u64) -> Result<u32> {
        (**self).route(record, salt)
    }
}

/// How a job chooses partitions: with a [`Partitioner`], or [`Ordered`].
pub(crate) trait RouteMaker: Send + Sync + 'static {
    /// How pairs are spread over partitions; `grouped` says whether groups are reduced together.
    fn partitioning(grouped: bool) -> Partitioning;

    /// The route of one map task, whose pairs are grouped by `G`.
    fn make<G: Prefix>(
        self: &Arc<Self>,
        partitions: u32,
        split_points: &Arc<SplitPoints>,
    ) -> impl Route;
}

impl<P: Partitioner> RouteMaker for P {
    fn partitioning(_grouped: bool) -> Partitioning {
        Partitioning::ByKey
    }

    fn make<G: Prefix>(
        self: &Arc<Self>,
        partitions: u32,
        _split_points: &Arc<SplitPoints>,
    ) -> impl Route {
        let partitioner = Arc::clone(self);
        KeyRoute::<P, G> { partitioner, partitions, grouping: PhantomData }
    }
}

/// Partitions by ranges of keys, so that all parts together are in order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ordered;

impl RouteMaker for Ordered {
    fn partitioning(grouped: bool) -> Partitioning {
        Partitioning::Ranges { within_keys: !grouped }
    }

    fn make<G: Prefix>(
        self: &Arc<Self>,
        _partitions: u32,
        split_points: &Arc<SplitPoints>,
    ) -> impl Route {
        let split_points = Arc::clone(split_points);
        RangeRoute::<G> { split_points, grouping: PhantomData }
    }
}

struct KeyRoute<P, G> {
    partitioner: Arc<P>,
    partitions: u32,
    grouping: PhantomData<fn(&G)>,
}

impl<P: Partitioner, G: Prefix> Route for KeyRoute<P, G> {
    #[inline(always)]
    fn route(&self, record: RecordRef<'_>, _salt: u64) -> Result<u32> {
        let group = &record.key[..G::prefix_bytes(record.key)?];
        let partition = self.partitioner.partition(group, hash_key(group), self.partitions);
        // A pair of a partition out of range would be lost.
        if partition < self.partitions {
            Ok(partition)
        } else {
            Err(out_of_range(partition, self.partitions))
        }
    }
}

#[cold]
fn out_of_range(partition: u32, partitions: u32) -> Error {
    Error::new(format!("the partitioner chose partition {partition} of 0..{partitions}"))
}

struct RangeRoute<G> {
    split_points: Arc<SplitPoints>,
    grouping: PhantomData<fn(&G)>,
}

impl<G: Prefix> Route for RangeRoute<G> {
    #[inline(always)]
    fn route(&self, record: RecordRef<'_>, salt: u64) -> Result<u32> {
        // A point may lie inside a group, which must stay together, so only the group's prefix is
        // compared.
        let group = &record.key[..G::prefix_bytes(record.key)?];
        Ok(self.split_points.range_of(RecordRef { key: group, ..record }, salt))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grouping::{FirstPart, GroupingOf};
    use crate::key::Key;

    #[test]
    fn a_point_inside_a_group_does_not_split_it() {
        type Pair = (String, u64);
        let encoded = |first: &str, second: u64| {
            let mut key = Vec::new();
            <Pair as Key>::encode((first, second), &mut key);
            key
        };
        let points = SplitPoints::new([(encoded("hay", 5), vec![])]);
        let route = Arc::new(Ordered).make::<GroupingOf<Pair, FirstPart>>(2, &Arc::new(points));
        let partition = |first: &str, second: u64| {
            let key = encoded(first, second);
            route.route(RecordRef { key: &key, value: b"v" }, 0).unwrap()
        };
        assert_eq!(partition("hay", 1), partition("hay", 9));
        assert_eq!((partition("corn", 9), partition("oats", 1)), (0, 1));
    }
}
