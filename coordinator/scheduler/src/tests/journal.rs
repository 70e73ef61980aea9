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

/// A takeover that has begun epoch 2 and reads the log of epoch 1, whose first state it has found.
fn reading() -> Takeover<u8, u8> {
    let mut takeover = Takeover::new(NEW);
    for answer in
        [Answer::LastEpoch(Some(Epoch(1))), Answer::Created, found(1, Body::Snapshot(Arc::new(0)))]
    {
        assert!(takeover.answer(answer).unwrap().is_none());
    }
    takeover
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
    let records = found(1, Body::Records(Arc::new(vec![7])));
    assert_eq!(damaged_at(&mut takeover, records), first);
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
