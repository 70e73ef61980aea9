//! Compares a published output with its manifest, byte for byte: for whoever wants to know whether
//! a disk, a server or a copy has kept it. The manifest itself is believed: who may write to the
//! folder can put another one there.

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

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Files that the manifest names, parts and bad records.
    pub files: usize,
    /// Their bytes, as it says.
    pub bytes: u64,
    /// What differs, each with the name of its file, and what else lies there; nothing if the
    /// output is what was written.
    pub differences: Vec<String>,
    /// What may lead to a difference, each with the name of its file.
    pub remarks: Vec<String>,
}

/// Why nothing could be compared.
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
    /// The manifest is of another format, or none.
    #[error("{path}: {message}")]
    Manifest {
        /// The file.
        path: String,
        /// What is wrong with it.
        message: String,
    },
    /// The system does not let us read.
    #[error("{path}: {error}")]
    Io {
        /// The file or folder.
        path: String,
        /// What it said.
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

/// Reads all of the output in `folder`, and compares it with its manifest. Follows no link in it,
/// and waits for no pipe: whoever has changed it may have left such things.
///
/// # Errors
/// Where there is no manifest that can be read.
pub fn verify(folder: &Path) -> Result<Verified, VerifyError> {
    // Links above are the caller's own.
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
            "a file differs in one way, and may be named twice"
        );
        verified.bytes = verified.bytes.saturating_add(file.bytes);
        match compare(&output, bad_records.as_ref(), file) {
            Ok(Names::One) => {}
            Ok(Names::More) => verified.remarks.push(format!(
                "{}: it has another name as well, by which it can be changed",
                file.name
            )),
            Err(difference) => verified.differences.push(format!("{}: {difference}", file.name)),
        }
        if !names.insert(file.name.clone()) {
            verified.differences.push(format!("{}: the manifest names it twice", file.name));
        }
    }
    debug_assert!(names.len() <= verified.files, "what is named twice counts once");
    debug_assert!(verified.remarks.len() <= verified.files, "each is about a file");
    let unnamed = unnamed(&output, bad_records.as_ref(), &names);
    verified.differences.extend(unnamed.map_err(|error| failed(folder, error))?);
    Ok(verified)
}

/// Whatever lies there beside the manifest and what it names; but `_temporary`, where the next job
/// may write already.
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
    debug_assert!(
        others.iter().all(|(name, _)| name != SUCCESS),
        "the manifest does not name itself, and is no difference"
    );
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
    // As it is read: a file of any size that is none is found out at its first bytes.
    let manifest: Manifest =
        manifest::read(BufReader::new(file)).map_err(|error| match error.is_io() {
            true => failed(&path, error.into()),
            false => wrong(format!("it is no manifest: {error}")),
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

/// The names of a file.
enum Names {
    One,
    More,
}

/// What differs between a file and what the manifest says of it, as an error.
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
        return Err(format!("it has {} bytes, of {bytes} that were written", found.st_size));
    }
    let read = folder.file(file_name).and_then(|file| crc64(file, *bytes, || true));
    match read.map_err(|error| error.to_string())? {
        Some((read, found)) if read != *bytes => {
            Err(format!("{read} bytes of it were read, of {bytes}, with checksum {found:016x}"))
        }
        Some((_, found)) if format!("{found:016x}") != *expected => {
            Err(format!("its bytes have the checksum {found:016x}, and {expected} were written"))
        }
        Some(_) if found.st_nlink > 1 => Ok(Names::More),
        Some(_) => Ok(Names::One),
        None => Err("it was not read".into()),
    }
}
