//! The `windrow` command: the library's entry point with all ready jobs.

use std::process::ExitCode;

// The system's allocator returns large buffers to the kernel at once and faults them in again for every task.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    windrow::main(windrow::ready::all())
}
