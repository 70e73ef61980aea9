//! When time stands still.

use std::time::Duration;

use crate::{Clock, Time};

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn it_stands_still_from_half_a_lease_until_the_store_has_done_something() {
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
fn to_ask_again_does_not_begin_it_anew() {
    let mut clock = Clock::new(Time::default(), seconds(10));
    clock.store_asked(seconds(1));
    clock.store_asked(seconds(3));
    assert_eq!(clock.stops_at(), Some(seconds(6)));
    assert_eq!(clock.store_done(seconds(5)), None);
    assert_eq!(clock.stops_at(), None);
}
