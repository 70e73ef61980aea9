//! The command line: what it takes, what it prints, and the status it ends with.
//!
//! Results go to standard output; progress, logs and errors go to standard error.

mod args;
mod bug;
mod cluster;
mod commands;
mod confinement;
mod error;
mod exit;
mod follow;
mod generate;
mod interrupt;
mod job_command;
mod logs;
mod observe;
mod open_files;
mod patience;
mod preview;
mod progress;
mod run;
mod security;
mod state_folder;
mod stderr;
mod stdout;
mod submit;
mod summary;
mod values;
mod verify;
mod wait;

use std::ffi::OsString;
use std::fmt;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::task::spawn_blocking;
use tokio::time::{interval, timeout};
use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use windrow_jobs::{Registry, one_line};

pub(crate) use exit::Exit;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use values::check_texts;

use crate::job_process;

use args::Commands;
use commands::Invocation;
use error::CliError;

/// How often a thread is given something to do, in order to be kept: no more than one is, as two
/// would get it in turn.
const THREAD_LOOK: Duration = Duration::from_secs(6);
/// How long work that may block waits for a thread before that is said.
const THREAD_WAIT_MAX: Duration = Duration::from_secs(60);

/// Parses `arguments` and does what they say.
pub(crate) fn main(registry: Registry, arguments: Vec<OsString>) -> Exit {
    let prefix = job_process::prefix(&arguments);
    // Also of a command line that cannot be parsed.
    let wants_json = arguments.iter().any(|argument| argument == "--json");
    let invocation = match commands::parse(&registry, arguments) {
        Ok(invocation) => invocation,
        Err(error) => {
            let text = error.render().to_string();
            if error.use_stderr() {
                // It quotes arguments as they are.
                stderr::text(&text);
                if wants_json {
                    let message = text.split("\n\n").next().unwrap_or_default();
                    refused(message.trim_start_matches("error: "), Exit::Usage);
                }
                return stdout::exit(Exit::Usage);
            }
            // Help and version are "errors" of clap's that end with success.
            stdout::text(&text);
            return stdout::exit(Exit::Success);
        }
    };
    if let Some(role) = invocation.role() {
        stderr::never_wait();
        bug::end_on_panic(role, invocation.user_code());
    }
    start_logging(&invocation);
    open_files::allow_all();
    windrow_worker::give_back_freed_memory();
    let exit = dispatch(Arc::new(registry), invocation, prefix).unwrap_or_else(|error| {
        stderr::line(format_args!("windrow: {error}"));
        if wants_json {
            refused(&error.to_string(), error.exit());
        }
        error.exit()
    });
    let exit = stdout::exit(exit);
    stderr::flush();
    exit
}

/// Says as JSON why a command has not done what was asked.
fn refused(message: &str, exit: Exit) {
    let event = json!({ "event": "error", "message": message, "status": exit.code() });
    stdout::line(format_args!("{event}"));
}

/// `prefix` are the arguments that come before Windrow's own.
fn dispatch(
    registry: Arc<Registry>,
    invocation: Invocation,
    prefix: Vec<OsString>,
) -> Result<Exit, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // RPC, heartbeats and timers only: user code runs on the worker's own pool.
        .worker_threads(2)
        .thread_name("windrow-io")
        .enable_all()
        .build()
        .map_err(CliError::io("threads"))?;
    let result = runtime.block_on(async {
        tokio::spawn(keep_a_thread());
        match invocation {
            Invocation::Run(job) => run::run(registry, job).await,
            Invocation::Submit(job, submit) => submit::submit(registry, job, submit, prefix).await,
            Invocation::Fixed(command) => run_fixed(registry, command, prefix).await,
        }
    });
    // A user function that hangs must not keep the process from ending.
    runtime.shutdown_background();
    result
}

async fn run_fixed(
    registry: Arc<Registry>,
    command: Commands,
    prefix: Vec<OsString>,
) -> Result<Exit, CliError> {
    match command {
        Commands::Init(args) => security::init(args),
        Commands::Token(args) => security::token(args),
        Commands::Login(args) => security::login(args).await,
        Commands::Revoke(args) => security::revoke(args),
        Commands::Coordinator(args) => cluster::coordinator(args).await,
        Commands::Worker(args) => cluster::worker(registry, args, prefix).await,
        Commands::Jobs(args) => observe::jobs(args).await,
        Commands::Status(args) => observe::status(args).await,
        Commands::Wait(args) => wait::wait(args).await,
        Commands::Cancel(args) => observe::cancel(args).await,
        Commands::Logs(args) => logs::logs(args).await,
        Commands::Workers(args) => observe::workers(args).await,
        Commands::Gen(args) => generate::generate(args).await,
        Commands::Verify(args) => verify::verify(&args),
    }
}

/// The runtime ends idle threads for blocking work after ten seconds. If the system then refuses
/// new threads, no blocking work would ever be done again; so one thread is kept busy.
async fn keep_a_thread() {
    let mut looks = interval(THREAD_LOOK);
    loop {
        looks.tick().await;
        if timeout(THREAD_WAIT_MAX, spawn_blocking(|| {})).await.is_err() {
            tracing::error!(
                "no thread has been free for {} s; if the system has no more ('ulimit -u', TasksMax=), this process is stuck",
                THREAD_WAIT_MAX.as_secs()
            );
        }
    }
}

/// Servers say what they do; commands that wait for a job show its progress instead.
fn start_logging(invocation: &Invocation) {
    let level = if invocation.role().is_some() { "info" } else { "error" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        // Names chosen by others must not break lines of the log.
        .fmt_fields(debug_fn(field).delimited(" "))
        // They would be said by a macro that panics where nothing can be said.
        .log_internal_errors(false)
        .with_writer(|| stderr::Log)
        .init();
}

/// One value of an event of the log.
fn field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let text = one_line(&format!("{value:?}"));
    match field.name() {
        "message" => write!(writer, "{text}"),
        name if writer.has_ansi_escapes() => {
            write!(writer, "\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m{text}")
        }
        name => write!(writer, "{name}={text}"),
    }
}
