//! The old output comes back, or stays where it is and is named.

use super::death::dies_at;
use super::*;

fn own_folder(output: &Path) -> PathBuf {
    let mut found =
        private_folder::named(&Folder::open(output).unwrap().folder(TEMPORARY).unwrap(), None);
    output.join(TEMPORARY).join(found.as_mut().unwrap().remove(0).name)
}

/// Dies in the middle of replacing an output; the private folder then has this mode.
fn dead_with_mode(mode: u32) -> (TempDir, Reservation, Publication, PathBuf) {
    let (dir, reservation, mut publication) = prepared(true);
    assert!(dies_at(reservation.paths(), &publication, FailpointId::PartRenamed, 1));
    publication.epoch = Epoch(2);
    let own = own_folder(dir.path());
    chmod(&own, mode);
    (dir, reservation, publication, own)
}

/// Read access to the folder does no harm.
#[test]
fn an_old_output_that_others_may_read_is_put_back() {
    let (dir, reservation, publication, _) = dead_with_mode(0o755);
    publish(reservation.paths(), &publication).unwrap();
    assert_eq!(files(dir.path()), published());

    let (dir, reservation, ..) = dead_with_mode(0o755);
    drop(reservation);
    Reservation::take(dir.path(), true, None).unwrap();
    assert_eq!(files(dir.path()), old());
}

#[test]
fn an_untrusted_old_output_stays_and_is_named() {
    let (dir, reservation, publication, own) = dead_with_mode(0o777);
    let (failpoint, stop) = (Failpoint::default(), Stop::default());
    let failure =
        super::super::publish(reservation.paths(), &publication, &failpoint, &stop).unwrap_err();
    let text = failure.cause.to_string();
    for part in [&*own.display().to_string(), "others may write to it", "the only copy"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(failure.may_pass, "the owner can mend it");
    chmod(&own, 0o700);
    publish(reservation.paths(), &publication).unwrap();
    assert_eq!(files(dir.path()), published());

    let (dir, reservation, _, own) = dead_with_mode(0o777);
    drop(reservation);
    for overwrite in [true, false] {
        let refused = Reservation::take(dir.path(), overwrite, None).unwrap_err().to_string();
        let replaced = own.join("replaced").display().to_string();
        for part in [&*replaced, "the only copy", "others may write to it (mode 0777)"] {
            assert!(refused.contains(part), "{refused}");
        }
        assert!(!refused.contains("remove it"), "{refused}");
    }
    assert_eq!(files(&own.join("replaced")), old());
}

/// A foreign file lies where the old output was.
#[test]
fn an_old_output_that_cannot_be_put_back_stays_and_is_named() {
    let (dir, reservation, publication) = prepared(true);
    assert!(dies_at(reservation.paths(), &publication, FailpointId::MovedAside, 1));
    drop(reservation);
    fs::write(dir.path().join(SUCCESS), "mine").unwrap();
    let refused = Reservation::take(dir.path(), true, None).unwrap_err().to_string();
    let replaced = own_folder(dir.path()).join("replaced");
    for part in [&*replaced.display().to_string(), "the only copy", "exists"] {
        assert!(refused.contains(part), "{refused}");
    }
    assert_eq!(fs::read(replaced.join(SUCCESS)).unwrap(), OF_ANOTHER_JOB.as_bytes());
    assert_eq!(fs::read(dir.path().join(SUCCESS)).unwrap(), b"mine");
}

#[test]
fn a_failure_puts_the_old_output_back() {
    let (dir, reservation, mut publication) = prepared(true);
    publication.parts[1].bytes += 1;
    publish(reservation.paths(), &publication).unwrap_err();
    assert_eq!(files(dir.path()), old());
}

/// While the new output is published, a foreign file takes the old one's place.
#[test]
fn a_failure_says_where_the_old_output_stays() {
    let (dir, reservation, mut publication) = prepared(true);
    publication.parts[1].bytes += 1;
    let taken = dir.path().join("part-00002");
    let failpoint =
        Failpoint::acting(FailpointId::AllAside, 1, move || fs::write(&taken, "mine").unwrap());
    let stop = Stop::default();
    let failure =
        super::super::publish(reservation.paths(), &publication, &failpoint, &stop).unwrap_err();
    let replaced = own_folder(dir.path()).join("replaced");
    let text = failure.cause.to_string();
    assert!(text.contains(&format!("is in {}", replaced.display())), "{text}");
    assert_eq!(fs::read(replaced.join("part-00002")).unwrap(), b"3");
    assert_eq!(fs::read(dir.path().join("part-00002")).unwrap(), b"mine");
}

#[tokio::test]
async fn a_foreign_file_that_appears_beside_a_result_stays() {
    let dir = tempfile::tempdir().unwrap();
    write_old(dir.path());
    let reservation = Reservation::take(dir.path(), true, None).unwrap();
    fs::write(dir.path().join("notes.txt"), "mine").unwrap();
    let paths = reservation.paths();
    publish(paths, &staged(paths, true)).unwrap();
    reservation.remove_temporary().await.unwrap();
    let mut expected = published();
    expected.insert(1, ("notes.txt".to_string(), "mine".to_string()));
    assert_eq!(files(dir.path()), expected);
}
