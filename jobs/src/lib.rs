//! What a Windrow user programs against.
//!
//! Implement [`Mapper`] and [`Reducer`] (or take a ready one from [`reducers`]), join them to a
//! [`Job`], and hand it to `windrow::main`; [`prelude`] has all the names, [`testing`] what unit
//! tests need. This crate knows nothing of clusters, files or threads: it holds the traits, the
//! codecs ([`key`], [`value`]), the record formats ([`input`], [`scan`]), the typed inner loops
//! that run user code on encoded batches ([`collect`], [`program`]), and the [`ready`] jobs.

mod audit;
mod bad_records;
mod blob;
pub mod collect;
mod combiner;
pub mod counters;
mod emit;
mod error;
mod failure;
pub mod fan_in;
#[doc(hidden)]
pub mod fuzzing;
mod grouping;
mod ids;
pub mod input;
mod isolation;
mod job;
pub mod key;
mod mapper;
mod one_line;
mod output;
mod partitioner;
#[doc(hidden)]
pub mod prefetch;
pub mod prelude;
pub mod program;
pub mod ready;
mod reducer;
pub mod reducers;
pub mod scan;
pub mod side_files;
mod spec;
mod system_error;
pub mod testing;
mod text;
pub mod value;
#[doc(hidden)] // for the engine
pub mod varint;

pub use audit::{Audit, Emitted};
pub use bad_records::{BadRecord, BadRecordBudget, Share};
pub use blob::{Blob, Digest, GlibcVersion, JobProgram, Platform, PlatformNeeds, SideFile};
pub use combiner::Combiner;
pub use counters::Counters;
pub use emit::Emit;
pub use error::{Error, Result};
pub use failure::{Death, FailureCause, FailureClass, MemoryLimit, Place};
pub use grouping::{FirstPart, Grouping, WholeKey};
pub use ids::{AttemptId, JobId, JobIdentity, JobName, NotAJobName, Stage, TaskId, WorkerId};
pub use isolation::Isolation;
pub use job::{Job, JobBuilder, JoinBuilder, Registry};
pub use key::{Key, KeyPart};
pub use mapper::Mapper;
pub use one_line::{escape, one_line};
pub use output::{Concatenated, Output, TextLines, ValueLines};
pub use partitioner::{HashPartitioner, Partitioner, hash_key};
pub use program::Values;
pub use reducer::Reducer;
pub use spec::{Compression, JobInput, JobOptions, JobSpec};
pub use system_error::explained;
pub use value::{Tagged, Value};
