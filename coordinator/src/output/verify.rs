//! Compares a published output with its manifest, byte for byte: for whoever wants to know whether
//! a disk, a server or a copy has kept it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufReader};
use std::path::Path;

use rustix::fs::FileType;
use serde::Deserialize;

use super::folder::{Folder, if_any};
use super::publish::crc64;
use super::{BAD_RECORDS, PART, SUCCESS, manifest};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Files that the manifest names, parts and bad records.
    pub files: usize,
    /// Their bytes, as it says.
    pub bytes: u64,
    /// What differs, each with the name of its file; nothing if the output is what was written.
    pub differences: Vec<String>,
}

/// Why nothing could be compared.
#[derive(Debug, thiserror::Error)]
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
    let bad_records = match manifest.bad_records.is_empty() {
        true => None,
        false => output.folder_if_any(BAD_RECORDS).ok().flatten(),
    };
    let mut verified = Verified::default();
    let mut names = BTreeSet::new();
    for file in manifest.parts.iter().chain(&manifest.bad_records) {
        verified.files += 1;
        debug_assert!(
            verified.differences.len() <= 2 * verified.files,
            "a file differs in one way, and may be named twice"
        );
        verified.bytes = verified.bytes.saturating_add(file.bytes);
        if let Some(difference) = difference(&output, bad_records.as_ref(), file) {
            verified.differences.push(format!("{}: {difference}", file.name));
        }
        if !names.insert(file.name.clone()) {
            verified.differences.push(format!("{}: the manifest names it twice", file.name));
        }
    }
    let is_part = |name: &OsStr, _| name.as_encoded_bytes().starts_with(PART.as_bytes());
    let others = output.entries(is_part).map_err(|error| failed(folder, error))?.into_iter();
    let mut others: Vec<_> = others.map(|(name, _)| name.to_string_lossy().into_owned()).collect();
    if let Some(bad_records) = &bad_records {
        let listed =
            bad_records.entries(|_, _| true).map_err(|error| failed(bad_records.path(), error))?;
        let listed = listed.into_iter().map(|(name, _)| name.to_string_lossy().into_owned());
        others.extend(listed.map(|name| format!("{BAD_RECORDS}/{name}")));
    }
    others.sort();
    let others = others.into_iter().filter(|name| !names.contains(name));
    let unnamed = others.map(|name| format!("{name}: the manifest does not name it"));
    verified.differences.extend(unnamed);
    Ok(verified)
}

fn read_manifest(folder: &Path, output: &Folder) -> Result<Manifest, VerifyError> {
    /// What this build writes and understands.
    const FORMAT: u32 = 1;
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

/// What differs between a file and what the manifest says of it.
fn difference(
    output: &Folder,
    bad_records: Option<&Folder>,
    Listed { name, bytes, crc64: expected }: &Listed,
) -> Option<String> {
    let (folder, file_name) = match name.split_once('/') {
        None => (output, &**name),
        Some((BAD_RECORDS, file_name)) => match bad_records {
            Some(folder) => (folder, file_name),
            None => return Some("it is missing".into()),
        },
        Some(_) => return Some("the manifest names a file outside the folder".into()),
    };
    let found = match if_any(folder.stat(file_name)) {
        Ok(Some(found)) => found,
        Ok(None) => return Some("it is missing".into()),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Some("the manifest names a file outside the folder".into());
        }
        Err(error) => return Some(error.to_string()),
    };
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Some("it is not a file".into());
    }
    if found.st_size as u64 != *bytes {
        return Some(format!("it has {} bytes, of {bytes} that were written", found.st_size));
    }
    match folder.file(file_name).and_then(|file| crc64(file, *bytes, || true)) {
        Ok(Some((read, found))) if read != *bytes => {
            Some(format!("{read} bytes of it were read, of {bytes}, with checksum {found:016x}"))
        }
        Ok(found) => {
            let found = found.map_or_else(String::new, |(_, crc64)| format!("{crc64:016x}"));
            (found != *expected).then(|| {
                format!("its bytes have the checksum {found}, and {expected} were written")
            })
        }
        Err(error) => Some(error.to_string()),
    }
}
