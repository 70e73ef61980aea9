//! What the process of a job is started from: its program, and its side files.

use std::ffi::OsString;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use windrow_jobs::{Digest, FailureCause};

use super::ChildProgram;
use crate::blobs::{BlobCache, Cached, Use};
use crate::files::give_back_at;
use crate::model::JobContext;

/// Finds the programs of jobs.
pub(crate) struct Programs {
    /// This worker's own, which need not be fetched.
    own: ChildProgram,
    /// Of that; where it is not known, there is no other.
    own_digest: Option<Digest>,
    cache: Arc<BlobCache>,
}

/// What a job's process needs of files, kept on the disk as long as this lives.
#[derive(Debug)]
pub(crate) struct JobFiles {
    /// To be started.
    pub(crate) program: ChildProgram,
    /// The job's side files, by name.
    pub(crate) side_files: Vec<(String, PathBuf)>,
    /// Where its parts go.
    pub(crate) staging: PathBuf,
    /// What its code may write to besides.
    pub(crate) writable: Vec<PathBuf>,
    _kept: Vec<Arc<Cached>>,
}

impl JobFiles {
    /// Has all of it be usable. A job's process opens its program and side files, and can take away
    /// the right to do so from the next one. May block for a moment.
    pub(crate) fn make_usable(&self) -> Result<(), FailureCause> {
        self.program.make_usable()?;
        self.side_files.iter().try_for_each(|(_, path)| {
            give_back_at(path, Use::Data.rights()).map_err(|error| FailureCause::io(path, &error))
        })
    }
}

impl Programs {
    /// `own_digest` is that of `own`; without it, that is the program of all jobs.
    pub(crate) fn new(
        own: ChildProgram,
        own_digest: Option<Digest>,
        cache: Arc<BlobCache>,
    ) -> Self {
        Self { own, own_digest, cache }
    }

    /// Has all that a job needs on this machine.
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
                ChildProgram::shipped(file, arguments)
            }
        };
        let (staging, writable) = (context.staging.clone(), context.writable.clone());
        Ok(JobFiles { program, side_files, staging, writable, _kept: kept })
    }
}
