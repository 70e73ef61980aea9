//! Coordinators that were suspended while others took over and swept their logs. Their later
//! actions have no effect and do no harm.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::journal::{Store, TestAppender, TestCall, append, said, settle, start};
use crate::journal::{Answer, Call, CallId, Epoch, JournalError, Key, Nonce, Takeover};

/// The first coordinator is suspended with appends in flight; others take over and sweep its whole
/// log.
#[test]
fn a_suspended_coordinator_finds_its_licence_swept() {
    for answered in 0..3 {
        let mut store = Store::new();
        let (mut sleeper, _) = start(&mut store, 1);
        append(&mut store, &mut sleeper, &[1]);
        sleeper.push(2);
        // Suspended before, between and after the calls that make an append count.
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

/// Runs a takeover up to the call.
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

/// Others begin epochs, and sweep all earlier objects.
fn live_on(store: &mut Store, nonce: u128) {
    let (mut other, recovered) = start(store, nonce);
    let (state, records) = said(&recovered);
    let sum = state.unwrap_or(0) + records.iter().map(|r| u64::from(*r)).sum::<u64>();
    other.begin_with(Arc::new(sum), BTreeSet::new(), Vec::new());
    append(store, &mut other, &[10]);
}

#[test]
fn a_takeover_suspended_before_its_licence_starts_over() {
    let mut store = Store::new();
    live_on(&mut store, 1);
    let mut slow = Takeover::new(Nonce(7));
    let is_licence = |call: &TestCall| matches!(call, Call::Create(Key::Epoch(_), _));
    let (id, licence) = sleep_before(&mut store, &mut slow, is_licence);
    (2..6).for_each(|nonce| live_on(&mut store, nonce));
    // Others have taken that licence, and swept it.
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

/// It takes a swept slot for the end of a log, and seals it again. It recovers too little, but no
/// effect comes out.
#[test]
fn a_takeover_suspended_before_its_seal_is_fenced() {
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
    // It has done no harm either.
    let recovered = store.take_over(9, |_, answer| answer).unwrap();
    assert_eq!(said(&recovered), (Some(40), vec![10]));
}

/// Epoch numbers that others have used and swept are free again: a coordinator that cuts its log
/// must still detect that it was suspended.
#[test]
fn a_suspended_coordinator_that_cuts_its_log_finds_a_later_licence() {
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

/// A failed request to create a licence is applied late, when the licence was swept long ago.
#[test]
fn a_licence_recreated_by_a_late_request_does_not_count() {
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
fn a_coordinators_own_licence_does_not_fence_it() {
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
