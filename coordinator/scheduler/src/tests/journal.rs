//! What the journal's protocol does in cases that are rare even in the simulation.

use std::sync::Arc;

use crate::journal::{
    Answer, Appender, Body, Call, Epoch, JournalError, Key, Nonce, Object, Slot, Takeover,
};

type Reply = Answer<u8, u8>;

const OLD: Nonce = Nonce(1);
const NEW: Nonce = Nonce(2);

fn found(epoch: u64, body: Body<u8, u8>) -> Reply {
    Answer::Found(Object { epoch: Epoch(epoch), nonce: OLD, body })
}

fn damaged(torn: bool) -> Reply {
    Answer::Damaged { torn, message: "damaged".into() }
}

fn state(epoch: u64, state: u8) -> Reply {
    found(epoch, Body::Snapshot(Arc::new(state)))
}

fn records(epoch: u64, records: &[u8]) -> Reply {
    found(epoch, Body::Records(Arc::new(records.to_vec())))
}

/// A takeover of a journal with so many epochs, after these answers, none of which ends it; and what it has asked for.
fn takeover(
    epochs: u64,
    answers: impl IntoIterator<Item = Reply>,
) -> (Takeover<u8, u8>, Vec<Call<u8, u8>>) {
    let (mut takeover, mut calls) = (Takeover::new(NEW), Vec::new());
    for answer in [Answer::LastEpoch(Some(Epoch(epochs)))].into_iter().chain(answers) {
        calls.push(takeover.call());
        assert!(takeover.answer(answer).unwrap().is_none());
    }
    (takeover, calls)
}

/// A takeover that has looked at the log of epoch 1, which had a state and nothing else, has begun epoch 2, and reads on.
fn reading() -> Takeover<u8, u8> {
    takeover(1, [state(1, 0), Answer::Absent, Answer::Created]).0
}

#[test]
fn what_cannot_be_read_is_found_before_anything_is_written() {
    let before = |answers: &[Reply], last: Reply| {
        let (mut takeover, mut calls) = takeover(3, answers.iter().cloned());
        calls.push(takeover.call());
        let error = takeover.answer(last).unwrap_err();
        let reads = |call: &Call<u8, u8>| matches!(call, Call::LastEpoch | Call::Read(_));
        assert!(calls.iter().all(reads), "{calls:?}");
        error
    };
    let refused = before(&[], Answer::Refused("another build".into()));
    assert!(matches!(refused, JournalError::Refused(_)));
    // The last epoch has not written its state yet.
    let second = before(&[Answer::Absent, state(2, 0)], damaged(false));
    assert!(matches!(second, JournalError::Damaged { key: Key::Log(Epoch(2), Slot(1)), .. }));
    let last = before(&[state(3, 0), records(3, &[1]), damaged(true)], records(3, &[2]));
    assert!(matches!(last, JournalError::Damaged { key: Key::Log(Epoch(3), Slot(2)), .. }));
    let confused = before(&[state(3, 0)], records(2, &[1]));
    assert!(matches!(confused, JournalError::Confused { .. }));
}

#[test]
fn what_was_looked_at_is_not_read_again() {
    let looked = [state(1, 7), records(1, &[1]), Answer::Absent];
    let (mut takeover, calls) = takeover(1, looked.into_iter().chain([Answer::Created]));
    assert!(matches!(calls[4], Call::Create(Key::Epoch(Epoch(2)), _)), "{calls:?}");
    // Appended meanwhile, before it could be sealed.
    assert_eq!(takeover.call(), Call::Read(Key::Log(Epoch(1), Slot(2))));
    for answer in [records(1, &[2]), Answer::Absent] {
        assert!(takeover.answer(answer).unwrap().is_none());
    }
    let recovered = takeover.answer(Answer::Created).unwrap().unwrap();
    assert_eq!(recovered.snapshot, Some(Arc::new(7)));
    assert_eq!(
        recovered.batches.iter().flat_map(|batch| batch.iter().copied()).collect::<Vec<_>>(),
        [1, 2]
    );
}

#[test]
fn a_state_that_was_written_after_the_look_counts() {
    // Epoch 2 had none, so that epoch 1 was looked at.
    let looked = [Answer::Absent, state(1, 1), Answer::Absent, Answer::Created];
    let (mut takeover, _) = takeover(2, looked);
    assert_eq!(takeover.call(), Call::Read(Key::Log(Epoch(2), Slot(0))));
    for answer in [state(2, 2), Answer::Absent] {
        assert!(takeover.answer(answer).unwrap().is_none());
    }
    let recovered = takeover.answer(Answer::Created).unwrap().unwrap();
    assert_eq!((recovered.epoch, recovered.snapshot), (Epoch(3), Some(Arc::new(2))));
}

#[test]
fn who_loses_the_race_for_an_epoch_looks_again() {
    let (mut takeover, _) = takeover(1, [state(1, 1), Answer::Absent, Answer::Exists]);
    assert_eq!(takeover.call(), Call::Read(Key::Epoch(Epoch(2))));
    assert!(takeover.answer(found(2, Body::Begin)).unwrap().is_none());
    assert_eq!(takeover.call(), Call::LastEpoch);
    let rolled = [Answer::LastEpoch(Some(Epoch(2))), state(2, 2), Answer::Absent, Answer::Created];
    for answer in rolled.into_iter().chain([Answer::Absent]) {
        assert!(takeover.answer(answer).unwrap().is_none());
    }
    let recovered = takeover.answer(Answer::Created).unwrap().unwrap();
    assert_eq!((recovered.epoch, recovered.snapshot), (Epoch(3), Some(Arc::new(2))));
}

#[test]
fn objects_that_break_off_at_the_end_of_a_log_are_passed_over() {
    let mut takeover = reading();
    for answer in [damaged(true), damaged(true), Answer::Absent] {
        assert!(takeover.answer(answer).unwrap().is_none());
    }
    assert!(matches!(takeover.call(), Call::Create(Key::Log(Epoch(1), Slot(3)), _)));
    let recovered = takeover.answer(Answer::Created).unwrap().unwrap();
    assert_eq!((recovered.snapshot, recovered.batches.len()), (Some(Arc::new(0)), 0));
}

#[test]
fn what_is_damaged_before_the_end_stops_the_start() {
    let first = Key::Log(Epoch(1), Slot(1));
    let damaged_at = |takeover: &mut Takeover<u8, u8>, answer| match takeover.answer(answer) {
        Err(JournalError::Damaged { key, .. }) => key,
        other => panic!("{other:?}"),
    };
    assert_eq!(damaged_at(&mut reading(), damaged(false)), first);
    let mut takeover = reading();
    assert!(takeover.answer(damaged(true)).unwrap().is_none());
    assert_eq!(damaged_at(&mut takeover, records(1, &[7])), first);
}

#[test]
fn an_epoch_that_another_coordinator_may_win_is_not_spoken_in() {
    let mut appender = Appender::<u8, u8>::new(Epoch(3), NEW, Arc::new(0));
    appender.roll(Arc::new(1));
    let mut spoken_in = Vec::new();
    while appender.next_call().is_some() {
        appender.answer(Answer::Created).unwrap();
        spoken_in.push(appender.epoch().0);
    }
    // State and deletion of epoch 3; beginning of 4, seal of 3, state of 4, deletion.
    assert_eq!(spoken_in, [3, 3, 3, 3, 4, 4]);
}
