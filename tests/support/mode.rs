//! The two ways to run a job behind one interface, so that tests of results run on both.

use std::ffi::OsStr;
use std::process::Command;
use std::sync::Mutex;

use libtest_mimic::{Arguments, Trial};

use super::{Cluster, Output, Process, windrow};

/// Where a test's jobs run.
pub enum Mode {
    Embedded,
    Cluster(Box<Cluster>),
}

impl Mode {
    /// Runs a job (its name, then flags) to its end.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        self.start(arguments).finish()
    }

    /// Starts a process that runs a job and waits for its end.
    pub fn start<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Process {
        Process::start(self.command(arguments))
    }

    /// The command that [`Self::start`] starts.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        match self {
            Self::Embedded => {
                let mut command = windrow(["run"]);
                command.args(arguments);
                command
            }
            Self::Cluster(cluster) => cluster.submit_command(arguments),
        }
    }
}

/// The same test in embedded mode and on a coordinator with three workers.
pub fn both(name: &str, test: fn(&Mode)) -> Vec<Trial> {
    vec![
        case(&format!("{name}::embedded"), move || test(&Mode::Embedded)),
        case(&format!("{name}::cluster"), move || {
            test(&Mode::Cluster(Box::new(Cluster::start(3))));
        }),
    ]
}

/// A test that panics when it fails.
pub fn case(name: &str, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(name, move || {
        test();
        Ok(())
    })
}

/// A test that needs root; without root it is left out, and [`left_out`] lists it.
pub fn root_case(name: &str, test: impl FnOnce() + Send + 'static) -> Trial {
    let is_left_out = !rustix::process::geteuid().is_root();
    if is_left_out {
        LEFT_OUT.lock().unwrap().push(name.to_string());
    }
    case(name, test).with_ignored_flag(is_left_out)
}

static LEFT_OUT: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// The names of the selected tests that are left out without root.
pub fn left_out(arguments: &Arguments) -> Vec<String> {
    let mut names = LEFT_OUT.lock().unwrap().clone();
    names.retain(|name| match &arguments.filter {
        _ if arguments.list || arguments.ignored || arguments.include_ignored => false,
        Some(filter) if arguments.exact => name == filter,
        Some(filter) => name.contains(filter.as_str()),
        None => true,
    });
    names
}
