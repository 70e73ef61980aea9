//! Conversion of programs, side files and platforms. Their limits are checked here; the code behind
//! relies on them.

use std::collections::BTreeSet;

use windrow_jobs::side_files::check_name;
use windrow_jobs::{
    Blob, Digest, GlibcVersion, Isolation, JobExecutable, Platform, PlatformNeeds, SideFile,
};
use windrow_proto::v1;

use super::Malformed;
use super::spec::check;

const TEXT_BYTES_MAX: usize = 4_096;
const ARGUMENTS_MAX: usize = 64;
const INTERPRETERS_MAX: usize = 64;
const FILES_MAX: usize = 256;

pub(in crate::rpc) fn digest_from(digest: &[u8]) -> Result<Digest, Malformed> {
    let bytes = digest.try_into().map_err(|_| Malformed("a digest has 32 bytes".to_string()))?;
    Ok(Digest(bytes))
}

pub(in crate::rpc) fn blob_from(blob: Option<v1::Blob>) -> Result<Blob, Malformed> {
    let blob = blob.ok_or_else(|| Malformed::missing("blob"))?;
    Ok(Blob { digest: digest_from(&blob.digest)?, bytes: blob.bytes })
}

/// The program of a submission.
pub(super) fn program_from(program: Option<v1::JobExecutable>) -> Result<JobExecutable, Malformed> {
    let program = program.ok_or_else(|| Malformed::missing("program"))?;
    let needs = program.needs.unwrap_or_default();
    check(program.arguments.len() <= ARGUMENTS_MAX, "the program has too many arguments")?;
    let texts = program.arguments.iter().chain([&needs.arch, &needs.interpreter, &needs.glibc]);
    check_texts(texts)?;
    Ok(JobExecutable {
        executable: blob_from(program.executable)?,
        needs: PlatformNeeds {
            glibc: glibc_from(&needs.glibc)?,
            arch: needs.arch,
            interpreter: needs.interpreter,
        },
        arguments: program.arguments,
    })
}

/// The side files of a submission, each with a name of its own.
pub(super) fn files_from(files: Vec<v1::SideFile>) -> Result<Vec<SideFile>, Malformed> {
    check(files.len() <= FILES_MAX, "too many side files (at most 256)")?;
    let mut names = BTreeSet::new();
    let mut checked = Vec::with_capacity(files.len());
    for v1::SideFile { name, blob } in files {
        check_name(&name).map_err(|error| Malformed(error.message().to_string()))?;
        check(names.insert(name.clone()), "two side files have the same name")?;
        checked.push(SideFile { name, blob: blob_from(blob)? });
    }
    Ok(checked)
}

/// A worker's isolation level; `None` where it does not state one.
pub(super) fn isolation_from(isolation: v1::Isolation) -> Option<Isolation> {
    match isolation {
        v1::Isolation::Unspecified => None,
        v1::Isolation::None => Some(Isolation::None),
        v1::Isolation::Files => Some(Isolation::Files),
        v1::Isolation::Process => Some(Isolation::Process),
        v1::Isolation::User => Some(Isolation::User),
    }
}

pub(super) fn isolation_to(isolation: Option<Isolation>) -> v1::Isolation {
    match isolation {
        None => v1::Isolation::Unspecified,
        Some(Isolation::None) => v1::Isolation::None,
        Some(Isolation::Files) => v1::Isolation::Files,
        Some(Isolation::Process) => v1::Isolation::Process,
        Some(Isolation::User) => v1::Isolation::User,
    }
}

/// The platform of a worker's machine.
pub(super) fn platform_from(platform: v1::Platform) -> Result<Platform, Malformed> {
    let v1::Platform { arch, interpreters, glibc } = platform;
    check(interpreters.len() <= INTERPRETERS_MAX, "too many dynamic linkers")?;
    check_texts(interpreters.iter().chain([&arch, &glibc]))?;
    Ok(Platform { glibc: glibc_from(&glibc)?, arch, interpreters })
}

fn check_texts<'a>(mut texts: impl Iterator<Item = &'a String>) -> Result<(), Malformed> {
    let sound = texts.all(|text| text.len() <= TEXT_BYTES_MAX && !text.contains('\0'));
    check(sound, "a text about the program is too long or contains a NUL")
}

fn glibc_from(text: &str) -> Result<Option<GlibcVersion>, Malformed> {
    match (text, GlibcVersion::parse(text)) {
        ("", _) => Ok(None),
        (_, None) => Err(Malformed("a version of glibc is two numbers".to_string())),
        (_, version) => Ok(version),
    }
}

/// As it goes over the wire.
pub(super) fn program_to(program: &JobExecutable) -> v1::JobExecutable {
    let JobExecutable { executable, arguments, needs } = program;
    v1::JobExecutable {
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
