use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::*;
use crate::output::manifest::OF_ANOTHER_JOB;

fn take(output: &Path) -> Result<Reservation, OutputError> {
    Reservation::take(output, false, None)
}

fn owner(cluster: &str) -> Owner {
    let (state, job) = ("/state".into(), "grep".into());
    Owner { cluster: cluster.into(), state, job, unique: "".into(), epoch: 1 }
}

#[test]
fn outputs_with_content_are_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    for output in [file.clone(), file.join("x"), file.join("x/y")] {
        let refused = take(&output).unwrap_err().to_string();
        let says = format!("{}: {} exists and is not a folder", output.display(), file.display());
        assert!(refused.ends_with(&format!("{says}; choose another name")), "{refused}");
    }
    let device = take(Path::new("/dev/null")).unwrap_err().to_string();
    assert!(device.contains("/dev/null exists and is not a folder; choose"), "{device}");
    assert!(matches!(take(dir.path()), Err(OutputError::NotEmpty { .. })));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let error = take(Path::new("/proc/no/such/output")).unwrap_err().to_string();
    assert!(error.starts_with("cannot write to output /proc/no/such/output: "), "{error}");
}

#[tokio::test]
async fn one_folder_serves_one_job_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("a/b");
    let first = take(&output).unwrap();
    assert!(matches!(take(&output), Err(OutputError::InUse { .. })));
    assert!(first.paths().staging().is_dir(), "the refusal must not harm the first job");
    first.discard().await.unwrap();
    assert!(!output.exists());
    take(&output).unwrap();
}

/// Its coordinator was killed while it took the lock again, to clean up.
#[tokio::test]
async fn an_unfinished_lock_of_an_earlier_coordinator_is_removed() {
    for (epoch, goes) in [(1, true), (2, true), (4, false)] {
        let dir = tempfile::tempdir().unwrap();
        let reservation = Reservation::take(dir.path(), false, Some(owner("a"))).unwrap();
        let (paths, temporary) = (reservation.paths().clone(), dir.path().join(TEMPORARY));
        fs::write(temporary.join(format!("lock.{}.{epoch}", paths.unique())), "{").unwrap();
        let ended = Reservation::of_ended(&paths, Owner { epoch: 3, ..owner("a") });
        ended.remove_temporary().await.unwrap();
        assert_eq!(!temporary.exists(), goes, "epoch {epoch}");
    }
}

#[tokio::test]
async fn an_existing_folder_stays() {
    let dir = tempfile::tempdir().unwrap();
    take(dir.path()).unwrap().discard().await.unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn folders_of_a_killed_job_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let stale = take(dir.path()).unwrap().paths().staging(); // and dropped, as by a kill
    fs::write(stale.join("part-00000.1"), "x").unwrap();
    let next = take(dir.path()).unwrap();
    assert!(!stale.exists());
    assert_ne!(next.paths().staging(), stale);
}

#[test]
fn a_job_that_waits_for_its_coordinator_keeps_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    let paths = Reservation::take(dir.path(), false, Some(owner("a"))).unwrap().paths().clone();
    for other in [None, Some(owner("b"))] {
        let error = Reservation::take(dir.path(), false, other).unwrap_err();
        assert!(matches!(error, OutputError::Owned { .. }));
        let text = error.to_string();
        assert!(text.contains("grep") && text.contains("--state /state"), "{text}");
    }
    assert!(paths.staging().is_dir());
    let resumed = Reservation::resume(&paths, owner("a")).unwrap();
    assert!(matches!(take(dir.path()), Err(OutputError::InUse { .. })));
    drop(resumed);
    assert!(Reservation::resume(&paths, owner("b")).is_err());
    // The job was never accepted: its own coordinator would hold the folder otherwise.
    let next = Reservation::take(dir.path(), false, Some(owner("a"))).unwrap();
    assert!(!paths.staging().exists());
    assert!(Reservation::resume(&paths, owner("a")).is_err(), "the folder is another job's now");
    drop(next);
}

#[tokio::test]
async fn a_fenced_job_leaves_its_successor_the_lock() {
    let dir = tempfile::tempdir().unwrap();
    let asleep = Reservation::take(dir.path(), false, Some(owner("a"))).unwrap();
    let resumed = Reservation::resume(asleep.paths(), owner("a")).unwrap();
    asleep.lock.as_ref().unwrap().remove();
    assert!(matches!(take(dir.path()), Err(OutputError::InUse { .. })));
    resumed.discard().await.unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_foreign_folder_in_its_place_stays() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("out");
    let reservation = take(&output).unwrap();
    fs::remove_dir_all(&output).unwrap();
    fs::create_dir(&output).unwrap();
    reservation.discard().await.unwrap();
    assert!(output.is_dir());
    // A file in its place is not touched either.
    let reservation = take(&output).unwrap();
    fs::remove_dir_all(&output).unwrap();
    fs::write(&output, "mine").unwrap();
    let _ = reservation.discard().await;
    assert_eq!(fs::read(&output).unwrap(), b"mine");
}

#[test]
fn a_job_without_its_parts_cannot_resume() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("out");
    let paths = Reservation::take(&output, false, Some(owner("a"))).unwrap().paths().clone();
    fs::remove_dir_all(&output).unwrap();
    fs::create_dir(&output).unwrap();
    let error = Reservation::resume(&paths, owner("a")).unwrap_err();
    assert!(matches!(error, OutputError::Gone { .. }), "{error}");
    assert_eq!(fs::read_dir(&output).unwrap().count(), 0, "nothing is made there");
}

#[test]
fn an_earlier_coordinator_cannot_take_the_folder_of_a_later_one() {
    let dir = tempfile::tempdir().unwrap();
    let paths = Reservation::take(dir.path(), false, Some(owner("a"))).unwrap().paths().clone();
    let later = Reservation::resume(&paths, Owner { epoch: 3, ..owner("a") }).unwrap();
    let late = Reservation::resume(&paths, Owner { epoch: 2, ..owner("a") });
    assert!(matches!(late, Err(OutputError::InUse { .. })));
    assert!(later.lock.as_ref().unwrap().is_there());
}

#[test]
fn only_a_complete_output_can_be_replaced() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("part-00000"), "x").unwrap();
    let error = Reservation::take(dir.path(), true, None).unwrap_err();
    assert!(error.to_string().contains("has no _SUCCESS"), "{error}");
    fs::write(dir.path().join("_SUCCESS"), OF_ANOTHER_JOB).unwrap();
    Reservation::take(dir.path(), true, None).unwrap();
    assert!(matches!(take(dir.path()), Err(OutputError::NotEmpty { .. })));
}

#[test]
fn a_result_beside_foreign_files_is_not_replaced() {
    let entries = [("notes.txt", false), ("sub", true), ("part-x", true), ("_bad-records", false)];
    for (foreign, is_folder) in entries.into_iter().chain([("_bad-records/x", false)]) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("part-00000"), "x").unwrap();
        fs::write(dir.path().join("_SUCCESS"), OF_ANOTHER_JOB).unwrap();
        let path = dir.path().join(foreign);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let made = if is_folder { fs::create_dir(&path) } else { fs::write(&path, "x") };
        made.unwrap();
        let error = Reservation::take(dir.path(), true, None).unwrap_err().to_string();
        assert!(error.contains(&format!("{} is not part of a result", path.display())), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3, "something was left or removed");
    }
}

#[test]
fn a_file_that_is_not_a_lock_stays_and_is_named() {
    use std::os::unix::fs::symlink;

    let kept = tempfile::tempdir().unwrap();
    let file = kept.path().join("file");
    type Plant = fn(&Path, &Path);
    let plants: [(&str, Plant); 6] = [
        ("a link", |lock, file| symlink(file, lock).unwrap()),
        ("a link", |lock, _| symlink("/no/such/file", lock).unwrap()),
        ("a link", |lock, _| symlink("/dev/full", lock).unwrap()),
        ("a pipe", |lock, _| {
            let kind = rustix::fs::FileType::Fifo;
            rustix::fs::mknodat(rustix::fs::CWD, lock, kind, Mode::RWXU, 0).unwrap();
        }),
        ("not a lock of a job", |lock, file| fs::hard_link(file, lock).unwrap()),
        ("irectory", |lock, _| fs::create_dir(lock).unwrap()),
    ];
    for (said, plant) in plants {
        for owner in [None, Some(owner("a"))] {
            fs::write(&file, "somebody's").unwrap();
            let dir = tempfile::tempdir().unwrap();
            let temporary = dir.path().join(TEMPORARY);
            fs::create_dir(&temporary).unwrap();
            let lock = temporary.join("lock");
            plant(&lock, &file);
            let error = Reservation::take(dir.path(), false, owner).unwrap_err();
            assert!(matches!(error, OutputError::NotWritable { .. }), "{error}");
            let text = error.to_string();
            assert!(text.contains(&lock.display().to_string()) && text.contains(said), "{text}");
            assert_eq!(fs::read(&file).unwrap(), b"somebody's");
            assert_eq!(fs::read_dir(&temporary).unwrap().count(), 1, "nothing is left there");
        }
    }
}

#[test]
fn a_temporary_folder_that_is_a_link_is_refused() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let others = elsewhere.path().join("attempts-1");
    fs::create_dir(&others).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), dir.path().join(TEMPORARY)).unwrap();
    let text = take(dir.path()).unwrap_err().to_string();
    assert!(text.contains("_temporary: it is a link"), "{text}");
    assert!(others.is_dir());
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 1);
}

#[test]
fn the_folder_of_an_embedded_worker_is_removed_without_following_links() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir_all(elsewhere.path().join("worker/jobs")).unwrap();
    let temporary = dir.path().join(TEMPORARY);
    std::os::unix::fs::symlink(elsewhere.path(), &temporary).unwrap();
    paths::remove_from_temporary(dir.path(), "worker").unwrap_err();
    assert!(elsewhere.path().join("worker/jobs").is_dir());
    fs::remove_file(&temporary).unwrap();
    fs::create_dir_all(temporary.join("worker/jobs")).unwrap();
    paths::remove_from_temporary(dir.path(), "worker").unwrap();
    paths::remove_from_temporary(dir.path(), "worker").unwrap();
    assert!(!temporary.exists());
}

#[test]
fn links_in_folders_of_a_killed_job_are_removed_and_not_followed() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let kept = elsewhere.path().join("kept");
    fs::write(&kept, "x").unwrap();
    let stale = take(dir.path()).unwrap().paths().staging();
    let deep = (0..200).fold(stale.clone(), |folder, _| folder.join("d"));
    fs::create_dir_all(&deep).unwrap();
    for folder in [&stale, &deep] {
        std::os::unix::fs::symlink(elsewhere.path(), folder.join("link")).unwrap();
    }
    std::os::unix::fs::symlink(elsewhere.path(), stale.with_file_name("attempts-2")).unwrap();
    let next = take(dir.path()).unwrap();
    assert_eq!(fs::read_dir(dir.path().join(TEMPORARY)).unwrap().count(), 2);
    assert!(next.paths().staging().is_dir());
    assert_eq!(fs::read(kept).unwrap(), b"x");
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn a_setgid_folder_is_shared_with_its_group_whatever_the_umask() {
    let dir = tempfile::tempdir().unwrap();
    for shared in [false, true] {
        let output = dir.path().join(shared.to_string());
        fs::create_dir(&output).unwrap();
        // As a umask of 077 leaves it.
        let bits = if shared { 0o2700 } else { 0o700 };
        fs::set_permissions(&output, Permissions::from_mode(bits)).unwrap();
        let reservation = take(&output).unwrap();
        let staging = mode(&reservation.paths().staging());
        assert_eq!(staging & 0o2070 == 0o2070, shared, "{staging:o}");
        assert_eq!(mode(&output), if shared { 0o2750 } else { 0o700 });
    }
}

#[test]
fn the_output_of_another_system_is_not_replaced() {
    for success in ["", "{}", r#"{"parts": []}"#] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("part-00000"), "x").unwrap();
        fs::write(dir.path().join("_SUCCESS"), success).unwrap();
        let error = Reservation::take(dir.path(), true, None).unwrap_err();
        assert!(
            error.to_string().contains("its _SUCCESS was not written by"),
            "{success}: {error}"
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}

/// A job may leave any number of files and folders.
#[tokio::test]
async fn large_and_deep_trees_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("out");
    let reservation = Reservation::take(&output, false, None).unwrap();
    let staging = reservation.paths().staging();
    for (folder, files) in [("", 5_000), ("a", 5_000), ("b/c/d", 10)] {
        fs::create_dir_all(staging.join(folder)).unwrap();
        (0..files).for_each(|n| fs::write(staging.join(folder).join(n.to_string()), "").unwrap());
    }
    (0..300).fold(staging, |above, _| {
        let folder = above.join("removed.1");
        fs::create_dir(&folder).unwrap();
        folder
    });
    reservation.discard().await.unwrap();
    assert!(!output.exists());
}
