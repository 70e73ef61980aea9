//! The one integration-test binary.
//!
//! It is also the program under test: with `AS_WINDROW` as its first argument, it is a Windrow
//! binary with the ready jobs and the [test jobs](jobs) that panic, exit, stall or skew, so that no
//! such code ships. Tests of results run embedded and on a cluster of real processes.

// Clippy recognises tests by libtest's attribute, which this binary does not use.
#![allow(clippy::unwrap_used)]

mod bad_records;
mod cli;
mod compression;
mod confinement;
mod conformance;
mod control_groups;
mod docs;
mod errors;
mod faults;
mod generate;
mod grep;
mod input;
mod interrupt;
mod inverted_index;
mod isolation;
mod jobs;
mod join;
mod logs;
mod memory;
mod modes;
mod neighbours;
mod ordered;
mod output;
mod output_formats;
mod privacy;
mod probes;
mod processes;
mod ready_jobs;
mod recovery;
mod security;
mod shipping;
mod support;
mod units;
mod verify;
mod word_count;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

// As in `windrow`.
#[global_allocator]
static ALLOCATOR: windrow::CountingAllocator = windrow::CountingAllocator;

/// First argument that makes this binary a Windrow program.
const AS_WINDROW: &str = "--as-windrow";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default();
    if std::env::args_os().nth(1).is_some_and(|first| first == AS_WINDROW) {
        let jobs = windrow::ready::all().into_iter().chain(jobs::all());
        return windrow::main_from(jobs, [program].into_iter().chain(arguments.skip(1)));
    }
    let tests: Vec<Trial> = [
        bad_records::tests(),
        cli::tests(),
        compression::tests(),
        confinement::tests(),
        conformance::tests(),
        control_groups::tests(),
        docs::tests(),
        errors::tests(),
        faults::tests(),
        generate::tests(),
        grep::tests(),
        input::tests(),
        interrupt::tests(),
        inverted_index::tests(),
        isolation::tests(),
        join::tests(),
        logs::tests(),
        memory::tests(),
        modes::tests(),
        neighbours::tests(),
        ordered::tests(),
        output::tests(),
        output_formats::tests(),
        privacy::tests(),
        probes::tests(),
        processes::tests(),
        ready_jobs::tests(),
        recovery::tests(),
        security::tests(),
        shipping::tests(),
        units::tests(),
        verify::tests(),
        word_count::tests(),
    ]
    .into_iter()
    .flatten()
    .collect();
    let arguments = Arguments::from_args();
    let conclusion = libtest_mimic::run(&arguments, tests);
    let left_out = support::left_out(&arguments);
    if !left_out.is_empty() {
        eprintln!(
            "{} tests take root and were LEFT OUT; run them with sudo -E:\n  {}\n",
            left_out.len(),
            left_out.join("\n  ")
        );
    }
    conclusion.exit_code()
}
