//! `fuzz/run`: fuzzes one target or all targets, for a given time.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use windrow_fuzz::{Found, Fuzzer, all, try_input};
use windrow_jobs::fuzzing::Target;

/// Searches for inputs on which Windrow fails. Stops at the first.
#[derive(Parser)]
#[command(bin_name = "fuzz/run")]
struct Args {
    /// What to fuzz [default: all targets].
    targets: Vec<String>,
    /// Seconds for each target.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// The seed: another number makes other inputs.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Lists the targets.
    #[arg(long)]
    list: bool,
    /// Try this one input, found before.
    #[arg(long, value_name = "FILE", requires = "targets")]
    input: Option<PathBuf>,
    /// Folder for inputs that fail.
    #[arg(long, default_value = "target/fuzz")]
    found: PathBuf,
}

/// Inputs between two looks at the clock.
const BATCH: u64 = 200;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            let _ = writeln!(std::io::stderr(), "error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), String> {
    let targets = chosen(&args.targets)?;
    for target in targets {
        if args.list {
            say(target.name);
        } else if let Some(path) = &args.input {
            let input = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
            try_input(&target, &input)?;
            say(&format!("{}: the input is refused, or read correctly", target.name));
        } else {
            fuzz(target, args)?;
        }
    }
    Ok(())
}

fn chosen(names: &[String]) -> Result<Vec<Target>, String> {
    let targets = all();
    if let Some(unknown) = names.iter().find(|name| targets.iter().all(|t| t.name != **name)) {
        return Err(format!("there is no target '{unknown}'; --list names them"));
    }
    let is_chosen = |target: &Target| names.is_empty() || names.iter().any(|n| n == target.name);
    Ok(targets.into_iter().filter(is_chosen).collect())
}

fn fuzz(target: Target, args: &Args) -> Result<(), String> {
    let ends = Instant::now() + Duration::from_secs(args.seconds);
    let mut fuzzer = Fuzzer::new(target, args.seed);
    let mut tried = fuzzer.try_seeds();
    while tried.is_ok() && Instant::now() < ends {
        tried = fuzzer.run(BATCH);
    }
    let progress = fuzzer.progress();
    let (tries, kept, branches) = (progress.tries, progress.kept, progress.branches);
    say(&format!("{:<22}{tries:>10} tries {kept:>6} inputs {branches:>6} branches", target.name));
    tried.or_else(|found| Err(save(target, &found, &args.found)?))
}

/// Writes a failing input to a file, and says how to try it again.
fn save(target: Target, found: &Found, folder: &Path) -> Result<String, String> {
    let path = folder.join(format!("{}-{:016x}", target.name, fingerprint(&found.input)));
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&path, &found.input))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    let (name, path, message) = (target.name, path.display(), &found.message);
    Ok(format!("{name}: {message}\nagain: fuzz/run {name} --input {path}"))
}

/// FNV-1a, for the name of the input's file.
fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
