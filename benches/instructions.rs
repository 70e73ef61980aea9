//! Instructions per record in the inner loops, counted by callgrind: regressions show on noisy
//! machines, too.
//!
//!     cargo bench --bench instructions [-- --check | --save]
//!
//! Runs whole `windrow` processes under valgrind on small fixed inputs and counts what happens
//! inside one function, so that neither start-up nor scheduling is in the figure. `--check` fails
//! if a figure is more than a tenth above `instructions.json`; `--save` writes that file. Counts
//! are of x86-64 with AVX2, which is what valgrind offers.

#![allow(clippy::print_stdout)] // the figures are its result

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

type Result<T> = std::result::Result<T, Box<dyn Error>>;
/// Instructions per record by kernel.
type Figures = BTreeMap<String, f64>;

const WINDROW: &str = env!("CARGO_BIN_EXE_windrow");
const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.json");
/// `--check` allows this much more than the baseline.
const TOLERANCE: f64 = 0.10;

/// An input, and its number of records for the figures: words, not lines, for jobs that count
/// words.
struct Data {
    name: &'static str,
    generate: &'static [&'static str],
    count: fn(&[u8]) -> usize,
}

const WORDS: Data = Data {
    name: "words",
    generate: &["zipf", "--bytes", "4MB", "--words", "50000", "--files", "1"],
    count: |text| text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).count(),
};

const RECORDS: Data = Data {
    name: "records",
    generate: &["records", "--bytes", "4MB", "--files", "1"],
    count: |bytes| bytes.len() / 100,
};

const ROWS: Data = Data {
    name: "rows",
    generate: &["csv", "--bytes", "4MB", "--files", "1"],
    count: |text| text.iter().filter(|byte| **byte == b'\n').count(),
};

/// A function whose instructions are counted, including its callees.
struct Kernel {
    name: &'static str,
    data: Data,
    job: &'static [&'static str],
    /// The function's symbol; `*` stands for anything. It must not be recursive: each entry toggles
    /// counting.
    function: &'static str,
}

const MAP_LOOP: &str = "*Collector>::map_chunk";
const MAP_TASK: &str = "windrow_worker::task::map::run*";
const REDUCE: &str = "*Program>::reduce";
const SORT: &[&str] = &["sort", "--record-bytes", "100", "--key-bytes", "0..10"];
const SUM: &[&str] = &["sum", "--by", "4", "--column", "6", "--header", "false"];

const KERNELS: [Kernel; 6] = [
    Kernel { name: "word-count: map loop", data: WORDS, job: &["word-count"], function: MAP_LOOP },
    Kernel { name: "word-count: map task", data: WORDS, job: &["word-count"], function: MAP_TASK },
    Kernel {
        name: "word-count: merge, reduce",
        data: WORDS,
        job: &["word-count"],
        function: REDUCE,
    },
    Kernel { name: "sort: append, sort, write", data: RECORDS, job: SORT, function: MAP_TASK },
    Kernel { name: "sort: merge, reduce", data: RECORDS, job: SORT, function: REDUCE },
    Kernel { name: "sum: map loop", data: ROWS, job: SUM, function: MAP_LOOP },
];

fn main() -> Result<()> {
    let flags: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let (check, save) = match flags.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => (false, false),
        ["--check"] => (true, false),
        ["--save"] => (false, true),
        _ => return Err("usage: cargo bench --bench instructions [-- --check | --save]".into()),
    };
    if Command::new("valgrind").arg("--version").output().is_err() {
        let message = "valgrind is not installed: no instructions are counted";
        if check || save {
            return Err(message.into());
        }
        eprintln!("{message}");
        return Ok(());
    }
    let baseline = read_baseline()?;
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mut figures = Figures::new();
    println!("{:<28}{:>14}{:>12}{:>10}", "instructions per record", "now", "baseline", "ratio");
    for kernel in &KERNELS {
        match count(kernel, dir.path()) {
            Ok(figure) => {
                report(kernel.name, figure, baseline.get(kernel.name));
                figures.insert(kernel.name.to_string(), figure);
            }
            Err(error) if check || save => return Err(format!("{}: {error}", kernel.name).into()),
            Err(error) => println!("{:<28}{error}", kernel.name),
        }
    }
    if save {
        fs::write(BASELINE, serde_json::to_string_pretty(&figures)? + "\n")?;
    }
    if check { compare(&figures, &baseline) } else { Ok(()) }
}

fn read_baseline() -> Result<Figures> {
    if !Path::new(BASELINE).exists() {
        return Ok(Figures::new());
    }
    Ok(serde_json::from_slice(&fs::read(BASELINE)?)?)
}

fn report(name: &str, now: f64, baseline: Option<&f64>) {
    match baseline {
        Some(before) => println!("{name:<28}{now:>14.1}{before:>12.1}{:>10.3}", now / before),
        None => println!("{name:<28}{now:>14.1}{:>12}", "none"),
    }
}

fn compare(figures: &Figures, baseline: &Figures) -> Result<()> {
    let worse = |(name, now): (&String, &f64)| {
        let before = baseline.get(name)?;
        (*now > before * (1.0 + TOLERANCE)).then(|| format!("{name}: {:.2} x", now / before))
    };
    let worse: Vec<String> = figures.iter().filter_map(worse).collect();
    if worse.is_empty() { Ok(()) } else { Err(worse.join(", ").into()) }
}

/// Instructions in the kernel's function per record of its input.
fn count(kernel: &Kernel, dir: &Path) -> Result<f64> {
    let input = dir.join(kernel.data.name);
    if !input.exists() {
        let generate = Command::new(WINDROW)
            .arg("gen")
            .args(kernel.data.generate)
            .arg("--output")
            .arg(&input)
            .output()?;
        expect_success(&generate)?;
    }
    let output = dir.join("output");
    let profile = dir.join("profile");
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", &format!("--toggle-collect={}", kernel.function)])
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .args([WINDROW, "run"])
        .args(kernel.job)
        // One thread and one reducer, so that all runs take the same path.
        .args(["--threads", "1", "--reducers", "1", "--input"])
        .arg(&input)
        .arg("--output")
        .arg(&output)
        .output()?;
    expect_success(&run)?;
    fs::remove_dir_all(&output)?;
    let instructions = total(&fs::read_to_string(&profile)?)?;
    if instructions == 0 {
        return Err(format!("no function {} ran: name another in KERNELS", kernel.function).into());
    }
    let mut records = 0;
    for entry in fs::read_dir(&input)? {
        records += (kernel.data.count)(&fs::read(entry?.path())?);
    }
    Ok(instructions as f64 / records as f64)
}

/// All instructions that callgrind counted.
fn total(profile: &str) -> Result<u64> {
    let line = profile.lines().find_map(|line| line.strip_prefix("totals: "));
    Ok(line.ok_or("callgrind wrote no totals")?.trim().parse()?)
}

/// The error has the program's message, without valgrind's own lines.
fn expect_success(output: &Output) -> Result<()> {
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said.lines().find(|line| !line.starts_with("==")).unwrap_or("it said nothing");
    Err(format!("{}: {first}", output.status).into())
}
