//! The `windrow` command: the library's entry point with all ready jobs.

use std::process::ExitCode;

fn main() -> ExitCode {
    windrow::main(windrow::ready::all())
}
