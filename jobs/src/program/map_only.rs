//! A job without a reducer: what the mapper emits is the output, in input order.

use std::sync::Arc;

use super::batch::{PartSink, RecordBatches, RecordSink};
use super::{Program, ReduceSummary};
use crate::collect::{ChunkMapper, Collector, TextStore};
use crate::failure::FailureCause;
use crate::input::{Format, Framing};
use crate::mapper::Mapper;

/// The mapper alone.
pub(crate) struct MapOnly<M>(pub(crate) Arc<M>);

impl<M: Mapper> Program for MapOnly<M> {
    fn framing(&self) -> Framing {
        M::Input::default().framing()
    }

    fn is_map_only(&self) -> bool {
        true
    }

    fn has_combiner(&self) -> bool {
        false
    }

    fn collector(self: Arc<Self>, _partitions: u32) -> Box<dyn Collector> {
        Box::new(ChunkMapper::new(Arc::clone(&self.0), TextStore::default()))
    }

    fn combine(
        &self,
        _input: &mut dyn RecordBatches,
        _output: &mut dyn RecordSink,
    ) -> Result<(), FailureCause> {
        Err(no_shuffle())
    }

    fn reduce(
        &self,
        _input: &mut dyn RecordBatches,
        _output: &mut dyn PartSink,
    ) -> Result<ReduceSummary, FailureCause> {
        Err(no_shuffle())
    }
}

fn no_shuffle() -> FailureCause {
    FailureCause::Unsupported { message: "a map-only job has nothing to reduce".to_string() }
}
