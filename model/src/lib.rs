//! The data types that all parts of Windrow share: identities, failures, counters, audits,
//! executables, platforms, locations, versions and descriptions of jobs. This crate depends on no
//! other crate of Windrow, and does no I/O, except that [`explained`] asks the system why it
//! refused something.

pub mod audit;
pub mod bad_records;
pub mod blob;
pub mod checksum;
pub mod counters;
pub mod error;
pub mod failure;
pub mod fan_in;
pub mod ids;
pub mod isolation;
pub mod location;
pub mod one_line;
pub mod part;
pub mod sample;
pub mod spec;
pub mod system_error;
pub mod version;

pub use audit::{Audit, Emitted};
pub use bad_records::{BadRecord, BadRecordBudget, Share};
pub use blob::{Blob, Digest, GlibcVersion, JobExecutable, Platform, PlatformNeeds, SideFile};
pub use counters::Counters;
pub use error::{Error, Result};
pub use failure::{Death, FailureCause, FailureClass, MemoryLimit, RecordPlace};
pub use ids::{
    AttemptId, JobId, JobIdentity, JobName, NoSuchStage, NotAJobName, StageId, TaskId, WorkerId,
};
pub use isolation::Isolation;
pub use location::{Location, NoStore, NotALocation, Scheme};
pub use one_line::{escape, one_line};
pub use part::{PartHandle, PartKind, Upload};
pub use sample::SamplePiece;
pub use spec::{Compression, JobInput, JobOptions, JobSpec};
pub use system_error::explained;
pub use version::{InputRange, Version};
