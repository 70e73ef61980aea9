//! From arguments to an [`Invocation`]: the fixed commands, and one subcommand of `run` and
//! `submit` a job.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{Arg, Args, Command, CommandFactory, FromArgMatches};
use windrow_jobs::Registry;

use super::args::{Cli, Commands, JobArgs, SubmitArgs};
use super::bug::UserCode;
use super::job_command::JobCommand;

/// What the user wants.
pub(crate) enum Invocation {
    Run(JobCommand),
    Submit(JobCommand, SubmitArgs),
    /// A command that is the same in every program.
    Fixed(Commands),
}

impl Invocation {
    /// What a process is that serves others until it is told to stop.
    pub(crate) fn role(&self) -> Option<&'static str> {
        match self {
            Self::Fixed(Commands::Coordinator(_)) => Some("coordinator"),
            Self::Fixed(Commands::Worker(_)) => Some("worker"),
            _ => None,
        }
    }

    /// Where code of jobs runs that this process has run.
    pub(crate) fn user_code(&self) -> UserCode {
        match self {
            Self::Fixed(Commands::Worker(args)) if args.in_process => UserCode::OnTaskThreads,
            _ => UserCode::Elsewhere,
        }
    }
}

/// Parses `arguments`, the program's name first.
pub(crate) fn parse(
    registry: &Registry,
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Invocation, clap::Error> {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let mut command = ignore_empty_environment(command(registry, &arguments));
    let matches = command.try_get_matches_from_mut(arguments)?;
    let invocation = match matches.subcommand() {
        Some(("run", of_run)) => {
            let (job, _) = JobCommand::from_matches(registry, ("run", of_run), &command)?;
            Invocation::Run(job)
        }
        Some(("submit", of_submit)) => {
            let (job, of_job) =
                JobCommand::from_matches(registry, ("submit", of_submit), &command)?;
            Invocation::Submit(job, SubmitArgs::from_arg_matches(of_job)?)
        }
        _ => Invocation::Fixed(Cli::from_arg_matches(&matches)?.command),
    };
    Ok(invocation)
}

/// A variable that is set to nothing is not set: service managers and containers cannot always
/// leave one out.
fn ignore_empty_environment(command: Command) -> Command {
    let is_empty = |arg: &Arg| {
        let value = arg.get_env().and_then(std::env::var_os);
        value.is_some_and(|value| value.is_empty())
    };
    command
        .mut_args(|arg| if is_empty(&arg) { arg.env(None::<&'static str>) } else { arg })
        .mut_subcommands(ignore_empty_environment)
}

/// The command line, as far as `arguments` can use it.
fn command(registry: &Registry, arguments: &[OsString]) -> Command {
    let run = Command::new("run")
        .about("Run a job on this machine's cores, without a cluster")
        .display_order(0);
    let submit = Command::new("submit").about("Run a job on a cluster").display_order(0);
    Cli::command()
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(with_jobs(run, registry, arguments, JobArgs::augment_args))
        .subcommand(with_jobs(submit, registry, arguments, |job| {
            SubmitArgs::augment_args(JobArgs::augment_args(job))
        }))
}

/// Adds a subcommand for each job: first the job's own flags, then the engine's. Only a job whose
/// name is among the arguments gets flags: for all others, lists need no more than a name and a
/// description, and the flags of all jobs were a third of the instructions of a small job.
fn with_jobs(
    parent: Command,
    registry: &Registry,
    arguments: &[OsString],
    engine_flags: impl Fn(Command) -> Command,
) -> Command {
    let parent = parent
        .subcommand_value_name("JOB")
        .subcommand_help_heading("Jobs")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true);
    registry.iter().fold(parent, |parent, job| {
        let bare = Command::new(job.name().to_string());
        let may_run = arguments.iter().any(|argument| argument == job.name());
        let command = if may_run { engine_flags(job.augment_args(bare)) } else { bare };
        // Last, because sets of flags bring descriptions of their own.
        parent.subcommand(command.about(job.about().to_string()).long_about(None))
    })
}

/// A parameter that parsed but does not fit the job, such as a bad regex, as clap would have said
/// it: with the usage of the subcommand.
pub(crate) fn bad_parameter(command: &Command, names: &[&str], message: &str) -> clap::Error {
    let found = names.iter().try_fold(command, |command, name| command.find_subcommand(name));
    found.unwrap_or(command).clone().error(ErrorKind::ValueValidation, message)
}
