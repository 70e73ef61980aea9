//! The program and the side files of a job.

use windrow_jobs::side_files::check_name;
use windrow_jobs::{Blob, Digest, GlibcVersion, JobProgram, PlatformNeeds, SideFile};
use windrow_proto::v1;

use super::Malformed;

/// The program; where none is named, one without bytes.
pub(super) fn program_from(program: v1::JobProgram) -> Result<JobProgram, Malformed> {
    let needs = program.needs.unwrap_or_default();
    Ok(JobProgram {
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
        check_name(&name).map_err(|_| Malformed("no name of a side file"))?;
        let blob = blob_from(blob.ok_or(Malformed("no side file"))?)?;
        Ok(SideFile { name, blob })
    };
    files.into_iter().map(file).collect()
}

fn blob_from(blob: v1::Blob) -> Result<Blob, Malformed> {
    let digest = blob.digest.as_ref().try_into().map_err(|_| Malformed("no digest"))?;
    Ok(Blob { digest: Digest(digest), bytes: blob.bytes })
}

/// As it goes over the wire.
pub(super) fn program_to(program: &JobProgram) -> v1::JobProgram {
    let JobProgram { executable, arguments, needs } = program;
    v1::JobProgram {
        executable: Some(blob_to(executable)),
        arguments: arguments.clone(),
        needs: Some(v1::PlatformNeeds {
            arch: needs.arch.clone(),
            interpreter: needs.interpreter.clone(),
            glibc: needs.glibc.map_or_else(String::new, |version| version.to_string()),
        }),
    }
}

/// As they go over the wire.
pub(super) fn files_to(files: &[SideFile]) -> Vec<v1::SideFile> {
    let file = |SideFile { name, blob }: &SideFile| v1::SideFile {
        name: name.clone(),
        blob: Some(blob_to(blob)),
    };
    files.iter().map(file).collect()
}

fn blob_to(blob: &Blob) -> v1::Blob {
    v1::Blob { digest: blob.digest.0.to_vec().into(), bytes: blob.bytes }
}
