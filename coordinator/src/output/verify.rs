//! Compares a published output with its manifest, byte for byte: for whoever wants to know whether
//! a disk, a server or a copy has kept it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Component, Path};

use serde::Deserialize;

use super::publish::crc64;
use super::{PART, SUCCESS};

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

/// Reads all of the output in `folder`, and compares it with its manifest.
///
/// # Errors
/// Where there is no manifest that can be read.
pub fn verify(folder: &Path) -> Result<Verified, VerifyError> {
    let manifest = read_manifest(folder)?;
    let mut verified = Verified::default();
    let mut names = BTreeSet::new();
    for file in manifest.parts.iter().chain(&manifest.bad_records) {
        verified.files += 1;
        debug_assert!(
            verified.differences.len() <= 2 * verified.files,
            "a file differs in one way, and may be named twice"
        );
        verified.bytes = verified.bytes.saturating_add(file.bytes);
        if let Some(difference) = difference(folder, file) {
            verified.differences.push(format!("{}: {difference}", file.name));
        }
        if !names.insert(file.name.clone()) {
            verified.differences.push(format!("{}: the manifest names it twice", file.name));
        }
    }
    let others = fs::read_dir(folder).map_err(|error| failed(folder, error))?;
    for other in others {
        let name = other.map_err(|error| failed(folder, error))?.file_name();
        let name = name.to_string_lossy().into_owned();
        if name.starts_with(PART) && !names.contains(&name) {
            verified.differences.push(format!("{name}: the manifest does not name it"));
        }
    }
    Ok(verified)
}

fn read_manifest(folder: &Path) -> Result<Manifest, VerifyError> {
    /// What this build writes and understands.
    const FORMAT: u32 = 1;
    let path = folder.join(SUCCESS);
    let text = fs::read(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => VerifyError::NoManifest { folder: folder.display().to_string() },
        _ => failed(&path, error),
    })?;
    let wrong =
        |message: String| VerifyError::Manifest { path: path.display().to_string(), message };
    let manifest: Manifest = serde_json::from_slice(&text)
        .map_err(|error| wrong(format!("it is no manifest: {error}")))?;
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
fn difference(folder: &Path, Listed { name, bytes, crc64: expected }: &Listed) -> Option<String> {
    let is_beneath = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    if !is_beneath {
        return Some("the manifest names a file outside the folder".into());
    }
    let path = folder.join(name);
    let found = match fs::symlink_metadata(&path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Some("it is missing".into());
        }
        Err(error) => return Some(error.to_string()),
    };
    if !found.is_file() {
        return Some("it is not a file".into());
    }
    if found.len() != *bytes {
        return Some(format!("it has {} bytes, of {bytes} that were written", found.len()));
    }
    match crc64(&path).map(|crc64| format!("{crc64:016x}")) {
        Ok(crc64) if crc64 == *expected => None,
        Ok(crc64) => {
            Some(format!("its bytes have the checksum {crc64}, and {expected} were written"))
        }
        Err(error) => Some(error.to_string()),
    }
}
