//! The clock that can stand still.

use std::time::Duration;

use crate::{Clock, Time};

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn time_stands_still_from_half_a_lease_on_until_the_store_answers() {
    let mut clock = Clock::new(Time(seconds(100)), seconds(10));
    assert_eq!((clock.stops_at(), clock.time(seconds(7))), (None, Time(seconds(107))));
    clock.store_asked(seconds(20));
    assert_eq!(clock.stops_at(), Some(seconds(25)));
    assert!(!clock.stop_if_due(seconds(24)) && !clock.stands_still());
    assert!(clock.stop_if_due(seconds(26)) && clock.stands_still());
    assert!(!clock.stop_if_due(seconds(27)), "it was said before");
    assert_eq!(clock.time(seconds(60)), Time(seconds(126)));
    assert_eq!(clock.when(Time(seconds(130))), None);
    assert_eq!(clock.store_done(seconds(66)), Some(seconds(40)));
    assert_eq!(clock.time(seconds(70)), Time(seconds(130)));
    assert_eq!(clock.when(Time(seconds(130))), Some(seconds(70)));
}

#[test]
fn a_repeated_call_gives_the_store_no_more_time() {
    let mut clock = Clock::new(Time::default(), seconds(10));
    clock.store_asked(seconds(1));
    clock.store_asked(seconds(3));
    assert_eq!(clock.stops_at(), Some(seconds(6)));
    assert_eq!(clock.store_done(seconds(5)), None);
    assert_eq!(clock.stops_at(), None);
}

#[test]
fn no_time_passes_for_a_suspended_coordinator() {
    let mut clock = Clock::new(Time(seconds(100)), seconds(8));
    assert_eq!(clock.look(seconds(1)), None);
    // It was to look again after a second, and looks 30 seconds later.
    assert_eq!(clock.looks_at(), Some(seconds(2)));
    assert_eq!(clock.look(seconds(32)), Some(seconds(30)));
    assert!(clock.stands_still());
    assert_eq!(clock.time(seconds(33)), Time(seconds(102)));
    assert_eq!(clock.store_done(seconds(34)), Some(seconds(32)));
    assert_eq!(clock.time(seconds(35)), Time(seconds(103)));
    assert_eq!(clock.look(seconds(35)), None, "the time in which it stood was counted");
}

#[test]
fn a_busy_machine_does_not_stop_the_clock() {
    let mut clock = Clock::new(Time::default(), seconds(8));
    assert_eq!(clock.look(Duration::from_millis(1_500)), None);
    assert_eq!(clock.time(seconds(2)), Time(seconds(2)));
}

#[test]
fn a_suspension_does_not_count_against_the_store() {
    let mut clock = Clock::new(Time::default(), seconds(8));
    clock.store_asked(Duration::ZERO);
    assert_eq!(clock.look(seconds(60)), Some(seconds(59)));
    assert_eq!(clock.time(seconds(60)), Time(seconds(1)));
    assert_eq!(clock.store_done(seconds(61)), Some(seconds(60)));
    assert_eq!(clock.time(seconds(62)), Time(seconds(2)));
}
