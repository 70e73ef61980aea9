//! Finds outputs in the paths that a job's code may write to: outputs of jobs that are over are
//! known only by their files.

use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use rustix::fs::FileType;

use super::folder::Folder;
use super::{SUCCESS, TEMPORARY};
use crate::claims::ClaimError;
use crate::hanging::at;

/// Limits of the search.
#[derive(Clone, Copy)]
struct Limits {
    /// Files and folders in all declared paths together.
    entries: usize,
    /// Depth of nested folders; each level takes a descriptor.
    depth: usize,
}

const LIMITS: Limits = Limits { entries: 100_000, depth: 64 };

/// Entries by which an output is recognised.
const MARKS: [&str; 2] = [SUCCESS, TEMPORARY];

/// Refuses a path that is an output, contains one, or lies in one, and a path for which this cannot
/// be known. Follows no link. Folders that this process may not enter hold no output of its own.
pub(crate) fn refuse_outputs_at(paths: &[PathBuf]) -> Result<(), ClaimError> {
    let mut left = LIMITS;
    paths.iter().try_for_each(|path| refuse_outputs_within(path, &mut left))
}

fn refuse_outputs_within(path: &Path, left: &mut Limits) -> Result<(), ClaimError> {
    debug_assert!(path.is_absolute(), "an output above the path would be missed");
    if path.components().any(|component| component == Component::ParentDir) {
        // A path may resolve differently on a worker.
        let text = "it contains '..'; give the path without it";
        return Err(unknown(path, path, io::Error::new(io::ErrorKind::InvalidInput, text)));
    }
    let mut parent = None;
    for above in path.ancestors().skip(1) {
        let failed = |error| unknown(path, above, error);
        let Some(folder) = there(Folder::reach(above)).map_err(failed)? else { continue };
        if !folder.lets_in().map_err(failed)? {
            continue;
        }
        for mark in MARKS {
            if at(above, || folder.has(mark)).map_err(failed)? {
                return Err(is_output(path, above, mark));
            }
        }
        if path.parent() == Some(above) {
            parent = Some(folder);
        }
    }
    // A missing or unreachable path contains nothing.
    match (parent, path.file_name()) {
        (Some(parent), Some(name)) => refuse_outputs_in(path, (parent, name), left),
        _ => Ok(()),
    }
}

/// Searches `path`, which has this name in its parent, if it is a folder.
fn refuse_outputs_in(
    path: &Path,
    (parent, name): (Folder, &OsStr),
    left: &mut Limits,
) -> Result<(), ClaimError> {
    let mut next = vec![(Rc::new(parent), name.to_os_string(), 0)];
    while let Some((above, name, depth)) = next.pop() {
        let here = above.at(&name);
        let failed = |error| unknown(path, &here, error);
        let Some(folder) = at(&here, || open(&above, &name)).map_err(failed)? else { continue };
        let entries =
            at(&here, || folder.some_entries(left.entries + 1, |_, _| true)).map_err(failed)?;
        let is_there = |mark: &&str| entries.iter().any(|(name, _)| name == *mark);
        if let Some(mark) = MARKS.into_iter().find(is_there) {
            return Err(is_output(path, &here, mark));
        }
        let mut folders = entries.iter().filter(|(_, kind)| *kind == FileType::Directory);
        let is_too_deep = depth == left.depth && folders.clone().next().is_some();
        if entries.len() > left.entries || is_too_deep {
            let (path, Limits { entries, depth }) = (path.to_path_buf(), LIMITS);
            return Err(ClaimError::TooMuch { path, entries, depth });
        }
        left.entries -= entries.len();
        let folder = Rc::new(folder);
        // Depth first, so that few folders are open at once.
        next.extend(
            folders.by_ref().map(|(name, _)| (Rc::clone(&folder), name.clone(), depth + 1)),
        );
    }
    Ok(())
}

/// Opens an entry if it is a folder that may be entered. A folder that may be entered but not
/// listed is an error.
fn open(above: &Folder, name: &OsStr) -> io::Result<Option<Folder>> {
    match above.folder(name) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            match there(above.way_to(name))? {
                Some(folder) if folder.lets_in()? => Err(error),
                _ => Ok(None),
            }
        }
        opened => there(opened),
    }
}

/// `None` for a missing entry, a file, or a folder that may not be entered.
fn there(folder: io::Result<Folder>) -> io::Result<Option<Folder>> {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};

    match folder {
        Err(error) if matches!(error.kind(), NotFound | NotADirectory | PermissionDenied) => {
            Ok(None)
        }
        folder => folder.map(Some),
    }
}

fn is_output(path: &Path, output: &Path, mark: &'static str) -> ClaimError {
    ClaimError::Output { path: path.to_path_buf(), output: output.to_path_buf(), mark }
}

fn unknown(path: &Path, at: &Path, error: io::Error) -> ClaimError {
    ClaimError::Unknown { path: path.to_path_buf(), at: at.to_path_buf(), error }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn an_output_is_found_at_above_and_below() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        for folder in
            ["done/_bad-records", "runs/_temporary/attempts-1", "notes/deep", "far/a/b/out"]
        {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        for file in ["done/_SUCCESS", "done/part-00000", "notes/old", "far/a/b/out/_SUCCESS"] {
            fs::write(root.join(file), "").unwrap();
        }
        symlink(root.join("done"), root.join("notes/link")).unwrap();
        let refused =
            |path: &str| refuse_outputs_at(&[root.join(path)]).err().map(|e| e.to_string());
        for (path, output) in [
            ("", "done is an output"),
            ("done", "done is an output, with _SUCCESS in it"),
            ("done/part-00000", "done is an output"),
            ("done/_bad-records", "done is an output"),
            ("done/missing/x", "done is an output"),
            ("runs", "runs is an output, with _temporary in it"),
            ("runs/_temporary/attempts-1", "runs is an output"),
            ("far", "far/a/b/out is an output"),
        ] {
            let error = refused(path).unwrap_or_else(|| panic!("{path} is allowed"));
            assert!(error.contains("is an output") && error.contains("--allow-write"), "{error}");
            assert!(!path.is_empty() || error.contains(&*root.display().to_string()), "{error}");
            assert!(path.is_empty() || error.contains(output), "{path}: {error}");
        }
        for path in ["notes", "notes/old", "notes/deep", "missing", "missing/x", "notes/old/x"] {
            assert_eq!(refused(path), None, "{path}");
        }
        let error = refused("notes/link").unwrap();
        assert!(error.contains("it is a link"), "{error}");
        let error = refused("missing/../done").unwrap();
        assert!(error.contains("'..'"), "{error}");
    }

    #[test]
    fn a_tree_beyond_the_limits_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        let limits = Limits { entries: 100, depth: 10 };
        let many = root.join("many");
        let deep = (0..limits.depth).fold(root.join("deep"), |above, n| above.join(n.to_string()));
        fs::create_dir(&many).unwrap();
        fs::create_dir_all(&deep).unwrap();
        (0..limits.entries).for_each(|n| fs::write(many.join(n.to_string()), "").unwrap());
        for path in [&many, &root.join("deep")] {
            refuse_outputs_within(path, &mut { limits }).unwrap();
        }
        fs::write(many.join("one-more"), "").unwrap();
        fs::create_dir(deep.join("deeper")).unwrap();
        for path in [&many, &root.join("deep")] {
            let error = refuse_outputs_within(path, &mut { limits }).unwrap_err();
            assert!(matches!(error, ClaimError::TooMuch { .. }), "{error}");
        }
    }

    /// A folder of another user holds no output of the coordinator's.
    #[test]
    fn closed_folders_are_skipped_and_unlistable_ones_are_refused() {
        if rustix::process::geteuid().is_root() {
            return; // Root may enter every folder.
        }
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        fs::create_dir_all(root.join("notes/others")).unwrap();
        let mode = |bits| {
            fs::set_permissions(root.join("notes/others"), Permissions::from_mode(bits)).unwrap();
        };
        for path in ["notes", "notes/others", "notes/others/x"] {
            mode(0o000);
            refuse_outputs_at(&[root.join(path)]).unwrap();
        }
        for path in ["notes", "notes/others"] {
            mode(0o100);
            let error = refuse_outputs_at(&[root.join(path)]).unwrap_err();
            assert!(matches!(error, ClaimError::Unknown { .. }), "{error}");
        }
        mode(0o700);
    }
}
