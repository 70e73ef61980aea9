//! The API for users of Windrow.
//!
//! Implement [`Mapper`] and [`Reducer`] (or use a ready one from [`reducers`]), combine them into a
//! [`Job`], and pass it to `windrow::main`. [`prelude`] has all the names; [`testing`] helps with
//! unit tests. This crate knows nothing of clusters, files or threads: it has the traits, the
//! codecs ([`key`], [`value`]), the record formats ([`input`], [`scan`]), the typed inner loops
//! that run user code on encoded batches ([`collect`], [`program`]), and the [`ready`] jobs.

pub mod collect;
mod combiner;
mod copied_views;
pub mod counters;
mod emit;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod grouping;
pub mod input;
mod job;
pub mod key;
mod mapper;
pub mod output;
pub mod pairs;
pub mod partitioning;
#[doc(hidden)]
pub mod prefetch;
pub mod prelude;
pub mod program;
pub mod ready;
mod reducer;
pub mod reducers;
pub mod scan;
pub mod side_files;
pub mod testing;
mod text;
pub mod user_code;
pub mod value;
#[doc(hidden)] // for the engine
pub mod varint;

pub use combiner::Combiner;
pub use counters::Counters;
pub use emit::Emit;
pub use grouping::{FirstPart, Grouping, WholeKey};
pub use job::{Job, JobBuilder, JoinBuilder, Registry};
pub use key::{Key, KeyPart};
pub use mapper::Mapper;
pub use output::{Concatenated, Output, TextLines, TextOutput, ValueLines};
pub use pairs::Values;
pub use partitioning::{HashPartitioner, Partitioner, hash_key};
pub use reducer::Reducer;
pub use value::{Tagged, Value};
pub use windrow_model::{
    AttemptId, Audit, BadRecord, BadRecordBudget, Blob, Compression, Death, Digest, Emitted, Error,
    FailureCause, FailureClass, GlibcVersion, InputRange, Isolation, JobExecutable, JobId,
    JobIdentity, JobInput, JobName, JobOptions, JobSpec, Location, MemoryLimit, NoStore,
    NotAJobName, NotALocation, PartHandle, PartKind, Platform, PlatformNeeds, RecordPlace, Result,
    SamplePiece, Scheme, Share, SideFile, StageId, TaskId, Upload, Version, WorkerId, checksum,
    escape, explained, fan_in, one_line,
};
use windrow_model::{audit, bad_records, error, failure};
