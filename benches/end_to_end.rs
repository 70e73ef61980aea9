//! Word count of generated text as whole processes: Windrow embedded, Windrow on a local cluster, and a plain program
//! of threads and a `HashMap`, in turn. Prints medians and ratios; it asserts equal answers, never times.
//!
//!     cargo bench --bench end_to_end [-- MIB]

#![allow(clippy::print_stdout)] // the figures are its result

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rayon::prelude::*;

type Result<T> = std::result::Result<T, Box<dyn Error>>;
/// Makes the command that writes its answer to a folder.
type MakeCommand<'a> = Box<dyn Fn(&Path) -> Result<Command> + 'a>;

const WINDROW: &str = env!("CARGO_BIN_EXE_windrow");
const RUNS: usize = 5;
const DEFAULT_MIB: usize = 256;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if let [mode, input, output] = arguments.as_slice()
        && mode == "plain"
    {
        return plain_word_count(Path::new(input), Path::new(output));
    }
    let mib = arguments.first().map_or(Ok(DEFAULT_MIB), |text| text.parse())?;
    let dir = tempfile::tempdir()?;
    let input = dir.path().join("in");
    generate(&input, mib << 20)?;

    let cluster = LocalCluster::start(dir.path())?;
    let rivals: [(&str, MakeCommand<'_>); 3] = [
        ("plain threads + HashMap", Box::new(|output| plain_command(&input, output))),
        ("windrow run", Box::new(|output| Ok(windrow("run", &input, output)))),
        ("windrow submit, 2 workers", Box::new(|output| Ok(cluster.submit(&input, output)))),
    ];
    let mut times = vec![Vec::new(); rivals.len()];
    let mut answer = None;
    // In turn, so that the machine's moods hit all alike. The first round warms caches and is not counted.
    for round in 0..=RUNS {
        for (index, (name, command)) in rivals.iter().enumerate() {
            let output = dir.path().join(format!("out-{round}-{index}"));
            let mut command = command(&output)?;
            let start = Instant::now();
            let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
            let elapsed = start.elapsed();
            if !status.success() {
                return Err(format!("{name} ended with {status}").into());
            }
            if round == 0 {
                let found = lines(&output)?;
                if *answer.get_or_insert_with(|| found.clone()) != found {
                    return Err(format!("{name} gave another answer").into());
                }
            } else {
                times[index].push(elapsed);
            }
            fs::remove_dir_all(&output)?;
        }
    }
    report(mib, &rivals.each_ref().map(|(name, _)| *name), &mut times);
    Ok(())
}

fn report(mib: usize, names: &[&str], times: &mut [Vec<Duration>]) {
    let medians: Vec<f64> = times
        .iter_mut()
        .map(|times| {
            times.sort();
            times[times.len() / 2].as_secs_f64()
        })
        .collect();
    println!("word count of {mib} MiB, whole processes, medians of {RUNS}");
    for (name, median) in names.iter().zip(&medians) {
        println!(
            "{name:<28} {median:>7.3} s  {:>6.0} MiB/s  {:>5.2} x",
            mib as f64 / median,
            median / medians[0]
        );
    }
}

/// Lines of ten words each, frequent and rare ones, in 16 files.
fn generate(folder: &Path, bytes: usize) -> Result<()> {
    fs::create_dir_all(folder)?;
    (0..16u64).into_par_iter().try_for_each(|n| {
        let mut text = Vec::with_capacity(bytes / 16 + 64);
        let mut state = (n + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        for word in 1u64.. {
            // xorshift64; the product of two uniform numbers makes low ranks frequent.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let rank = ((state >> 44) * (state & 0xFFFFF)) >> 20;
            write!(text, "w{rank:x}")?;
            text.push(if word % 10 == 0 { b'\n' } else { b' ' });
            if text.len() * 16 >= bytes {
                break;
            }
        }
        fs::write(folder.join(format!("{n:02}.txt")), text)
    })?;
    Ok(())
}

/// What one would write in ten minutes: rayon over the files, a `HashMap` each, merged at the end.
fn plain_word_count(input: &Path, output: &Path) -> Result<()> {
    let files: Vec<PathBuf> =
        fs::read_dir(input)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    let counts = files
        .par_iter()
        .map(|file| {
            let mut counts: HashMap<String, u64> = HashMap::new();
            let text = fs::read_to_string(file)?;
            for word in text.split_ascii_whitespace() {
                match counts.get_mut(word) {
                    Some(n) => *n += 1,
                    None => {
                        counts.insert(word.to_string(), 1);
                    }
                }
            }
            Ok(counts)
        })
        .try_reduce(HashMap::new, |mut all, one| {
            for (word, n) in one {
                *all.entry(word).or_default() += n;
            }
            Ok::<_, std::io::Error>(all)
        })?;
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.par_sort_unstable();
    fs::create_dir_all(output)?;
    let mut part = std::io::BufWriter::new(fs::File::create(output.join("part-00000"))?);
    for (word, n) in counts {
        writeln!(part, "{word}\t{n}")?;
    }
    Ok(part.flush()?)
}

fn plain_command(input: &Path, output: &Path) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("plain").arg(input).arg(output);
    Ok(command)
}

fn windrow(how: &str, input: &Path, output: &Path) -> Command {
    let mut command = Command::new(WINDROW);
    command.args([how, "word-count", "--input"]).arg(input).arg("--output").arg(output);
    command
}

/// All lines of the parts, sorted.
fn lines(output: &Path) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(output)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("part-")) {
            lines.extend(fs::read_to_string(path)?.lines().map(str::to_string));
        }
    }
    lines.sort_unstable();
    Ok(lines)
}

/// A coordinator and two workers with half of the cores each; killed when dropped.
struct LocalCluster {
    url: String,
    processes: Vec<Child>,
}

impl LocalCluster {
    fn start(dir: &Path) -> Result<Self> {
        let state = dir.join("state");
        let mut coordinator = Command::new(WINDROW);
        coordinator.args(["coordinator", "--listen", "127.0.0.1:0", "--state"]).arg(&state);
        let mut cluster = Self { url: String::new(), processes: vec![quiet(&mut coordinator)?] };
        let deadline = Instant::now() + Duration::from_secs(10);
        cluster.url = loop {
            match fs::read_to_string(state.join("address")) {
                Ok(url) => break url.trim().to_string(),
                Err(error) if Instant::now() > deadline => return Err(error.into()),
                Err(_) => std::thread::park_timeout(Duration::from_millis(5)),
            }
        };
        let threads = std::thread::available_parallelism()?.get().div_ceil(2).to_string();
        for n in 0..2 {
            let mut worker = Command::new(WINDROW);
            worker.args(["worker", "--coordinator", &cluster.url, "--threads", &threads, "--dir"]);
            cluster.processes.push(quiet(worker.arg(dir.join(format!("worker-{n}"))))?);
        }
        Ok(cluster)
    }

    fn submit(&self, input: &Path, output: &Path) -> Command {
        let mut command = windrow("submit", input, output);
        command.args(["--coordinator", &self.url]);
        command
    }
}

impl Drop for LocalCluster {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn quiet(command: &mut Command) -> std::io::Result<Child> {
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}
