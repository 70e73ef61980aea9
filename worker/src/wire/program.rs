//! The program and the side files of a job.

use windrow_jobs::side_files::check_name;
use windrow_jobs::{Blob, Digest, GlibcVersion, JobExecutable, PlatformNeeds, SideFile};
use windrow_proto::v1;

use super::Malformed;

/// The program; one without bytes if none is named.
pub(super) fn program_from(program: v1::JobExecutable) -> Result<JobExecutable, Malformed> {
    let needs = program.needs.unwrap_or_default();
    Ok(JobExecutable {
        executable: program.executable.map_or(Ok(Blob::default()), blob_from)?,
        arguments: program.arguments,
        needs: PlatformNeeds {
            arch: needs.arch,
            interpreter: needs.interpreter,
            glibc: GlibcVersion::parse(&needs.glibc),
        },
    })
}

/// The side files.
pub(super) fn files_from(files: Vec<v1::SideFile>) -> Result<Vec<SideFile>, Malformed> {
    let file = |v1::SideFile { name, blob }: v1::SideFile| {
        check_name(&name).map_err(|_| Malformed("an invalid name of a side file"))?;
        let blob = blob_from(blob.ok_or(Malformed("no side file"))?)?;
        Ok(SideFile { name, blob })
    };
    files.into_iter().map(file).collect()
}

fn blob_from(blob: v1::Blob) -> Result<Blob, Malformed> {
    let digest = blob.digest.as_ref().try_into().map_err(|_| Malformed("no digest"))?;
    Ok(Blob { digest: Digest(digest), bytes: blob.bytes })
}
