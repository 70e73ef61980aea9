//! The journal's protocol in cases that are rare even in the simulation.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::journal::{
    Answer, Appender, AttachmentId, Body, Call, CallId, Epoch, JournalError, Key, Nonce, Object,
    Recovered, Slot, Takeover,
};
use crate::tests::objects::Objects;

pub(super) type Store = Objects<u8, u64, String>;
type Reply = Answer<u8, u64, String>;
pub(super) type TestCall = Call<u8, u64, String>;
pub(super) type TestAppender = Appender<u8, u64, String>;

fn torn() -> Reply {
    Answer::Damaged { torn: true, message: "it breaks off".into() }
}

/// A coordinator that has taken over.
pub(super) fn start(store: &mut Store, nonce: u128) -> (TestAppender, Recovered<u8, u64, String>) {
    let recovered = store.take_over(nonce, |_, answer| answer).unwrap();
    (Appender::new(recovered.epoch, recovered.nonce), recovered)
}

pub(super) fn settle(store: &mut Store, appender: &mut TestAppender) -> Result<(), JournalError> {
    while let Some((id, call)) = appender.next_call() {
        appender.answer(id, store.perform(call))?;
    }
    Ok(())
}

pub(super) fn append(store: &mut Store, appender: &mut TestAppender, records: &[u8]) {
    for record in records {
        appender.push(*record);
        settle(store, appender).unwrap();
    }
}

fn cut(store: &mut Store, appender: &mut TestAppender, state: u64) {
    appender.roll(Arc::new(state), BTreeSet::new(), Vec::new());
    settle(store, appender).unwrap();
}

pub(super) fn said(recovered: &Recovered<u8, u64, String>) -> (Option<u64>, Vec<u8>) {
    let records = recovered.batches.iter().flat_map(|batch| batch.iter().copied());
    (recovered.snapshot.as_deref().copied(), records.collect())
}

/// All calls of the appender that are due.
fn calls(appender: &mut TestAppender) -> Vec<(CallId, TestCall)> {
    std::iter::from_fn(|| appender.next_call()).collect()
}

fn is_seal(object: &Object<u8, u64, String>) -> bool {
    matches!(object.body, Body::Seal { .. })
}

#[test]
fn an_unreadable_journal_is_detected_before_anything_is_written() {
    let mut store = Store::new();
    let (mut appender, _) = start(&mut store, 1);
    append(&mut store, &mut appender, &[1, 2, 3]);
    cut(&mut store, &mut appender, 3);
    append(&mut store, &mut appender, &[4, 5]);
    let before = store.0.clone();
    for key in [Key::State(Epoch(2)), Key::Log(Epoch(2), Slot(0)), Key::Log(Epoch(2), Slot(1))] {
        let error = store.take_over(2, |call, answer| match call {
            Call::Read(read) if *read == key => {
                Answer::Damaged { torn: false, message: "it was changed".into() }
            }
            _ => answer,
        });
        assert!(
            matches!(error, Err(JournalError::Damaged { key: named, .. }) if named == key),
            "{error:?}"
        );
        assert_eq!(store.0, before, "something was written");
    }
}

#[test]
fn reads_are_concurrent() {
    let mut store = Store::new();
    let (mut appender, _) = start(&mut store, 1);
    append(&mut store, &mut appender, &[0; 100]);
    let mut takeover = Takeover::<u8, u64, String>::new(Nonce(2));
    let (id, list) = takeover.next_call().unwrap();
    takeover.answer(id, store.perform(list)).unwrap();
    let reads: Vec<_> = std::iter::from_fn(|| takeover.next_call()).collect();
    assert_eq!(reads.len(), 32);
    assert!(reads.iter().all(|(_, call)| matches!(call, Call::Read(Key::Log(..)))), "{reads:?}");
}

#[test]
fn history_ends_at_the_first_gap_or_torn_write_of_a_dead_writer() {
    for fate in 0..3_u32.pow(3) {
        let mut store = Store::new();
        let (mut appender, _) = start(&mut store, 1);
        append(&mut store, &mut appender, &[1]);
        let mut broken = BTreeSet::new();
        let mut expected = vec![1];
        for slot in 1..=3 {
            let fate = fate / 3_u32.pow(u32::from(slot) - 1) % 3;
            let object = Object {
                epoch: Epoch(1),
                nonce: Nonce(1),
                body: Body::Records { holds: Slot(1), records: Arc::new(vec![slot]) },
            };
            let key = Key::Log(Epoch(1), Slot(slot.into()));
            match fate {
                0 => drop(store.perform(Call::Create(key, object))),
                1 => {
                    store.perform(Call::Create(key, object));
                    broken.insert(key);
                }
                _ => {}
            }
            if fate == 0 && expected.len() == usize::from(slot) {
                expected.push(slot);
            }
        }
        let tear = |call: &TestCall, answer| match call {
            Call::Read(key) if broken.contains(key) => torn(),
            _ => answer,
        };
        // Two takeovers in a row recover the same, and the second finds the seal of the first.
        for nonce in 2..4 {
            let recovered = store.take_over(nonce, tear).unwrap();
            assert_eq!(said(&recovered), (None, expected.clone()), "{fate}");
        }
    }
}

#[test]
fn a_missing_or_torn_acknowledged_object_is_damage() {
    let mut store = Store::new();
    let (mut appender, _) = start(&mut store, 1);
    append(&mut store, &mut appender, &[1, 2, 3]);
    let lost = Key::Log(Epoch(1), Slot(1));
    let is_damage = |result: Result<_, JournalError>| {
        let result: Result<Recovered<u8, u64, String>, _> = result;
        assert!(
            matches!(result, Err(JournalError::Damaged { key, .. }) if key == lost),
            "{result:?}"
        );
    };
    is_damage(store.clone().take_over(2, |call, answer| match call {
        Call::Read(key) if *key == lost => torn(),
        _ => answer,
    }));
    let mut missing = store.clone();
    missing.0.remove(&lost);
    is_damage(missing.take_over(2, |_, answer| answer));
    // The same with a successor's seal after it.
    let mut by_taker = store.clone();
    by_taker.take_over(3, |_, answer| answer).unwrap();
    by_taker.0.remove(&lost);
    is_damage(by_taker.take_over(4, |_, answer| answer));
    // After its owner's seal, the first missing object is the state that was made from it.
    cut(&mut store, &mut appender, 3);
    store.0.retain(|key, _| !matches!(key, Key::State(_)));
    store.0.remove(&lost);
    let error = store.take_over(4, |_, answer| answer).unwrap_err();
    assert!(matches!(error, JournalError::Damaged { key: Key::State(Epoch(2)), .. }), "{error:?}");
}

#[test]
fn a_takeover_reads_each_object_once() {
    let mut store = Store::new();
    let (mut appender, _) = start(&mut store, 1);
    append(&mut store, &mut appender, &[1, 2]);
    let mut reads = Vec::new();
    let recovered = store.take_over(2, |call, answer| {
        reads.extend(if let Call::Read(key) = call { Some(*key) } else { None });
        answer
    });
    assert_eq!(said(&recovered.unwrap()), (None, vec![1, 2]));
    assert_eq!(reads, [Key::Log(Epoch(1), Slot(0)), Key::Log(Epoch(1), Slot(1))]);
}

#[test]
fn records_that_arrive_during_a_takeover_count_until_the_seal() {
    let mut store = Store::new();
    let (mut appender, _) = start(&mut store, 1);
    append(&mut store, &mut appender, &[1]);
    let mut takeover = Takeover::<u8, u64, String>::new(Nonce(2));
    let recovered = loop {
        let (id, call) = takeover.next_call().unwrap();
        if matches!(&call, Call::Create(Key::Log(..), object) if is_seal(object)) {
            // Once, its owner is faster.
            let next = store.slots(1).len() as u8 + 1;
            if next < 4 {
                appender.push(next);
                let (id, call) = appender.next_call().unwrap();
                appender.answer(id, store.perform(call)).unwrap();
            }
        }
        if let Some(recovered) = takeover.answer(id, store.perform(call)).unwrap() {
            break recovered;
        }
    };
    assert_eq!(said(&recovered), (None, vec![1, 2, 3]));
    appender.push(4);
    let fenced = settle(&mut store, &mut appender).unwrap_err();
    assert!(matches!(fenced, JournalError::Fenced(_)), "{fenced}");
}

#[test]
fn an_epoch_is_used_only_when_no_other_coordinator_can_win_it() {
    let mut store = Store::new();
    let (mut appender, _) = start(&mut store, 1);
    append(&mut store, &mut appender, &[1]);
    appender.roll(Arc::new(1), BTreeSet::new(), Vec::new());
    let mut spoken_in = Vec::new();
    while let Some((id, call)) = appender.next_call() {
        appender.answer(id, store.perform(call)).unwrap();
        spoken_in.push(appender.epoch().0);
    }
    // Licence of 2, and seal of 1.
    assert_eq!(spoken_in[..2], [1, 1]);
    assert_eq!(appender.epoch(), Epoch(2));
}

#[test]
fn appends_go_on_while_the_state_is_written_and_old_objects_are_deleted() {
    let mut store = Store::new();
    let (mut appender, _) = start(&mut store, 1);
    append(&mut store, &mut appender, &[1]);
    appender.roll(Arc::new(1), BTreeSet::new(), Vec::new());
    let is_beside =
        |call: &TestCall| matches!(call, Call::Create(Key::State(_), _) | Call::Sweep(_));
    let mut beside = Vec::new();
    for n in 2..50 {
        appender.push(n);
        while let Some((id, call)) = appender.next_call() {
            if is_beside(&call) {
                beside.push((id, call));
            } else {
                appender.answer(id, store.perform(call)).unwrap();
            }
        }
        assert_eq!(appender.durable(), u64::from(n));
    }
    assert_eq!(beside.len(), 1, "one after the other");
    // A coordinator that dies now loses nothing.
    let recovered = store.clone().take_over(2, |_, answer| answer).unwrap();
    assert_eq!(said(&recovered), (None, (1..50).collect()));
    let (id, state) = beside.remove(0);
    appender.answer(id, store.perform(state)).unwrap();
    settle(&mut store, &mut appender).unwrap();
    let recovered = store.clone().take_over(2, |_, answer| answer).unwrap();
    assert_eq!(said(&recovered), (Some(1), (2..50).collect()));
    assert_eq!(store.slots(1), [0; 0]);
}

#[test]
fn logs_are_swept_after_licences_however_often_that_fails() {
    let mut store = Store::new();
    let (mut appender, _) = start(&mut store, 1);
    append(&mut store, &mut appender, &[1]);
    appender.roll(Arc::new(1), BTreeSet::new(), Vec::new());
    let mut failures = 0;
    while let Some((id, call)) = appender.next_call() {
        let is_sweep = matches!(call, Call::Sweep(_));
        if is_sweep && failures < 3 {
            failures += 1;
            appender.answer(id, Answer::Failed).unwrap();
            assert_eq!(store.slots(1), [0, 1], "a log goes before its licence");
            continue;
        }
        appender.answer(id, store.perform(call)).unwrap();
    }
    assert_eq!((failures, store.slots(1).len()), (3, 0));
}

#[test]
fn a_part_is_kept_as_long_as_it_is_or_may_be_named() {
    let mut store = Store::new();
    let (mut appender, _) = start(&mut store, 1);
    append(&mut store, &mut appender, &[1]);
    let named = appender.write_attachment(Arc::new("named".into()));
    let waits = appender.write_attachment(Arc::new("waits for its record".into()));
    let given_up = appender.write_attachment(Arc::new("given up".into()));
    assert_eq!(appender.next_written(), None);
    settle(&mut store, &mut appender).unwrap();
    let written: BTreeSet<_> = std::iter::from_fn(|| appender.next_written()).collect();
    assert_eq!(written, [named, waits, given_up].into());
    appender.attachment_named(named);
    appender.attachment_named(given_up);
    let new = appender.name_attachment();
    let attachments = vec![(new, Arc::new("new".to_string()))];
    appender.roll(Arc::new(1), [named, new].into(), attachments);
    let late = appender.write_attachment(Arc::new("late".into()));
    settle(&mut store, &mut appender).unwrap();
    let left: BTreeSet<_> = store.0.keys().filter_map(attachment).collect();
    assert_eq!(left, [named, waits, new, late].into());
}

fn attachment(key: &Key) -> Option<AttachmentId> {
    if let Key::Attachment(attachment) = key { Some(*attachment) } else { None }
}

#[test]
fn a_state_is_written_after_its_parts_and_after_what_it_sums_up() {
    let mut store = Store::new();
    let (mut appender, _) = start(&mut store, 1);
    append(&mut store, &mut appender, &[1]);
    appender.push(2);
    let attachment = appender.name_attachment();
    appender.roll(
        Arc::new(3),
        [attachment].into(),
        vec![(attachment, Arc::new("attachment".into()))],
    );
    let mut order = Vec::new();
    while let Some((id, call)) = appender.next_call() {
        if let Call::Create(key, _) = &call {
            order.push(*key);
        }
        appender.answer(id, store.perform(call)).unwrap();
    }
    let expected = [
        Key::Log(Epoch(1), Slot(1)),
        Key::Epoch(Epoch(2)),
        Key::Log(Epoch(1), Slot(2)),
        Key::Attachment(attachment),
        Key::State(Epoch(2)),
    ];
    assert_eq!(order, expected);
}

#[test]
fn calls_in_flight_and_waiting_records_are_bounded() {
    let mut store = Store::new();
    let (mut appender, _) = start(&mut store, 1);
    append(&mut store, &mut appender, &[1]);
    let mut asked = Vec::new();
    let mut pushed = 0_u64;
    while !appender.is_full() {
        appender.push(1);
        pushed += 1;
        asked.extend(calls(&mut appender));
        assert!(pushed < 1_000_000, "it is never full");
    }
    assert!((2..=4).contains(&asked.len()), "{}", asked.len());
    for (id, call) in asked.into_iter().rev() {
        appender.answer(id, store.perform(call)).unwrap();
    }
    settle(&mut store, &mut appender).unwrap();
    assert!(!appender.is_full() && !appender.is_waiting());
    assert_eq!(appender.durable(), pushed + 1);
    let (_, recovered) = start(&mut store, 2);
    assert_eq!(said(&recovered).1.len() as u64, pushed + 1);
}

#[test]
fn the_next_append_detects_a_removed_journal() {
    let mut store = Store::new();
    let (mut appender, _) = start(&mut store, 1);
    append(&mut store, &mut appender, &[1]);
    store.0.clear();
    appender.push(2);
    let error = settle(&mut store, &mut appender).unwrap_err();
    assert!(matches!(error, JournalError::Unlicensed { .. }), "{error}");
    assert_eq!(appender.durable(), 1);
}
