//! A secured cluster of real processes: who joins, who is refused with which message, and what
//! submitters can reach.

mod certificates;
mod connections;
mod members;
mod submissions;
mod tokens;

use std::path::{Path, PathBuf};

use libtest_mimic::Trial;

use crate::support::{Cluster, ClusterOptions, Process, windrow};

pub fn tests() -> Vec<Trial> {
    [
        certificates::tests(),
        connections::tests(),
        members::tests(),
        submissions::tests(),
        tokens::tests(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn secured(workers: usize) -> Cluster {
    Cluster::with_options(workers, ClusterOptions { secured: true, ..ClusterOptions::default() })
}

/// Logs in with a token of this cluster. Returns the folder of the credentials.
fn login(cluster: &Cluster, token: &str, folder: &str) -> (PathBuf, Process) {
    let folder = cluster.dir().join(folder);
    let mut command = windrow(["login", "--coordinator", &cluster.url, "--token", token]);
    command.arg("--credentials").arg(&folder);
    (folder, Process::start(command))
}

fn as_member(cluster: &Cluster, credentials: &Path, arguments: &[&str]) -> Process {
    let mut command = windrow(arguments);
    command.env("WINDROW_COORDINATOR", &cluster.url).env("WINDROW_CREDENTIALS", credentials);
    Process::start(command)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
