//! The cost of the journal in operation, in virtual time: a store that takes 50 ms for each
//! request, and longer for a list, a state, and each object that is deleted.

use std::collections::BTreeMap;
use std::time::Duration;

use super::objects::Objects;
use crate::journal::{Answer, Call, CallId, Key, Nonce, SweepStage, Takeover};
use crate::{
    Attachment, Catalog, Config, Decider, Effect, Event, JournaledState, Record, Scheduler, Time,
};

const REQUEST: Duration = Duration::from_millis(50);
/// One request each for licences, states and logs.
const LIST: Duration = Duration::from_millis(150);
/// The time for a state.
const STATE: Duration = Duration::from_secs(8);
/// The time to delete one object.
const DELETE: Duration = Duration::from_millis(30);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

type Store = Objects<Record<()>, JournaledState<Nothing>, Attachment<()>>;
type StoreCall = Call<Record<()>, JournaledState<Nothing>, Attachment<()>>;
type StoreAnswer = Answer<Record<()>, JournaledState<Nothing>, Attachment<()>>;

/// An empty catalog.
#[derive(Clone, Debug, PartialEq)]
struct Nothing;

impl Catalog for Nothing {
    type Note = ();
    type Attachment = ();

    fn apply(&mut self, _: Time, _: &Event, (): (), _: &[Effect], _: &Scheduler) {}
}

/// Calls in flight, by the time of their answers.
#[derive(Default)]
struct UnderWay {
    calls: BTreeMap<(Duration, u64), (CallId, StoreCall)>,
    number: u64,
}

impl UnderWay {
    fn add(&mut self, now: Duration, store: &Store, id: CallId, call: StoreCall) {
        let takes = match &call {
            Call::List => LIST,
            Call::Create(Key::State(_), _) => STATE,
            Call::Create(..) | Call::Read(_) | Call::Licences => REQUEST,
            Call::Sweep(sweep) => {
                let listing = store.listing();
                let goes = match sweep.stage {
                    SweepStage::Licences { .. } => {
                        listing.epochs.iter().filter(|epoch| **epoch < sweep.below).count()
                    }
                    SweepStage::Logs => {
                        listing.slots.iter().filter(|(log, _)| *log < sweep.below).count()
                    }
                };
                LIST + DELETE * goes as u32
            }
        };
        self.number += 1;
        self.calls.insert((now + takes, self.number), (id, call));
    }

    /// The next call that is answered by then, applied.
    fn next(
        &mut self,
        until: Duration,
        store: &mut Store,
    ) -> Option<(Duration, CallId, StoreAnswer)> {
        let first = self.calls.first_entry().filter(|entry| entry.key().0 <= until)?;
        let ((at, _), (id, call)) = first.remove_entry();
        Some((at, id, store.perform(call)))
    }
}

/// A coordinator that runs.
struct Running {
    now: Duration,
    store: Store,
    decider: Decider<Nothing>,
    under_way: UnderWay,
    waits_since: Option<Duration>,
    /// The longest time without a durable record while some waited.
    stood_max: Duration,
    objects_max: usize,
}

impl Running {
    fn start() -> Self {
        let mut store = Store::new();
        let recovered = store.take_over(1, |_, answer| answer).unwrap();
        let decider = Decider::recover(recovered, Config::default(), Nothing);
        Self {
            now: Duration::ZERO,
            store,
            decider,
            under_way: UnderWay::default(),
            waits_since: None,
            stood_max: Duration::ZERO,
            objects_max: 0,
        }
    }

    fn run_until(&mut self, until: Duration) {
        loop {
            while let Some((id, call)) = self.decider.next_call() {
                self.under_way.add(self.now, &self.store, id, call);
            }
            if self.decider.is_waiting() {
                self.waits_since.get_or_insert(self.now);
            }
            let Some((at, id, answer)) = self.under_way.next(until, &mut self.store) else { break };
            self.now = at;
            if self.decider.answer(id, answer).unwrap() {
                let since = self.waits_since.take().unwrap_or(self.now);
                self.stood_max = self.stood_max.max(self.now - since);
            }
            self.objects_max = self.objects_max.max(self.store.0.len());
        }
        self.now = until;
    }

    /// Handles so many events, one each `interval`.
    fn happen(&mut self, times: u32, interval: Duration) {
        for _ in 0..times {
            self.run_until(self.now + interval);
            self.decider.handle(Time(self.now), Event::Beat, ());
        }
    }

    /// How long a takeover would take now, and how many records it would find.
    fn take_over(&self) -> (Duration, usize) {
        let (mut store, mut under_way) = (self.store.clone(), UnderWay::default());
        let (mut now, mut takeover) = (Duration::ZERO, Takeover::new(Nonce(2)));
        loop {
            while let Some((id, call)) = takeover.next_call() {
                under_way.add(now, &store, id, call);
            }
            let (at, id, answer) = under_way.next(Duration::MAX, &mut store).expect("it stands");
            now = at;
            if let Some(recovered) = takeover.answer(id, answer).unwrap() {
                let records = recovered.batches.iter().map(|batch| batch.len()).sum();
                return (now, records);
            }
        }
    }
}

#[test]
fn after_ten_thousand_single_records_a_takeover_takes_less_than_two_seconds() {
    let mut running = Running::start();
    let (mut longest, mut records_max) = (Duration::ZERO, 0);
    for _ in 0..100 {
        running.happen(100, REQUEST * 3);
        let (took, records) = running.take_over();
        longest = longest.max(took);
        records_max = records_max.max(records);
    }
    assert!(longest < Duration::from_secs(2), "{longest:?}, {records_max} records");
    assert!(records_max > 300, "the log was never long: {records_max}");
}

#[test]
fn ten_thousand_records_that_were_not_cut_yet_are_taken_over_in_less_than_two_seconds() {
    let mut running = Running::start();
    // As fast as the store can, and faster.
    running.happen(10_000, Duration::from_micros(400));
    running.run_until(running.now + REQUEST * 20);
    let (took, records) = running.take_over();
    assert_eq!(records, 10_001);
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn a_month_of_an_idle_coordinator_leaves_few_objects_and_no_stall() {
    let mut running = Running::start();
    let beat = Duration::from_secs(15);
    running.happen((30 * DAY.as_secs() / beat.as_secs()) as u32, beat);
    assert!(running.decider.epoch().0 > 300, "nothing was cut: {}", running.decider.epoch());
    assert!(running.objects_max < 1_200, "{}", running.objects_max);
    // An append, its licence, and where the log is cut, licence, seal and list.
    assert!(running.stood_max <= REQUEST * 4 + LIST, "{:?}", running.stood_max);
}

#[test]
fn a_month_with_a_busy_hour_a_day_leaves_few_objects_and_no_stall() {
    let mut running = Running::start();
    for _ in 0..30 {
        // Bursts of 2,500 records a second, a trickle, and silence.
        running.happen(5_000, Duration::from_micros(400));
        running.happen(1_000, Duration::from_millis(40));
        running.happen(1_000, Duration::from_secs(3));
        running.happen(100, Duration::from_secs(600));
    }
    let days = running.now.as_secs() / DAY.as_secs();
    assert!((20..40).contains(&days), "{days}");
    // A log that is being cut while the store deletes the one before.
    assert!(running.objects_max < 3_000, "{}", running.objects_max);
    assert!(running.stood_max <= REQUEST * 4 + LIST, "{:?}", running.stood_max);
    let (took, _) = running.take_over();
    assert!(took < Duration::from_secs(2), "{took:?}");
}
