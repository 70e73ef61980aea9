//! Programs: jobs with their types erased. A virtual call handles a chunk or a batch, never one
//! record.
//!
//! The engine (the worker crate) handles bytes: it reads chunks, and sorts, merges and sends
//! encoded pairs. The typed loops that run user code are here, monomorphised with the user's
//! mapper, combiner and reducer:
//!
//! ```text
//!  chunk of a file          sorted batches                sorted batches
//!       |                        |                             |
//!  Collector::map_chunk     Program::combine             Program::reduce
//!       |                        |                             |
//!  RecordBuffer             RecordSink                    PartSink
//! ```
//!
//! Failures of the engine's own sources and sinks pass through these loops unchanged, however user
//! code handles the error that it gets.

mod combine_step;
mod join_inputs;
mod map_only;
mod map_reduce;
mod map_side;
mod part_emitter;
mod part_frame;
mod part_sink;
mod shape;
mod sorted;
mod units;

pub use combine_step::{Combined, NotCombined};
pub use map_side::InputFormat;
pub use part_frame::{NoFrame, PartFrame};
pub use part_sink::PartSink;
pub use shape::{EXTENSIONS, JobShape, is_extension};

pub(crate) use combine_step::CombineStep;
pub(crate) use join_inputs::{JoinInput, JoinInputs};
pub(crate) use map_only::MapOnly;
pub(crate) use map_reduce::MapReduce;
pub(crate) use map_side::OneInput;
pub(crate) use sorted::Sorted;

use std::sync::Arc;

use crate::bad_records::BadRecord;
use crate::collect::{Collector, CollectorSetup};
use crate::counters::Counters;
use crate::failure::FailureCause;
use crate::input::{FileReader, FoundUnits, Units};
use crate::output::PartInfo;
use crate::pairs::{RecordBatches, RecordSink};
use crate::partitioning::Partitioning;
use crate::user_code::BadRecordPolicy;

/// A job with its parameters applied, as the engine sees it.
pub trait Program: Send + Sync {
    /// Names of the inputs of a job with several; empty for a job with one.
    fn input_names(&self) -> Vec<&str>;

    /// How the files of input number `input`, from 0, are read.
    fn input_format(&self, input: u32) -> InputFormat;

    /// Finds the units of a file of an input that has any.
    fn find_units(
        &self,
        input: u32,
        file: &FileReader<'_>,
        units: Units,
    ) -> Result<FoundUnits, FailureCause> {
        let _ = (file, units);
        let message = format!("the files of input {input} have no units");
        Err(FailureCause::Unsupported { message })
    }

    /// Whether the map output is the job's output, without shuffle and reduce.
    fn is_map_only(&self) -> bool;

    /// Whether [`combine`](Self::combine) does more than copy.
    fn has_combiner(&self) -> bool;

    /// How pairs are spread over partitions.
    fn partitioning(&self) -> Partitioning;

    /// The extension of part names; by default empty.
    fn extension(&self) -> &str {
        ""
    }

    /// A collector for one thread of a map task.
    fn collector(self: Arc<Self>, setup: &CollectorSetup) -> Box<dyn Collector>;

    /// Combines the values of equal keys: sorted batches in, sorted pairs out. Copies the pairs of
    /// a job without a combiner.
    fn combine(
        &self,
        input: &mut dyn RecordBatches,
        output: &mut dyn RecordSink,
    ) -> Result<(), FailureCause>;

    /// Begins a part of a map-only job and writes its header. The encoded chunks follow, in input
    /// order, and then the [footer](PartFrame::finish). By default there is neither header nor
    /// footer.
    fn begin_part(
        &self,
        part: PartInfo,
        sink: &mut dyn PartSink,
    ) -> Result<Box<dyn PartFrame>, FailureCause> {
        let _ = (part, sink);
        Ok(Box::new(NoFrame))
    }

    /// Reduces all groups of one partition to a part with header and footer. Panics of user code
    /// are caught and returned as [`FailureCause::UserPanic`].
    fn reduce(
        &self,
        part: PartInfo,
        input: &mut dyn RecordBatches,
        output: &mut dyn PartSink,
    ) -> Result<ReduceSummary, FailureCause>;

    /// Like [`reduce`](Self::reduce), but applies `policy` to groups on which user code fails. If
    /// bad groups may be skipped, drops them with what they have written, and passes each to
    /// `skipped`, in order; an error of `skipped` fails the attempt. So does a group that fails
    /// after writing more than eight megabytes. The default calls `reduce`, for jobs whose only
    /// user code is an [`Output`](crate::output::Output).
    fn reduce_skipping(
        &self,
        part: PartInfo,
        input: &mut dyn RecordBatches,
        output: &mut dyn PartSink,
        policy: &BadRecordPolicy,
        skipped: &mut dyn FnMut(BadRecord) -> Result<(), FailureCause>,
    ) -> Result<ReduceSummary, FailureCause> {
        let _ = (policy, skipped);
        self.reduce(part, input, output)
    }
}

/// Counts of one reduced partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReduceSummary {
    /// Pairs read.
    pub input_records: u64,
    /// Groups reduced.
    pub groups: u64,
    /// Pairs written.
    pub output_records: u64,
    /// The user's counters.
    pub counters: Counters,
}

#[cfg(test)]
mod tests;
