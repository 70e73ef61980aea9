//! Helpers: temporary folders, processes with deadlines, clusters of real processes, and oracles.

mod cluster;
mod dir;
mod mode;
mod oracle;
mod process;
mod text;
mod wait;

pub use cluster::{Cluster, ClusterOptions};
pub use dir::Dir;
pub use mode::{Mode, both, case};
pub use oracle::{count_words, read_parts, sorted_lines};
pub use process::{Output, Process, generic_windrow, windrow};
pub use text::{books, generated_words};
pub use wait::{eventually, wait_for};
