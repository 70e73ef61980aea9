//! The names that a program with its own jobs needs: `use windrow::prelude::*`.

pub use std::cmp::Reverse;
pub use std::process::ExitCode;

pub use crate::combiner::Combiner;
pub use crate::emit::Emit;
pub use crate::error::{Error, Result};
pub use crate::grouping::FirstPart;
pub use crate::input::{
    Delimited, Fields, FixedBytes, JsonLines, Line, LineBytes, Located, LocatedRecord, WholeFile,
};
pub use crate::job::Job;
pub use crate::key::Key;
pub use crate::mapper::Mapper;
pub use crate::output::{Concatenated, TextOutput, ValueLines};
pub use crate::pairs::Values;
pub use crate::partitioning::Partitioner;
pub use crate::reducer::Reducer;
pub use crate::reducers::{Count, Distinct, Identity, Max, Min, Sum, TopK};
pub use crate::value::{Serde, Tagged, Value};
