//! How many tasks a second one coordinator assigns, and the cost of each: a real coordinator with a
//! journal, over gRPC, and many sessions of a worker that only answers.
//!
//!     cargo bench --bench control_plane -- [--sessions N] [--maps N] [--reduces N] [--task-ms N]
//!         [--files] [--no-journal]
//!
//! The coordinator is a process of its own, so that its memory and CPU time are measured alone. All
//! sessions are in this process. Their attempts take no time without `--task-ms`: that shows the
//! maximum of tasks; with it, one sees how long a report waits for its answer under less load. With
//! `--files`, each map has a file of its own, which shows the cost of planning.
//!
//!     cargo bench --bench control_plane -- --decider [--sessions N] [--maps N] [--reduces N]
//!
//! runs the decider alone, in virtual time and with a store in memory: 10,000 workers and a million
//! tasks, unless other numbers are given.

#![allow(clippy::print_stdout)] // the figures are its result

mod coordinator;
mod counted;
mod decider;
mod job;
mod sessions;
mod store;

use std::error::Error;
use std::process::{self, ExitCode};
use std::time::{Duration, Instant};

use coordinator::Coordinator;
use job::Took;
use sessions::Sessions;

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// The options.
struct Options {
    sessions: usize,
    maps: u64,
    reduces: u32,
    task: Duration,
    /// Each map reads a file of its own, instead of a line of one file.
    files: bool,
    has_journal: bool,
    /// The decider alone.
    decider: bool,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let measured = parse(&arguments).and_then(|options| match options.decider {
        true => measure_decider(&options),
        false => measure(&options),
    });
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: &[String]) -> Result<Options> {
    let decider = arguments.iter().any(|argument| argument == "--decider");
    let (sessions, maps, reduces) =
        if decider { (10_000, 990_000, 10_000) } else { (1_000, 100_000, 1_000) };
    let mut options = Options {
        sessions,
        maps,
        reduces,
        task: Duration::ZERO,
        files: false,
        has_journal: true,
        decider,
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--sessions" => options.sessions = value()?.parse()?,
            "--maps" => options.maps = value()?.parse()?,
            "--reduces" => options.reduces = value()?.parse()?,
            "--decider" => {}
            "--task-ms" => options.task = Duration::from_millis(value()?.parse()?),
            "--files" => options.files = true,
            "--no-journal" => options.has_journal = false,
            other => return Err(format!("{other} is no option of this benchmark").into()),
        }
    }
    Ok(options)
}

fn measure(options: &Options) -> Result<()> {
    coordinator::allow_descriptors(2 * options.sessions as u64 + 256);
    let dir = tempfile::tempdir()?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let state = options.has_journal.then(|| dir.path().join("state"));
        let coordinator = Coordinator::start(state.as_deref())?;
        let sessions = Sessions::open(&coordinator.address, options.sessions, options.task).await?;
        let input = dir.path().join("input");
        job::write_input(&input, options.maps, options.files)?;
        let cpu_before = coordinator.cpu();
        let (address, output) = (&coordinator.address, dir.path().join("output"));
        let took = job::run(address, &input, &output, options.reduces).await?;
        show(options, &coordinator, &sessions, took, coordinator.cpu() - cpu_before);
        Ok(())
    })
}

fn measure_decider(options: &Options) -> Result<()> {
    let begun = Instant::now();
    let costs = decider::run(options.sessions as u64, options.maps, options.reduces)?;
    let elapsed = begun.elapsed();
    let tasks = options.maps + u64::from(options.reduces);
    let Options { sessions, maps, reduces, .. } = options;
    println!("the decider alone: {sessions} workers, {maps} maps, {reduces} reduces");
    println!("  tasks a second            {:>10.0}", tasks as f64 / elapsed.as_secs_f64());
    let rate = costs.events as f64 / costs.deciding.as_secs_f64();
    println!("  events a second           {rate:>10.0}, of {} in all", costs.events);
    let (longest, kind) = costs.longest;
    println!("  longest event             {longest:>10.1?}, {kind}");
    println!("  deciding, and storing     {:>10.1?}, {:.1?}", costs.deciding, costs.storing);
    let (ever, kept) = (costs.stored_bytes >> 20, costs.kept_bytes_max >> 20);
    println!("  bytes stored              {ever:>6} MiB, at most {kept} MiB at once");
    println!(
        "  peak RSS, with the store  {:>6} MiB",
        coordinator::peak_rss_bytes(process::id()) >> 20
    );
    Ok(())
}

fn show(
    options: &Options,
    coordinator: &Coordinator,
    sessions: &Sessions,
    took: Took,
    cpu: Duration,
) {
    let tasks = options.maps + u64::from(options.reduces);
    let Took { accepting, running } = took;
    let per_task = |n: f64| n / tasks as f64;
    println!(
        "{} sessions, {} maps, {} reduces of {:?}, {}",
        options.sessions,
        options.maps,
        options.reduces,
        options.task,
        if options.has_journal { "with a journal" } else { "no journal" }
    );
    println!("  planned and accepted in   {accepting:>10.1?}");
    println!(
        "  tasks a second            {:>10.0}",
        tasks as f64 / (accepting + running).as_secs_f64()
    );
    let waits = sessions.waits();
    show_waits("map", &waits.maps);
    show_waits("reduce", &waits.reduces);
    println!("  bytes sent a task         {:>10.0}", per_task(sessions.bytes_received() as f64));
    println!("  CPU a task                {:>10.1?}", cpu / tasks.max(1) as u32);
    println!(
        "  CPU of wall, coordinator  {:>9.0}%",
        100.0 * cpu.as_secs_f64() / (accepting + running).as_secs_f64()
    );
    println!("  peak RSS, coordinator     {:>6} MiB", coordinator.peak_rss_bytes() >> 20);
}

/// Prints sorted waits from a report to the next attempt of this kind.
fn show_waits(kind: &str, waits: &[Duration]) {
    let at = |percent: usize| waits.get(waits.len() * percent / 100).copied().unwrap_or_default();
    let (median, p99) = (at(50), at(99));
    println!("  report to next {kind:<10} {median:>10.1?} median, {p99:.1?} p99");
}
