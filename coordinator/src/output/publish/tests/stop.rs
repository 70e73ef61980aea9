//! A publication that is stopped or fails is undone, in a time that nobody else decides.

use super::death::dies_at;
use super::hostile::in_time;
use super::*;

/// Stopped at any of its files, it leaves nothing behind and can be repeated; after that, it is too
/// late.
#[test]
fn a_stopped_publication_is_undone() {
    let steps = [
        (FailpointId::MovedAside, 1),
        (FailpointId::PartRenamed, 1),
        (FailpointId::PartRenamed, 2),
    ];
    let late = [(FailpointId::AfterManifest, 1)];
    for (step, times) in steps.into_iter().chain(late) {
        let (dir, reservation, mut publication) = prepared(true);
        let paths = reservation.paths();
        let (stop, stopped) = (Stop::default(), std::sync::Arc::new(OnceLock::new()));
        let failpoint = {
            let (stop, stopped) = (stop.clone(), std::sync::Arc::clone(&stopped));
            Failpoint::acting(step, times, move || _ = stopped.set(stop.stop()))
        };
        let result = super::super::publish(paths, &publication, &failpoint, &stop);
        let is_late = step == FailpointId::AfterManifest;
        assert_eq!(stopped.get(), Some(&!is_late), "{step:?}");
        if is_late {
            result.unwrap();
        } else {
            let failure = result.unwrap_err();
            assert!(failure.may_pass && *failure.cause == FailureCause::Cancelled, "{failure:?}");
            assert_eq!(files(dir.path()), old(), "{step:?}");
            publication.epoch = Epoch(2);
            publish(paths, &publication).unwrap();
        }
        assert_eq!(files(dir.path()), published());
    }
}

#[test]
fn a_publication_stopped_before_it_begins_does_nothing() {
    let (dir, reservation, publication) = prepared(false);
    let stop = Stop::default();
    assert!(stop.stop());
    let failpoint = Failpoint::default();
    super::super::publish(reservation.paths(), &publication, &failpoint, &stop).unwrap_err();
    assert_eq!(files(dir.path()), []);
}

#[test]
fn a_stopped_publication_moves_nothing_aside() {
    let (dir, reservation, publication) = prepared(true);
    let (failpoint, stop) = (Failpoint::default(), Stop::default());
    let commit = Commit::begin(reservation.paths(), &publication, &failpoint, &stop).unwrap();
    assert!(stop.stop());
    commit.replaced().move_aside(&failpoint, &stop).unwrap_err();
    assert_eq!(files(dir.path()), old());
}

/// A part that an earlier try has placed may have any size by now.
#[test]
fn undoing_does_not_read_parts_to_their_end() {
    const BYTES: u64 = 1 << 42;
    for (overwrite, decoy, is_stopped) in
        [(false, false, false), (false, true, true), (false, true, false), (true, true, false)]
    {
        in_time("undoing", move || {
            let (dir, reservation, mut publication) = prepared(overwrite);
            assert!(dies_at(reservation.paths(), &publication, FailpointId::PartRenamed, 1));
            publication.epoch = Epoch(2);
            publication.parts[0].bytes = BYTES;
            let visible = dir.path().join("part-00000");
            fs::OpenOptions::new().write(true).open(&visible).unwrap().set_len(BYTES).unwrap();
            if decoy {
                let left = commit_folder(reservation.paths(), 1).join("part-00000.1");
                fs::write(left, "another").unwrap();
            }
            let (failpoint, stop) = (Failpoint::default(), Stop::default());
            let commit =
                Commit::begin(reservation.paths(), &publication, &failpoint, &stop).unwrap();
            if is_stopped {
                stop.stop();
            }
            commit.undo();
            let may_stay = decoy && !overwrite;
            // The old output is back.
            let left = fs::metadata(&visible).map_or(0, |file| file.len());
            assert!(may_stay || left < BYTES, "{overwrite} {decoy} {is_stopped}");
            assert_eq!(!may_stay && visible.exists(), overwrite, "{decoy} {is_stopped}");
        });
    }
}

/// A part that its job has changed since it was placed is taken back all the same.
#[test]
fn a_placed_part_is_taken_back_even_if_it_has_changed() {
    let (dir, reservation, publication) = prepared(false);
    let visible = dir.path().join("part-00000");
    let failpoint = Failpoint::acting(FailpointId::PartRenamed, 1, move || chmod(&visible, 0o4755));
    fs::remove_file(reservation.paths().staging().join("part-00001.2")).unwrap();
    let stop = Stop::default();
    super::super::publish(reservation.paths(), &publication, &failpoint, &stop).unwrap_err();
    assert_eq!(files(dir.path()), []);
}
