//! Side files: files that a job's code reads besides its input, such as a list of stop words or a
//! model.
//!
//! A submitter names them (`--file NAME=PATH`). They are sent to every worker like the executable,
//! and found by name wherever the job's code runs: where the job is built, and in mappers,
//! combiners and reducers. A process runs at most one job, so the table is global to the process.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};

use crate::error::{Error, Result};

/// Longest name.
const NAME_BYTES_MAX: usize = 128;

static FILES: RwLock<BTreeMap<String, PathBuf>> = RwLock::new(BTreeMap::new());

/// The path of the side file called `name` on this machine. The file stays as long as the job runs,
/// and is read-only.
///
/// ```
/// use windrow_jobs::prelude::*;
/// use windrow_jobs::side_files::side_file;
///
/// let error = side_file("stop-words").unwrap_err();
/// assert_eq!(
///     error.message(),
///     "the side file 'stop-words' is missing; give it with --file stop-words=PATH"
/// );
/// ```
///
/// # Errors
/// When the job was started without it.
pub fn side_file(name: &str) -> Result<PathBuf> {
    let files = FILES.read().unwrap_or_else(PoisonError::into_inner);
    files.get(name).cloned().ok_or_else(|| {
        let name = crate::one_line(name);
        Error::new(format!("the side file '{name}' is missing; give it with --file {name}=PATH"))
    })
}

/// Sets the paths of the side files of this process's job. The engine calls it before it builds the
/// job.
#[doc(hidden)]
pub fn set_side_files(files: impl IntoIterator<Item = (String, PathBuf)>) {
    *FILES.write().unwrap_or_else(PoisonError::into_inner) = files.into_iter().collect();
}

/// Checks that `name` is one component of a path, printable and short.
///
/// # Errors
/// When it is not.
pub fn check_name(name: &str) -> Result<()> {
    let what = if name.is_empty() || name == "." || name == ".." || name.contains('/') {
        "it must be a name without '/'"
    } else if name.len() > NAME_BYTES_MAX {
        "it is too long (at most 128 bytes)"
    } else if name.chars().any(char::is_control) || name.contains('=') {
        "it must not contain '=' or control characters"
    } else {
        return Ok(());
    };
    Err(Error::new(format!("'{}' cannot name a side file: {what}", crate::one_line(name))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_by_name() {
        set_side_files([("words".to_string(), PathBuf::from("/tmp/w"))]);
        assert_eq!(side_file("words").unwrap(), PathBuf::from("/tmp/w"));
        assert!(side_file("other").unwrap_err().message().contains("--file other=PATH"));
    }

    #[test]
    fn names_are_one_plain_component() {
        check_name("stop-words.txt").unwrap();
        check_name("ハム").unwrap();
        for bad in ["", ".", "..", "a/b", "/a", "a\0", "a\nb", "a=b", &"x".repeat(129)] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }
}
