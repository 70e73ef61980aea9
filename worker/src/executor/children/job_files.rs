//! The files that a job's process is started from: its executable, and its side files.

use std::ffi::OsString;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use windrow_jobs::{Digest, FailureCause};

use super::ChildCommand;
use crate::blobs::{BlobCache, Cached, Use};
use crate::files::give_back_at;
use crate::model::JobContext;
use crate::parts;

/// Finds the executables of jobs.
pub(crate) struct Executables {
    /// This worker's own executable, which need not be fetched.
    own: ChildCommand,
    /// Its digest; if that is unknown, there is no other executable.
    own_digest: Option<Digest>,
    cache: Arc<BlobCache>,
}

/// The files for a job's process, kept on the disk as long as this lives.
#[derive(Debug)]
pub(crate) struct JobFiles {
    /// The executable to start.
    pub(crate) program: ChildCommand,
    /// The job's side files, by name.
    pub(crate) side_files: Vec<(String, PathBuf)>,
    /// The folder for its parts.
    pub(crate) staging: PathBuf,
    /// The other paths to which its code may write.
    pub(crate) writable: Vec<PathBuf>,
    _kept: Vec<Arc<Cached>>,
}

impl JobFiles {
    /// Restores the permissions of all files: a job's process opens its executable and side files,
    /// and can remove their permissions. May block for a moment.
    pub(crate) fn make_usable(&self) -> Result<(), FailureCause> {
        self.program.make_usable()?;
        self.side_files.iter().try_for_each(|(_, path)| {
            give_back_at(path, Use::Data.rights()).map_err(|error| FailureCause::io(path, &error))
        })
    }
}

impl Executables {
    /// `own_digest` is the digest of `own`; without it, `own` runs all jobs.
    pub(crate) fn new(
        own: ChildCommand,
        own_digest: Option<Digest>,
        cache: Arc<BlobCache>,
    ) -> Self {
        Self { own, own_digest, cache }
    }

    /// Gets all files that a job needs on this machine.
    pub(crate) async fn of(&self, context: &JobContext) -> Result<JobFiles, FailureCause> {
        let mut kept = Vec::new();
        let mut side_files = Vec::new();
        for file in &context.files {
            let cached = self.cache.get(file.blob, Use::Data).await?;
            side_files.push((file.name.clone(), cached.path.clone()));
            kept.push(cached);
        }
        let executable = context.program.executable;
        let arguments = context.program.arguments.iter().map(OsString::from).collect();
        let program = match self.own_digest {
            None => self.own.clone(),
            Some(own) if own == executable.digest => self.own.with_prefix(arguments),
            Some(_) => {
                let cached = self.cache.get(executable, Use::Program).await?;
                let opened = File::open(&cached.path);
                let file = opened.map_err(|error| FailureCause::io(&cached.path, &error))?;
                kept.push(cached);
                ChildCommand::shipped(file, arguments)
            }
        };
        let staging = parts::folder_of(&context.staging)?.to_path_buf();
        let writable = context.writable.clone();
        Ok(JobFiles { program, side_files, staging, writable, _kept: kept })
    }
}
