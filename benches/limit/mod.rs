//! What the hardware allows: each job as a hand-written program, as an expert would write it for
//! this job alone.
//!
//! It has no checksums, no recovery, no order unless the job promises one, and no memory budget
//! unless the job is about it. Input is memory-mapped, tables hold keys inline, and threads take
//! pieces of work in turn. None of this ships, and Windrow's own code does not use it: it is the
//! yardstick.

mod grep;
mod index;
mod output;
pub mod plain;
mod sort;
mod sort_bounded;
mod splitters;
mod sum;
mod table;
mod word_count;
mod words;

use std::error::Error;
use std::fs::{self, File};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use memmap2::Mmap;

pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Runs the job that `arguments` name: `JOB INPUT OUTPUT [ARGUMENT]`.
pub fn run(arguments: &[String]) -> Result<()> {
    let [job, input, output, more @ ..] = arguments else {
        return Err("a job, an input and an output folder are needed".into());
    };
    let (input, output) = (Path::new(input), Path::new(output));
    fs::create_dir_all(output)?;
    match (job.as_str(), more) {
        ("word-count", []) => word_count::run(input, output),
        ("plain-word-count", []) => plain::word_count(input, output),
        ("index", []) => index::run(input, output),
        ("plain-index", []) => plain::index(input, output),
        ("plain-traffic", []) => plain::traffic(input, output),
        ("sort", []) => sort::run(input, output),
        ("sort-bounded", [mib]) => sort_bounded::run(input, output, mib.parse::<usize>()? << 20),
        ("grep", [literal]) => grep::run(input, output, literal.as_bytes()),
        ("sum", []) => sum::run(input, output),
        _ => Err(format!("there is no {job} {more:?}").into()),
    }
}

/// A file in memory.
struct Input {
    path: PathBuf,
    bytes: Mmap,
}

/// The files of a folder in name order, or one file.
fn paths(input: &Path) -> Result<Vec<PathBuf>> {
    if input.is_file() {
        return Ok(vec![input.to_path_buf()]);
    }
    let entries = fs::read_dir(input)?.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = entries.collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn open(input: &Path) -> Result<Vec<Input>> {
    paths(input)?
        .into_iter()
        .map(|path| {
            let file = File::open(&path)?;
            // SAFETY: the benchmark made these files, and nothing changes them while it runs.
            #[allow(unsafe_code)]
            let bytes = unsafe { Mmap::map(&file)? };
            Ok(Input { path, bytes })
        })
        .collect()
}

/// A run of whole lines in one file.
struct Piece<'a> {
    path: &'a Path,
    /// Its offset in the file.
    offset: usize,
    bytes: &'a [u8],
}

/// Cuts the files after line ends into pieces of about `size` bytes.
fn pieces(inputs: &[Input], size: usize) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    for input in inputs {
        let mut start = 0;
        while start < input.bytes.len() {
            let near = (start + size).min(input.bytes.len());
            let end = memchr::memchr(b'\n', &input.bytes[near - 1..])
                .map_or(input.bytes.len(), |found| near + found);
            pieces.push(Piece {
                path: &input.path,
                offset: start,
                bytes: &input.bytes[start..end],
            });
            start = end;
        }
    }
    pieces
}

/// Asked once: the answer takes reading several files.
static THREADS: LazyLock<usize> =
    LazyLock::new(|| thread::available_parallelism().map_or(1, NonZero::get));

fn threads() -> usize {
    *THREADS
}

/// Runs `work` on every core with the core's number, and returns all results.
fn on_all_cores<T: Send>(work: impl Fn(usize) -> Result<T> + Sync) -> Result<Vec<T>> {
    thread::scope(|scope| {
        let started: Vec<_> = (0..threads())
            .map(|n| {
                scope.spawn({
                    let work = &work;
                    move || work(n)
                })
            })
            .collect();
        started.into_iter().map(|thread| thread.join().map_err(|_| "a thread panicked")?).collect()
    })
}

/// Hands out the numbers below `count`, each once.
struct Turns {
    next: AtomicUsize,
    count: usize,
}

impl Turns {
    fn new(count: usize) -> Self {
        Self { next: AtomicUsize::new(0), count }
    }

    /// The caller's share of the numbers, until none is left.
    fn take(&self) -> impl Iterator<Item = usize> {
        let next = || self.next.fetch_add(1, Ordering::Relaxed);
        std::iter::repeat_with(next).take_while(|&n| n < self.count)
    }
}
