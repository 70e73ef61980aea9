//! A coordinator that takes over, with what the journal has kept.

use super::fixture::*;
use crate::journal::{Answer, Body, Call, Epoch, Key, Nonce, Recovered, Slot, Takeover};
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
fn a_submission_that_is_told_again_is_the_same_job() {
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
type Object = journal::Object<Record<u32>, State<Notes>>;
type Store = std::collections::BTreeMap<Key, Object>;

#[derive(Clone, Debug, Default, PartialEq)]
struct Notes(Vec<u32>);

impl Catalog for Notes {
    type Note = u32;

    fn apply(&mut self, _: &Event, note: u32, _: &[Effect], _: &Scheduler) {
        self.0.push(note);
    }
}

fn answer(
    store: &mut Store,
    call: Call<Record<u32>, State<Notes>>,
) -> Answer<Record<u32>, State<Notes>> {
    match call {
        Call::LastEpoch => {
            let epochs = store.keys().filter_map(|key| match key {
                Key::Epoch(epoch) => Some(*epoch),
                Key::Log(..) => None,
            });
            Answer::LastEpoch(epochs.max())
        }
        Call::Create(key, _) if store.contains_key(&key) => Answer::Exists,
        Call::Create(key, object) => {
            store.insert(key, object);
            Answer::Created
        }
        Call::Read(key) => store.get(&key).cloned().map_or(Answer::Absent, Answer::Found),
        Call::DeleteUpTo(last) => {
            store.retain(|key, object| match key {
                Key::Log(epoch, _) => *epoch > last || matches!(object.body, Body::Seal),
                Key::Epoch(_) => true,
            });
            Answer::Deleted
        }
    }
}

fn take_over(store: &mut Store, nonce: u128) -> Decider<Notes> {
    let mut takeover = Takeover::new(Nonce(nonce));
    let recovered: Recovered<_, _> = loop {
        let answer = answer(store, takeover.call());
        if let Some(recovered) = takeover.answer(answer).unwrap() {
            break recovered;
        }
    };
    Decider::recover(recovered, Config::default(), Notes::default())
}

fn settle(store: &mut Store, decider: &mut Decider<Notes>) -> Vec<Effect> {
    while let Some(call) = decider.next_call() {
        decider.answer(answer(store, call)).unwrap();
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
fn what_was_durable_is_recovered_and_the_rest_was_told_to_nobody() {
    let mut store = Store::new();
    let mut first = take_over(&mut store, 1);
    submit(&mut first, 1);
    settle(&mut store, &mut first);
    submit(&mut first, 2);
    let second = take_over(&mut store, 2);
    assert_eq!(second.epoch(), Epoch(2));
    assert_eq!(second.state().scheduler.jobs().count(), 1);
    // Its first state and what it is told by taking over bear no note of the driver's.
    assert_eq!(second.state().catalog, Notes(vec![0, 1, 0]));
    assert_eq!(first.next_effect(), None);
}

#[test]
fn one_that_was_replaced_finds_its_slot_taken() {
    let mut store = Store::new();
    let mut first = take_over(&mut store, 1);
    settle(&mut store, &mut first);
    let mut second = take_over(&mut store, 2);
    settle(&mut store, &mut second);
    submit(&mut first, 1);
    let call = first.next_call().unwrap();
    let exists = answer(&mut store, call);
    assert_eq!(exists, Answer::Exists);
    first.answer(exists).unwrap();
    let call = first.next_call().unwrap();
    let error = first.answer(answer(&mut store, call)).unwrap_err();
    assert_eq!(error.to_string(), "another coordinator has taken over in epoch 2");
    assert_eq!(first.next_effect(), None);
}

#[test]
fn an_append_whose_answer_was_lost_is_read_back_and_counts_once() {
    let mut store = Store::new();
    let mut decider = take_over(&mut store, 1);
    settle(&mut store, &mut decider);
    submit(&mut decider, 1);
    let call = decider.next_call().unwrap();
    answer(&mut store, call);
    decider.answer(Answer::Failed).unwrap();
    assert_eq!(settle(&mut store, &mut decider), [accepted(J1)]);
    assert_eq!(take_over(&mut store, 2).state().scheduler.jobs().count(), 1);
}

#[test]
fn a_long_log_is_cut_and_what_is_not_needed_goes_but_for_the_seal() {
    let mut store = Store::new();
    let mut decider = take_over(&mut store, 1).with_snapshot_after(3);
    for n in 1..=7 {
        submit(&mut decider, n);
        assert_eq!(settle(&mut store, &mut decider), [accepted(windrow_jobs::JobId(n.into()))]);
    }
    assert_eq!(decider.epoch(), Epoch(3));
    let old: Vec<_> =
        store.iter().filter(|(key, _)| matches!(key, Key::Log(e, _) if e.0 < 3)).collect();
    assert_eq!(old.len(), 2, "{old:?}");
    assert!(old.iter().all(|(_, object)| object.body == Body::Seal), "{old:?}");
    assert_eq!(take_over(&mut store, 2).state().scheduler.jobs().count(), 7);
}

#[test]
fn a_tail_that_breaks_off_is_left_out_and_damage_in_the_middle_stops_the_start() {
    let mut store = Store::new();
    let mut decider = take_over(&mut store, 1);
    settle(&mut store, &mut decider);
    for n in 1..=2 {
        submit(&mut decider, n);
        settle(&mut store, &mut decider);
    }
    let recover = |damaged: Slot, torn: bool| {
        let mut store = store.clone();
        let mut takeover = Takeover::new(Nonce(2));
        loop {
            let call = takeover.call();
            let answer = if call == Call::Read(Key::Log(Epoch(1), damaged)) {
                Answer::Damaged { torn, message: "it is cut short".into() }
            } else {
                answer(&mut store, call)
            };
            match takeover.answer(answer) {
                Ok(None) => {}
                Ok(Some(recovered)) => return Ok(recovered.batches.len()),
                Err(error) => return Err(error.to_string()),
            }
        }
    };
    assert_eq!(recover(Slot(2), true), Ok(1));
    let message = |slot| {
        format!(
            "log/00000001/{slot:08} is damaged: it is cut short; what came after it would be lost"
        )
    };
    assert_eq!(recover(Slot(1), true), Err(message(1)));
    assert_eq!(recover(Slot(2), false), Err(message(2)));
}

#[test]
fn an_epoch_that_died_before_its_first_state_does_not_hide_the_one_before() {
    let mut store = Store::new();
    let mut first = take_over(&mut store, 1);
    submit(&mut first, 1);
    settle(&mut store, &mut first);
    let mut died = take_over(&mut store, 2);
    let third = take_over(&mut store, 3);
    assert_eq!((third.epoch(), third.state().scheduler.jobs().count()), (Epoch(3), 1));
    // It was only slow: its first state finds the slot taken.
    let call = died.next_call().unwrap();
    died.answer(answer(&mut store, call)).unwrap();
    let call = died.next_call().unwrap();
    assert!(died.answer(answer(&mut store, call)).is_err());
}
