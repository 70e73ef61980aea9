//! The `windrow` command: the library's entry point with all ready jobs.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: windrow::CountingAllocator = windrow::CountingAllocator;

fn main() -> ExitCode {
    windrow::main(windrow::ready::all())
}
