//! `windrow gen`: data to try and to measure with, the same for everybody.
//!
//! The bytes depend on the flags alone, never on cores, threads or platform: each file has a stream
//! of random numbers of its own, and all decisions are made in integers. They are part of what a
//! release promises.

mod args;
mod csv;
mod distribution;
mod folder;
mod output;
mod records;
mod rng;
mod text;
mod vocabulary;

#[cfg(test)]
mod testing;

use std::io;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Instant;

use bytesize::ByteSize;

pub(crate) use args::GenArgs;

use super::error::CliError;
use super::exit::Exit;
use super::interrupt::{HangUp, Interrupts};
use super::stdout;
use args::{CommonArgs, Kind};
use csv::Csv;
use folder::Folder;
use output::{Output, Share};
use records::Records;
use rng::Rng;
use text::Text;

/// Without `--files`, a file holds at least this much.
const FILE_BYTES_MIN: u64 = 1 << 20;
/// Without `--files`, there are no more than this.
const FILES_MAX: u64 = 16;
/// Each file has room for one record of any kind, and for a header.
const SHARE_BYTES_MIN: u64 = 200;

/// The stream of random numbers that words are made from; files have those below.
const SETUP_STREAM: u64 = u64::MAX;

/// A kind of data.
trait Content: Sync {
    /// What the files' names end with.
    const EXTENSION: &str;

    /// Writes one file: as many whole records as its share has room for.
    fn write(&self, share: Share, out: &mut Output<'_>) -> io::Result<()>;
}

/// Runs the command.
pub(crate) async fn generate(args: GenArgs) -> Result<Exit, CliError> {
    let mut interrupts = Interrupts::listen(HangUp::Stops)?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut work = tokio::task::spawn_blocking({
        let stop = Arc::clone(&stop);
        move || generate_kind(args.kind, &stop)
    });
    let joined = tokio::select! {
        joined = &mut work => joined,
        _ = interrupts.next() => {
            stop.store(true, Ordering::Relaxed);
            // What was written has to go first.
            let _ = work.await;
            return Ok(Exit::Interrupted);
        }
    };
    joined.map_err(|error| CliError::Other(error.to_string()))??;
    Ok(Exit::Success)
}

fn generate_kind(kind: Kind, stop: &AtomicBool) -> Result<(), CliError> {
    let started = Instant::now();
    match kind {
        Kind::Zipf { words, common } => {
            Plan::new(common)?.run(|seed| Text::new(seed, words), stop, started)
        }
        Kind::Records { keys, common } => {
            Plan::new(common)?.run(|seed| Records::new(seed, keys), stop, started)
        }
        Kind::Csv { paths, header, common } => {
            Plan::new(common)?.run(|seed| Csv::new(seed, paths, header), stop, started)
        }
    }
}

/// What to write and where, checked.
struct Plan {
    bytes: u64,
    seed: u64,
    files: u32,
    threads: u32,
    folder: Folder,
}

impl Plan {
    fn new(args: CommonArgs) -> Result<Self, CliError> {
        let bytes = args.bytes.0;
        let files = args.files.unwrap_or((bytes / FILE_BYTES_MIN).clamp(1, FILES_MAX) as u32);
        if bytes / u64::from(files) < SHARE_BYTES_MIN {
            return Err(CliError::Usage(format!(
                "--bytes {bytes} is too little for {}: each takes at least {SHARE_BYTES_MIN}",
                count_files(files)
            )));
        }
        let threads = args.threads.unwrap_or_else(|| {
            thread::available_parallelism().map_or(1, NonZero::get).try_into().unwrap_or(u32::MAX)
        });
        let folder = Folder::take(args.output)?;
        Ok(Self { bytes, seed: args.seed, files, threads: threads.min(files), folder })
    }

    /// Writes the files, removes them if one fails, and says what was done.
    fn run<C: Content>(
        self,
        make: impl FnOnce(u64) -> C,
        stop: &AtomicBool,
        started: Instant,
    ) -> Result<(), CliError> {
        let content = make(self.seed);
        let written = self.write_files(&content, stop)?;
        let seconds = started.elapsed().as_secs_f64();
        stdout::line(format_args!(
            "{} in {}, written to {} in {seconds:.2} s, {}/s",
            ByteSize(written).display().iec(),
            count_files(self.files),
            self.folder.path().display(),
            ByteSize((written as f64 / seconds) as u64).display().iec(),
        ));
        self.folder.keep();
        Ok(())
    }

    /// Each thread takes the next file until none is left, or one has failed.
    fn write_files<C: Content>(&self, content: &C, stop: &AtomicBool) -> Result<u64, CliError> {
        let next_file = AtomicU32::new(0);
        let written = AtomicU64::new(0);
        // Later ones only say that they were stopped.
        let first_error = OnceLock::new();
        thread::scope(|scope| {
            for _ in 0..self.threads {
                scope.spawn(|| {
                    while let file = next_file.fetch_add(1, Ordering::Relaxed)
                        && file < self.files
                    {
                        match self.write_file(content, file, stop) {
                            Ok(bytes) => written.fetch_add(bytes, Ordering::Relaxed),
                            Err(error) => {
                                let _ = first_error.set(error);
                                return stop.store(true, Ordering::Relaxed);
                            }
                        };
                    }
                });
            }
        });
        first_error.into_inner().map_or(Ok(written.into_inner()), Err)
    }

    fn write_file<C: Content>(
        &self,
        content: &C,
        file: u32,
        stop: &AtomicBool,
    ) -> Result<u64, CliError> {
        let name = format!("part-{file:05}.{}", C::EXTENSION);
        let (path, mut to) = self.folder.create(&name)?;
        let mut out = Output::new(&mut to, stop);
        content
            .write(Share::of(file, self.files, self.bytes), &mut out)
            .and_then(|()| out.finish())
            .map_err(CliError::io(path))
    }
}

/// The random numbers of one file.
fn file_rng(seed: u64, share: Share) -> Rng {
    Rng::new(seed, u64::from(share.file))
}

fn count_files(files: u32) -> String {
    let plural = if files == 1 { "" } else { "s" };
    format!("{files} file{plural}")
}
