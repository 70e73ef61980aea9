//! Helpers: temporary folders, processes with deadlines, clusters of real processes, and oracles.

mod circumstances;
mod cluster;
mod control_group;
mod dir;
mod disk;
mod flood;
mod mode;
mod oracle;
mod process;
mod proxy;
mod random;
mod text;
mod tls;
mod wait;

pub use circumstances::{after, as_user, below};
pub use cluster::{Cluster, ClusterOptions, Environment, with_clock_ahead};
pub use control_group::{ControlGroup, processes_in};
pub use dir::Dir;
pub use disk::SmallDisk;
pub use flood::Flood;
pub use mode::{Mode, both, case, left_out, root_case};
pub use oracle::{count_words, read_parts, sorted_lines};
pub use process::{Output, Process, ancestors, free_port, generic_windrow, windrow};
pub use proxy::{Direction, Proxy};
pub use random::Random;
pub use text::{books, generated_words};
pub use tls::{answer_in_plain, answer_over_tls, enroll_with_garbage_until_the_end};
pub use wait::{eventually, wait_for};
