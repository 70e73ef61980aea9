//! The two ways to run a job, behind one face, so that every semantic test runs on both.

use std::ffi::OsStr;
use std::process::Command;

use libtest_mimic::Trial;

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

    /// The command of such a process.
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

/// A test that takes the rights of root; ignored without them.
pub fn root_case(name: &str, test: impl FnOnce() + Send + 'static) -> Trial {
    case(name, test).with_ignored_flag(!rustix::process::geteuid().is_root())
}
