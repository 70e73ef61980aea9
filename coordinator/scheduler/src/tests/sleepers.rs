//! Coordinators that slept while others took over, and swept what they had left. What a sleeper
//! does then counts for nobody, and harms nobody.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::journal::{Store, TestAppender, TestCall, append, said, settle, start};
use crate::journal::{Answer, Call, CallId, Epoch, JournalError, Key, Nonce, Takeover};

/// The first coordinator sleeps with appends on their way, others take over and sweep until nothing
/// is left of its log.
#[test]
fn a_sleeper_whose_seal_was_swept_finds_its_licence_gone() {
    for answered in 0..3 {
        let mut store = Store::new();
        let (mut sleeper, _) = start(&mut store, 1);
        append(&mut store, &mut sleeper, &[1]);
        sleeper.push(2);
        // Before, between and after the calls that make an append count.
        for _ in 0..answered {
            let (id, call) = sleeper.next_call().unwrap();
            sleeper.answer(id, store.perform(call)).unwrap();
        }
        let counted = sleeper.durable();
        (2..5).for_each(|nonce| live_on(&mut store, nonce));
        assert_eq!(store.slots(1), [0; 0], "nothing was swept");
        sleeper.push(3);
        let error = settle(&mut store, &mut sleeper).unwrap_err();
        assert_eq!(error.to_string(), "another coordinator has taken over in epoch 4");
        assert_eq!(sleeper.durable(), counted, "it counts what nobody else knows");
    }
}

/// Runs a takeover until it is about to ask for something.
fn sleep_before(
    store: &mut Store,
    takeover: &mut Takeover<u8, u64, String>,
    is_next: impl Fn(&TestCall) -> bool,
) -> (CallId, TestCall) {
    loop {
        let (id, call) = takeover.next_call().unwrap();
        if is_next(&call) {
            return (id, call);
        }
        assert!(takeover.answer(id, store.perform(call)).unwrap().is_none());
    }
}

/// Others begin epochs, and sweep all that was before.
fn live_on(store: &mut Store, nonce: u128) {
    let (mut other, recovered) = start(store, nonce);
    let (state, records) = said(&recovered);
    let sum = state.unwrap_or(0) + records.iter().map(|r| u64::from(*r)).sum::<u64>();
    other.begin_with(Arc::new(sum), BTreeSet::new(), Vec::new());
    append(store, &mut other, &[10]);
}

#[test]
fn a_taker_that_slept_before_its_licence_begins_anew() {
    let mut store = Store::new();
    live_on(&mut store, 1);
    let mut slow = Takeover::new(Nonce(7));
    let is_licence = |call: &TestCall| matches!(call, Call::Create(Key::Epoch(_), _));
    let (id, licence) = sleep_before(&mut store, &mut slow, is_licence);
    (2..6).for_each(|nonce| live_on(&mut store, nonce));
    // It was taken by others, and swept.
    assert_eq!(store.perform(licence), Answer::Created);
    assert!(slow.answer(id, Answer::Created).unwrap().is_none());
    let recovered = loop {
        let (id, call) = slow.next_call().unwrap();
        if let Some(recovered) = slow.answer(id, store.perform(call)).unwrap() {
            break recovered;
        }
    };
    let (state, records) = said(&recovered);
    assert_eq!((recovered.epoch, state, records), (Epoch(6), Some(40), vec![10]));
}

/// It takes a slot that was swept for the end of a log, and seals it again. It recovers too little,
/// and tells nobody.
#[test]
fn a_taker_that_slept_before_its_seal_gets_nothing_out() {
    let mut store = Store::new();
    live_on(&mut store, 1);
    let mut slow = Takeover::new(Nonce(7));
    let is_seal = |call: &TestCall| matches!(call, Call::Create(Key::Log(..), _));
    let (id, seal) = sleep_before(&mut store, &mut slow, is_seal);
    (2..6).for_each(|nonce| live_on(&mut store, nonce));
    assert_eq!(store.perform(seal), Answer::Created, "the seal of others was not swept");
    let recovered = slow.answer(id, Answer::Created).unwrap().unwrap();
    let mut appender = TestAppender::new(recovered.epoch, recovered.nonce);
    appender.begin_with(Arc::new(0), BTreeSet::new(), Vec::new());
    appender.push(1);
    let error = settle(&mut store, &mut appender).unwrap_err();
    assert!(matches!(error, JournalError::Fenced(_)), "{error}");
    assert_eq!(appender.durable(), 0);
    // Nor has it harmed anybody.
    let recovered = store.take_over(9, |_, answer| answer).unwrap();
    assert_eq!(said(&recovered), (Some(40), vec![10]));
}

/// The numbers of epochs that others have used and swept are free again: cutting one's log must not
/// hide that one has slept.
#[test]
fn a_sleeper_that_cuts_its_log_finds_a_later_licence() {
    let mut store = Store::new();
    let (mut sleeper, _) = start(&mut store, 1);
    append(&mut store, &mut sleeper, &[1]);
    (2..6).for_each(|nonce| live_on(&mut store, nonce));
    sleeper.push(2);
    sleeper.roll(Arc::new(3), BTreeSet::new(), Vec::new());
    sleeper.push(4);
    let error = settle(&mut store, &mut sleeper).unwrap_err();
    assert_eq!(error.to_string(), "another coordinator has taken over in epoch 5");
    assert_eq!(sleeper.durable(), 1);
}

/// A request that creates a licence had failed, and is applied after all, when the licence was
/// swept long ago.
#[test]
fn a_licence_that_comes_back_by_a_late_request_is_not_believed() {
    let mut store = Store::new();
    let (mut sleeper, recovered) = start(&mut store, 1);
    append(&mut store, &mut sleeper, &[1]);
    let key = Key::Epoch(recovered.epoch);
    let licence = store.0[&key].clone();
    (2..6).for_each(|nonce| live_on(&mut store, nonce));
    assert_eq!(store.perform(Call::Create(key, licence)), Answer::Created);
    sleeper.push(2);
    let error = settle(&mut store, &mut sleeper).unwrap_err();
    assert_eq!(error.to_string(), "another coordinator has taken over in epoch 5");
    assert_eq!(sleeper.durable(), 1);
}

#[test]
fn a_licence_of_ones_own_that_is_there_before_its_answer_fences_nobody() {
    let mut store = Store::new();
    let (mut appender, _) = start(&mut store, 1);
    append(&mut store, &mut appender, &[1]);
    appender.push(2);
    appender.roll(Arc::new(3), BTreeSet::new(), Vec::new());
    let (record, record_call) = appender.next_call().unwrap();
    let (licence, licence_call) = appender.next_call().unwrap();
    assert!(matches!(licence_call, Call::Create(Key::Epoch(Epoch(2)), _)), "{licence_call:?}");
    store.perform(licence_call);
    appender.answer(record, store.perform(record_call)).unwrap();
    let (id, licences) = appender.next_call().unwrap();
    assert!(!appender.answer(id, store.perform(licences)).unwrap());
    appender.answer(licence, Answer::Created).unwrap();
    settle(&mut store, &mut appender).unwrap();
    assert_eq!((appender.durable(), appender.epoch()), (2, Epoch(2)));
}
