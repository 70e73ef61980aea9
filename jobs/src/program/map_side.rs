//! The map side of a job with a reducer: one mapper, perhaps with a combiner, or a mapper for each
//! of several inputs.

use std::sync::Arc;

use super::combine_step::CombineStep;
use super::units::find_units;
use crate::collect::{Collector, CollectorSetup};
use crate::failure::FailureCause;
use crate::input::{FileReader, Format, FoundUnits, Framing, Units};
use crate::key::Key;
use crate::mapper::Mapper;
use crate::pairs::{RecordBatches, RecordSink};
use crate::partitioning::Route;
use crate::value::Value;

/// How the files of one input are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputFormat {
    /// Where the files may be cut.
    pub framing: Framing,
    /// Whether chunks need the first record of their file.
    pub has_header: bool,
}

impl InputFormat {
    /// The format of the mapper's files.
    pub(crate) fn of<M: Mapper>(mapper: &M) -> Self {
        let format = mapper.format();
        Self { framing: format.framing(), has_header: format.has_header() }
    }
}

/// Everything before the shuffle.
pub(crate) trait MapSide: Send + Sync + 'static {
    /// The key of all pairs.
    type Key: Key + ?Sized;
    /// The value of all pairs.
    type Value: Value + ?Sized;

    /// Whether equal keys are combined.
    const COMBINES: bool;

    /// Names of the inputs; none where there is only one.
    fn input_names(&self) -> Vec<&str>;

    /// How files of this input are read. Inputs are counted from 0.
    fn input_format(&self, input: u32) -> InputFormat;

    /// See [`Program::find_units`](super::Program::find_units).
    fn find_units(
        &self,
        input: u32,
        file: &FileReader<'_>,
        units: Units,
    ) -> Result<FoundUnits, FailureCause>;

    /// A collector for one thread of a task.
    fn collector(&self, setup: &CollectorSetup, route: impl Route) -> Box<dyn Collector>;

    /// See [`Program::combine`](super::Program::combine).
    fn combine(
        &self,
        input: &mut dyn RecordBatches,
        output: &mut dyn RecordSink,
    ) -> Result<(), FailureCause>;
}

/// One mapper.
pub(crate) struct OneInput<M, C> {
    pub(crate) mapper: Arc<M>,
    pub(crate) combine_step: C,
}

impl<M: Mapper, C: CombineStep<M::Value>> MapSide for OneInput<M, C> {
    type Key = M::Key;
    type Value = M::Value;

    const COMBINES: bool = C::COMBINES;

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

    fn collector(&self, setup: &CollectorSetup, route: impl Route) -> Box<dyn Collector> {
        self.combine_step.collector(Arc::clone(&self.mapper), setup, route)
    }

    fn combine(
        &self,
        input: &mut dyn RecordBatches,
        output: &mut dyn RecordSink,
    ) -> Result<(), FailureCause> {
        self.combine_step.combine::<M::Key>(input, output)
    }
}
