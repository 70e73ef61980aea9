//! Compares a published output with its manifest, byte for byte, to check that a disk, a server or
//! a copy has preserved it. The manifest itself is trusted: anyone with write access to the folder
//! can replace it.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, BufReader};
use std::path::Path;

use rustix::fs::{FileType, Mode};
use serde::Deserialize;

use super::folder::{Folder, if_any};
use super::manifest::{self, FORMAT};
use super::publish::{SPECIAL, crc64};
use super::{BAD_RECORDS, SUCCESS, TEMPORARY};

/// The result of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Files that the manifest names, parts and bad records.
    pub files: usize,
    /// Their bytes, according to the manifest.
    pub bytes: u64,
    /// The differences, each with the name of its file, and foreign files; empty if the output is
    /// intact.
    pub differences: Vec<String>,
    /// Risks of later differences, each with the name of its file.
    pub remarks: Vec<String>,
}

/// Why the output could not be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// There is no manifest.
    #[error(
        "{folder} has no {SUCCESS}: it is not the output of a job that has succeeded; name the folder that was given as --output"
    )]
    NoManifest {
        /// The folder.
        folder: String,
    },
    /// The manifest has another format, or is none.
    #[error("{path}: {message}")]
    Manifest {
        /// The file.
        path: String,
        /// What is wrong with it.
        message: String,
    },
    /// The output cannot be read.
    #[error("{path}: {error}")]
    Io {
        /// The file or folder.
        path: String,
        /// The system's error.
        #[source]
        error: io::Error,
    },
}

#[derive(Deserialize)]
struct Manifest {
    format: u32,
    parts: Vec<Listed>,
    #[serde(default)]
    bad_records: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    name: String,
    bytes: u64,
    crc64: String,
}

/// Reads the whole output in `folder`, and compares it with its manifest. Follows no link and waits
/// for no pipe: a tampered output may contain such things.
///
/// # Errors
/// When there is no readable manifest.
pub fn verify(folder: &Path) -> Result<Verified, VerifyError> {
    // Links in the path above the output are the caller's own.
    let real = fs::canonicalize(folder).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => VerifyError::NoManifest { folder: folder.display().to_string() },
        _ => failed(folder, error),
    })?;
    let output = Folder::open(&real).map_err(|error| failed(folder, error))?;
    let manifest = read_manifest(folder, &output)?;
    let bad_records = output.folder_if_any(BAD_RECORDS).ok().flatten();
    let mut verified = Verified::default();
    let mut names = BTreeSet::new();
    for file in manifest.parts.iter().chain(&manifest.bad_records) {
        verified.files += 1;
        debug_assert!(
            verified.differences.len() <= 2 * verified.files,
            "each file has at most one difference, besides being named twice"
        );
        verified.bytes = verified.bytes.saturating_add(file.bytes);
        match compare(&output, bad_records.as_ref(), file) {
            Ok(Names::One) => {}
            Ok(Names::More) => verified.remarks.push(format!(
                "{}: it has another hard link, through which it can be changed",
                file.name
            )),
            Err(difference) => verified.differences.push(format!("{}: {difference}", file.name)),
        }
        if !names.insert(file.name.clone()) {
            verified.differences.push(format!("{}: the manifest names it twice", file.name));
        }
    }
    debug_assert!(names.len() <= verified.files, "a file that is named twice counts once");
    debug_assert!(verified.remarks.len() <= verified.files, "each remark is about one file");
    let unnamed = unnamed(&output, bad_records.as_ref(), &names);
    verified.differences.extend(unnamed.map_err(|error| failed(folder, error))?);
    Ok(verified)
}

/// The entries that the manifest does not name, except for `_temporary`, where the next job may
/// already write.
fn unnamed(
    output: &Folder,
    bad_records: Option<&Folder>,
    named: &BTreeSet<String>,
) -> io::Result<Vec<String>> {
    let is_listed = named.iter().any(|name| name.starts_with(BAD_RECORDS));
    let is_known = |name: &OsStr| {
        name == SUCCESS || name == TEMPORARY || name == BAD_RECORDS && bad_records.is_some()
    };
    let mut others = Vec::new();
    for (name, kind) in output.entries(|name, _| !is_known(name))? {
        others.push((name.to_string_lossy().into_owned(), kind));
    }
    if let Some(bad_records) = bad_records {
        let entries = bad_records.entries(|_, _| true)?;
        if entries.is_empty() && !is_listed {
            others.push((BAD_RECORDS.to_string(), FileType::Directory));
        }
        let within = |name: OsString| format!("{BAD_RECORDS}/{}", name.to_string_lossy());
        others.extend(entries.into_iter().map(|(name, kind)| (within(name), kind)));
    }
    others.retain(|(name, _)| !named.contains(name));
    debug_assert!(others.iter().all(|(name, _)| name != SUCCESS), "the manifest is no difference");
    others.sort_by(|one, other| one.0.cmp(&other.0));
    let named = others.into_iter().map(|(name, kind)| match kind {
        FileType::Directory => format!("{name}: a folder that the manifest does not name"),
        _ => format!("{name}: the manifest does not name it"),
    });
    Ok(named.collect())
}

fn read_manifest(folder: &Path, output: &Folder) -> Result<Manifest, VerifyError> {
    let path = folder.join(SUCCESS);
    let file = if_any(output.file(SUCCESS)).map_err(|error| failed(&path, error))?;
    let no_manifest = || VerifyError::NoManifest { folder: folder.display().to_string() };
    let file = file.ok_or_else(no_manifest)?;
    let wrong =
        |message: String| VerifyError::Manifest { path: path.display().to_string(), message };
    // Parsed as it is read: a huge file that is no manifest is refused at its first bytes.
    let manifest: Manifest =
        manifest::read(BufReader::new(file)).map_err(|error| match error.is_io() {
            true => failed(&path, error.into()),
            false => wrong(format!("it is not a manifest: {error}")),
        })?;
    if manifest.format != FORMAT {
        return Err(wrong(format!(
            "it has format {}, of another version of Windrow; this one knows format {FORMAT}",
            manifest.format
        )));
    }
    Ok(manifest)
}

fn failed(path: &Path, error: io::Error) -> VerifyError {
    VerifyError::Io { path: path.display().to_string(), error }
}

/// The names under which a file is listed.
enum Names {
    One,
    More,
}

/// The difference between a file and its entry in the manifest, as an error.
fn compare(
    output: &Folder,
    bad_records: Option<&Folder>,
    Listed { name, bytes, crc64: expected }: &Listed,
) -> Result<Names, String> {
    let outside = || "the manifest names a file outside the folder".to_string();
    let missing = || "it is missing".to_string();
    let (folder, file_name) = match name.split_once('/') {
        None => (output, &**name),
        Some((BAD_RECORDS, file_name)) => (bad_records.ok_or_else(missing)?, file_name),
        Some(_) => return Err(outside()),
    };
    let found = match if_any(folder.stat(file_name)) {
        Ok(found) => found.ok_or_else(missing)?,
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(outside()),
        Err(error) => return Err(error.to_string()),
    };
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Err("it is not a file".into());
    }
    if Mode::from_raw_mode(found.st_mode).intersects(SPECIAL) {
        return Err("it has a setuid, setgid or sticky bit, which no job has written".into());
    }
    if found.st_size as u64 != *bytes {
        return Err(format!("it has {} bytes, but {bytes} were written", found.st_size));
    }
    let read = folder.file(file_name).and_then(|file| crc64(file, *bytes, || true));
    match read.map_err(|error| error.to_string())? {
        Some((read, found)) if read != *bytes => {
            Err(format!("only {read} of its {bytes} bytes were read, with checksum {found:016x}"))
        }
        Some((_, found)) if format!("{found:016x}") != *expected => {
            Err(format!("its checksum is {found:016x}, but {expected} was written"))
        }
        Some(_) if found.st_nlink > 1 => Ok(Names::More),
        Some(_) => Ok(Names::One),
        None => Err("it was not read".into()),
    }
}
