//! What the jobs on tables have in common: their flags, columns that make keys, and the loop over a
//! file's rows.

mod args;
mod keys;
mod rows;

pub(super) use args::{TableArgs, parse_columns};
pub(super) use keys::{Grouped, KeyPlan, Separator};
pub(super) use rows::{Row, RowMapper, Rows, Scratch};
