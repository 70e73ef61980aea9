//! A job without a reducer: the pairs that the mapper emits are the output, in input order.

use std::sync::Arc;

use super::map_side::InputFormat;
use super::part_frame::{self, PartFrame};
use super::part_sink::PartSink;
use super::units::find_units;
use super::{Program, ReduceSummary};
use crate::collect::{Collector, CollectorSetup, EncodedStore, map_into};
use crate::failure::FailureCause;
use crate::input::{FileReader, FoundUnits, Units};
use crate::mapper::Mapper;
use crate::output::{Output, PartInfo};
use crate::pairs::{RecordBatches, RecordSink};
use crate::partitioning::Partitioning;

/// The mapper and its output.
pub(crate) struct MapOnly<M, O> {
    pub(crate) mapper: Arc<M>,
    pub(crate) output: Arc<O>,
}

impl<M: Mapper, O: Output<M::Key, M::Value>> Program for MapOnly<M, O> {
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
        true
    }

    fn has_combiner(&self) -> bool {
        false
    }

    fn partitioning(&self) -> Partitioning {
        Partitioning::ByKey
    }

    fn extension(&self) -> &str {
        self.output.extension()
    }

    fn collector(self: Arc<Self>, setup: &CollectorSetup) -> Box<dyn Collector> {
        let store = EncodedStore::<M::Key, M::Value, O>::new(Arc::clone(&self.output));
        map_into(Arc::clone(&self.mapper), store, setup)
    }

    fn begin_part(
        &self,
        part: PartInfo,
        sink: &mut dyn PartSink,
    ) -> Result<Box<dyn PartFrame>, FailureCause> {
        part_frame::begin::<M::Key, M::Value, O>(&self.output, part, sink)
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
        _part: PartInfo,
        _input: &mut dyn RecordBatches,
        _output: &mut dyn PartSink,
    ) -> Result<ReduceSummary, FailureCause> {
        Err(no_shuffle())
    }
}

fn no_shuffle() -> FailureCause {
    FailureCause::Unsupported { message: "a map-only job has nothing to reduce".to_string() }
}
