//! A coordinator that takes over from the journal.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use windrow_model::Platform;

use super::fixture::*;
use crate::journal::{Answer, Call, Content, Epoch, Key, Nonce};
use crate::tests::objects::Objects;
use crate::*;

#[test]
fn all_workers_are_away_with_a_full_lease_and_publications_are_asked_for_again() {
    let mut f = Fixture::new(1);
    f.submit(plan(1, 0));
    f.done(W1, map(0, 1));
    let config = Config::default();
    let lease = config.lease;
    assert_eq!(f.handle(Event::TookOver { config }), [publish(&[map(0, 1)])]);
    assert!(f.worker(W1).away);
    assert_eq!(f.scheduler.next_deadline(), Some(f.now + lease));
}

#[test]
fn a_repeated_submission_is_the_same_job() {
    let mut f = Fixture::new(0);
    f.submit(plan(1, 0));
    let submission = SubmissionId(1);
    let again = Event::Submit { request: REQUEST, submission, plan: plan(5, 5) };
    assert_eq!(f.handle(again), [accepted(J1)]);
    assert_eq!(f.view(J1).map.tasks, 1);
    assert_eq!(f.handle(Event::Resubmit { request: REQUEST, submission }), [accepted(J1)]);
    let unknown = Event::Resubmit { request: REQUEST, submission: SubmissionId(9) };
    assert_eq!(f.handle(unknown), [Effect::NotSubmitted { request: REQUEST }]);
}

/// A store in memory, and a catalog that counts.
type Store = Objects<Record<u32>, JournaledState<Notes>, Attachment<()>>;

#[derive(Clone, Debug, Default, PartialEq)]
struct Notes(Vec<u32>);

impl Content for u32 {}

impl Catalog for Notes {
    type Note = u32;
    type Attachment = ();

    fn apply(&mut self, _: Time, _: &Event, note: u32, _: &[Effect], _: &Scheduler) {
        self.0.push(note);
    }
}

fn take_over(store: &mut Store, nonce: u128) -> Decider<Notes> {
    let recovered = store.take_over(nonce, |_, answer| answer).unwrap();
    Decider::recover(recovered, Config::default(), Notes::default())
}

/// Applies all calls to the store, and returns the effects.
fn settle(store: &mut Store, decider: &mut Decider<Notes>) -> Vec<Effect> {
    while let Some((id, call)) = decider.next_call() {
        decider.answer(id, store.perform(call)).unwrap();
    }
    std::iter::from_fn(|| decider.next_effect()).collect()
}

fn submit(decider: &mut Decider<Notes>, n: u32) {
    let submission = SubmissionId(n.into());
    decider.handle(
        Time::default(),
        Event::Submit { request: REQUEST, submission, plan: plan(1, 0) },
        n,
    );
}

#[test]
fn effects_come_out_when_their_record_is_durable_and_not_before() {
    let mut store = Store::new();
    let mut decider = take_over(&mut store, 1);
    submit(&mut decider, 1);
    assert_eq!(decider.next_effect(), None);
    assert_eq!(settle(&mut store, &mut decider), [accepted(J1)]);
}

#[test]
fn durable_events_are_recovered_and_the_others_had_no_effect() {
    let mut store = Store::new();
    let mut first = take_over(&mut store, 1);
    submit(&mut first, 1);
    settle(&mut store, &mut first);
    submit(&mut first, 2);
    let second = take_over(&mut store, 2);
    assert_eq!(second.epoch(), Epoch(2));
    assert_eq!(second.state().scheduler.jobs().count(), 1);
    // The event of a takeover has no note of the driver.
    assert_eq!(second.state().catalog, Notes(vec![0, 1, 0]));
    assert_eq!(first.next_effect(), None);
}

#[test]
fn a_fenced_coordinator_finds_its_slot_taken() {
    let mut store = Store::new();
    let mut first = take_over(&mut store, 1);
    settle(&mut store, &mut first);
    let mut second = take_over(&mut store, 2);
    settle(&mut store, &mut second);
    submit(&mut first, 1);
    let asked = |(_, call): &(_, Call<_, _, _>)| call.clone();
    let mut calls = Vec::new();
    let error = loop {
        let next = first.next_call().unwrap();
        calls.push(asked(&next));
        if let Err(error) = first.answer(next.0, store.perform(next.1)) {
            break error;
        }
    };
    assert_eq!(error.to_string(), "another coordinator has taken over in epoch 2");
    // It finds the seal, or a later licence if the seal was swept.
    assert!(calls.len() <= 3, "{calls:?}");
    assert_eq!(first.next_effect(), None);
}

#[test]
fn an_append_whose_answer_was_lost_is_read_back_and_counts_once() {
    let mut store = Store::new();
    let mut decider = take_over(&mut store, 1);
    settle(&mut store, &mut decider);
    submit(&mut decider, 1);
    let (id, call) = decider.next_call().unwrap();
    store.perform(call);
    decider.answer(id, Answer::Failed).unwrap();
    assert_eq!(settle(&mut store, &mut decider), [accepted(J1)]);
    assert_eq!(take_over(&mut store, 2).state().scheduler.jobs().count(), 1);
}

#[test]
fn a_long_log_is_cut_and_older_objects_are_deleted() {
    let mut store = Store::new();
    let mut decider = take_over(&mut store, 1).with_snapshot_after(3);
    for n in 1..=70 {
        submit(&mut decider, n);
        assert_eq!(settle(&mut store, &mut decider), [accepted(windrow_model::JobId(n.into()))]);
        // Licence, state, and a log of three records at most.
        assert!(store.0.len() <= 5, "{:?}", store.listing());
    }
    assert!(decider.epoch() > Epoch(20), "it was not cut");
    assert_eq!(take_over(&mut store, 2).state().scheduler.jobs().count(), 70);
}

#[test]
fn coordinators_that_come_and_go_leave_nothing_behind() {
    let mut store = Store::new();
    for nonce in 1..100 {
        let mut decider = take_over(&mut store, nonce);
        submit(&mut decider, nonce as u32);
        settle(&mut store, &mut decider);
        assert!(store.0.len() <= 6, "{:?}", store.listing());
    }
    // A coordinator that dies before its first record leaves some objects, until one lives longer.
    for nonce in 100..200 {
        drop(take_over(&mut store, nonce));
    }
    let mut last = take_over(&mut store, 200);
    settle(&mut store, &mut last);
    assert!(store.0.len() <= 6, "{:?}", store.listing());
}

#[test]
fn effects_wait_for_all_earlier_records_even_if_later_objects_exist() {
    let mut store = Store::new();
    let mut decider = take_over(&mut store, 1);
    settle(&mut store, &mut decider);
    submit(&mut decider, 1);
    let (first, first_call) = decider.next_call().unwrap();
    submit(&mut decider, 2);
    let (second, second_call) = decider.next_call().unwrap();
    decider.answer(second, store.perform(second_call)).unwrap();
    assert!(decider.next_call().is_none(), "the licence is of no use yet");
    assert_eq!(decider.next_effect(), None);
    decider.answer(first, store.perform(first_call)).unwrap();
    let all = [accepted(J1), accepted(windrow_model::JobId(2))];
    assert_eq!(settle(&mut store, &mut decider), all);
}

#[test]
fn an_epoch_that_died_before_its_first_record_does_not_hide_the_one_before() {
    let mut store = Store::new();
    let mut first = take_over(&mut store, 1);
    submit(&mut first, 1);
    settle(&mut store, &mut first);
    let mut died = take_over(&mut store, 2);
    let third = take_over(&mut store, 3);
    assert_eq!((third.epoch(), third.state().scheduler.jobs().count()), (Epoch(3), 1));
    // It was only slow: its first record finds the slot taken.
    let (id, call) = died.next_call().unwrap();
    died.answer(id, store.perform(call)).unwrap();
    let (id, call) = died.next_call().unwrap();
    assert!(died.answer(id, store.perform(call)).is_err());
}

#[test]
fn an_unshared_decider_writes_nothing_and_tells_all_at_once() {
    let (epoch, nonce) = (Epoch(1), Nonce(1));
    let mut decider = Decider::unshared(epoch, nonce, Config::default(), Notes::default());
    submit(&mut decider, 1);
    assert!(decider.next_call().is_none() && !decider.is_waiting());
    assert_eq!(decider.next_effect(), Some(accepted(J1)));
}

#[test]
fn a_state_writes_changed_blocks_and_names_the_others() {
    let mut store = Store::new();
    let config = Config { tasks_per_block: NonZeroU32::new(10).unwrap(), ..Config::default() };
    let recovered = store.take_over(1, |_, answer| answer).unwrap();
    let mut decider = Decider::recover(recovered, config.clone(), Notes::default());
    decider = decider.with_snapshot_after(1);
    let now = Time::default();
    let submission = SubmissionId(1);
    let plan = plan(100, 7);
    decider.handle(now, Event::Submit { request: REQUEST, submission, plan }, 1);
    settle(&mut store, &mut decider);
    let attachments = |store: &Store| -> BTreeSet<_> {
        store.0.keys().copied().filter(|key| matches!(key, Key::Attachment(_))).collect()
    };
    let before = attachments(&store);
    assert_eq!(before.len(), 20, "ten of splits, ten of maps, and the reduces make no full one");
    // The worker is given the first map and the second; both lie in one block.
    let offer = WorkerOffer {
        name: "worker".into(),
        identity: 0,
        map_slots: 2,
        reduce_slots: 1,
        platform: Platform::default(),
    };
    decider.handle(now, Event::WorkerJoined { request: REQUEST, offer }, 2);
    settle(&mut store, &mut decider);
    let after = attachments(&store);
    assert_eq!((after.len(), after.difference(&before).count()), (20, 1));

    let recovered = store.take_over(2, |_, answer| answer).unwrap();
    let mut next = Decider::recover(recovered, config.clone(), Notes::default());
    let epoch = next.epoch();
    decider.handle(now, Event::TookOver { config }, 0);
    assert_eq!(next.state().scheduler, decider.state().scheduler);
    settle(&mut store, &mut next);
    let is_own =
        |key: &Key| matches!(key, Key::Attachment(attachment) if attachment.epoch == epoch);
    // The former coordinator may only be suspended, and delete what its own last state does not
    // name.
    assert!(
        attachments(&store).iter().all(is_own),
        "the successor relies on attachments of its own"
    );
    assert_eq!(attachments(&store).len(), 20);
}
