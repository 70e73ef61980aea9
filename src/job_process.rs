//! The program as the process of a job: a worker started it, with a command line of Windrow's, not
//! of the user's.

use std::ffi::OsString;
use std::io::{Write, stderr};
use std::process::ExitCode;

use tracing_subscriber::EnvFilter;
use windrow_jobs::Registry;
use windrow_worker::CHILD_ARGUMENT;

/// Whether these arguments, the program's name first, are those of a process that a worker has
/// started for a job.
pub(crate) fn is_meant(arguments: &[OsString]) -> bool {
    arguments.get(1).is_some_and(|first| first == CHILD_ARGUMENT)
}

/// Serves the worker until it asks for the end.
pub(crate) fn run(registry: Registry) -> ExitCode {
    // All that is printed is kept by the worker, as the job's.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        // They would be said by a macro that panics where nothing can be said.
        .log_internal_errors(false)
        .with_writer(stderr)
        .init();
    windrow_worker::give_back_freed_memory();
    match windrow_worker::run_child(registry) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where nobody reads it, the exit code has to do.
            let _ = writeln!(stderr(), "windrow: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What the process was started with before `arguments`, all of which it has handed to Windrow: the
/// commands of a program that has others besides. Its job processes need them, too.
pub(crate) fn prefix(arguments: &[OsString]) -> Vec<OsString> {
    let all: Vec<OsString> = std::env::args_os().collect();
    prefix_of(&all, arguments)
}

fn prefix_of(all: &[OsString], arguments: &[OsString]) -> Vec<OsString> {
    let (all, own) = (all.get(1..).unwrap_or_default(), arguments.get(1..).unwrap_or_default());
    all.strip_suffix(own).unwrap_or_default().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn commands_before_those_of_windrow_are_found() {
        for (all, own, expected) in [
            ("prog worker --dir d", "prog worker --dir d", ""),
            ("prog mr jobs worker", "prog worker", "mr jobs"),
            ("prog -v worker", "other worker", "-v"),
            ("prog worker", "prog coordinator", ""),
            ("", "", ""),
        ] {
            assert_eq!(prefix_of(&words(all), &words(own)), words(expected), "{all}");
        }
    }

    #[test]
    fn only_the_first_argument_counts() {
        assert!(is_meant(&words(&format!("prog {CHILD_ARGUMENT}"))));
        assert!(!is_meant(&words(&format!("prog run {CHILD_ARGUMENT}"))));
        assert!(!is_meant(&words("prog")));
    }
}
