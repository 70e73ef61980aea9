//! A role in which any part panics ends, with a message and a status, so that a supervisor starts
//! it again.
//!
//! A task or thread that ended silently would leave a process that looks alive and answers nobody.
//! No user code runs in a coordinator, nor in a worker whose jobs have processes of their own, so
//! every panic there is the engine's. In a worker with `--in-process`, only panics of the engine's
//! threads, known by their names, end the process.

use std::backtrace::Backtrace;
use std::panic::{self, PanicHookInfo};

use super::exit::Exit;
use super::stderr;

/// Where the rest of the system says of a thread that it is Windrow's.
const OWN_THREADS: &str = "windrow-";
/// Those of them that run user code.
const TASK_THREADS: &str = "windrow-task-";
/// Waits in the runtime.
const MAIN_THREAD: &str = "main";

/// Where user code runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UserCode {
    /// Not in this process.
    Elsewhere,
    /// On threads of this process.
    OnTaskThreads,
}

/// From now on, a panic ends this process, which is a `role`.
pub(crate) fn end_on_panic(role: &'static str, user_code: UserCode) {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or_default();
        if !is_ours(name, user_code) {
            return usual(panic);
        }
        say(role, name, panic);
        stderr::flush();
        // Whatever `main` would tidy up may be in the midst of being changed.
        #[allow(clippy::disallowed_methods)]
        std::process::exit(i32::from(Exit::Bug.code()));
    }));
}

fn is_ours(thread: &str, user_code: UserCode) -> bool {
    match user_code {
        UserCode::Elsewhere => true,
        UserCode::OnTaskThreads => {
            thread == MAIN_THREAD
                || (thread.starts_with(OWN_THREADS) && !thread.starts_with(TASK_THREADS))
        }
    }
}

fn say(role: &str, thread: &str, panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("a panic without a message");
    let place = panic.location().map_or_else(String::new, |place| format!(" ({place})"));
    stderr::line(format_args!(
        "windrow: a bug in Windrow: a part of this {role} has panicked on thread '{thread}'{place}: {message}; the {role} \
         ends with status {}, start it again",
        Exit::Bug.code()
    ));
    let backtrace = Backtrace::capture();
    if backtrace.status() == std::backtrace::BacktraceStatus::Captured {
        stderr::text(&format!("{backtrace}\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_of_user_code_are_spared_where_there_are_any() {
        for (thread, is_ours_then) in [
            ("main", true),
            ("windrow-io", true),
            ("windrow-spawner", true),
            ("windrow-task-3", false),
            ("", false),
            ("a-user's", false),
        ] {
            assert!(is_ours(thread, UserCode::Elsewhere), "{thread}");
            assert_eq!(is_ours(thread, UserCode::OnTaskThreads), is_ours_then, "{thread}");
        }
    }
}
