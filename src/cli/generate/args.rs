//! The flags of `gen`.

use std::path::PathBuf;

use bytesize::ByteSize;
use clap::{Args, Subcommand};

use super::distribution::RANKS_MAX;
use crate::cli::values::{number, size_from};

/// `windrow gen`
#[derive(Debug, Args)]
pub(crate) struct GenArgs {
    #[command(subcommand)]
    pub(super) kind: Kind,
}

/// What to generate.
#[derive(Debug, Subcommand)]
pub(super) enum Kind {
    /// Text whose words follow Zipf's law, ten a line
    Zipf {
        /// Size of the vocabulary
        #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = number(1..=RANKS_MAX))]
        words: u32,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Records of 100 bytes with random keys of 10 printable bytes, for sorting
    Records {
        /// Number of different keys [default: all keys are random]
        #[arg(long, value_name = "N", value_parser = number(1..=1_000_000_000_000_u64))]
        keys: Option<u64>,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Lines of an access log: timestamp,client,method,path,status,bytes,millis
    Csv {
        /// Number of different paths, which follow Zipf's law
        #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = number(1..=RANKS_MAX))]
        paths: u32,
        /// Begin each file with the names of the columns
        #[arg(long)]
        header: bool,
        #[command(flatten)]
        common: CommonArgs,
    },
}

/// What all kinds take. The same flags give the same bytes on any machine, whatever `threads` is.
#[derive(Debug, Args)]
pub(super) struct CommonArgs {
    /// Size of all files together, such as 1GiB; they end at the last whole record
    #[arg(long, value_name = "SIZE", value_parser = size_from(0))]
    pub(super) bytes: ByteSize,
    /// Number that chooses the data
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) seed: u64,
    /// Folder for the files; must not exist, or be empty
    #[arg(long, value_name = "DIR")]
    pub(super) output: PathBuf,
    /// Number of files [default: one for each MiB, at most 16]
    #[arg(long, value_name = "N", value_parser = number(1..=100_000_u32))]
    pub(super) files: Option<u32>,
    /// Threads, each of which writes a file at a time [default: all cores]
    #[arg(long, value_name = "N", value_parser = number(1..=1024_u32))]
    pub(super) threads: Option<u32>,
}
