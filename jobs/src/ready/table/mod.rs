//! Shared by all jobs on tables: flags, keys made from columns, and the loop over a file's rows.

mod args;
mod keys;
mod rows;

pub(super) use args::{TableArgs, parse_columns};
pub(super) use keys::{Grouped, KeyPlan, Separator};
pub(super) use rows::{Row, RowMapper, Rows, Scratch};
