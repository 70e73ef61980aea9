//! Tracks calls to the file system that somebody waits for.
//!
//! A call to a dead file server does not return and cannot be interrupted. So code that makes many
//! calls names [the path](at) of each one. The code that waits for all of them holds the [`Watch`],
//! which tells a dead server from a slow one. A waiter that gives up says so, and the thread
//! [checks](is_given_up) that between its calls.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The calls of some threads. Cheap to clone; clones share their state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    calls: Arc<Mutex<Vec<Arc<Mutex<Call>>>>>,
    /// Whether the waiter has given up.
    given_up: Arc<AtomicBool>,
}

/// The current call of one thread.
#[derive(Debug, Default)]
struct Call {
    /// Kept after the call, to reuse its memory.
    path: PathBuf,
    since: Option<Instant>,
}

thread_local! {
    static CURRENT: RefCell<Option<(Watch, Arc<Mutex<Call>>)>> = const { RefCell::new(None) };
}

/// Makes a call at `path`. Costs one copy of the path if the thread is watched, and nothing
/// otherwise.
pub(crate) fn at<R>(path: &Path, ask: impl FnOnce() -> R) -> R {
    note(|call| {
        call.path.clear();
        call.path.push(path);
        call.since = Some(Instant::now());
    });
    let answer = ask();
    note(|call| call.since = None);
    answer
}

fn note(change: impl FnOnce(&mut Call)) {
    CURRENT.with_borrow(|current| {
        if let Some((_, call)) = current {
            change(&mut call.lock().unwrap_or_else(PoisonError::into_inner));
        }
    });
}

/// The watch of this thread, so that its helper threads can be watched, too.
pub(crate) fn watcher() -> Option<Watch> {
    CURRENT.with_borrow(|current| current.as_ref().map(|(watch, _)| watch.clone()))
}

/// Whether the waiter for this thread has given up.
pub(crate) fn is_given_up() -> bool {
    CURRENT.with_borrow(|current| {
        current.as_ref().is_some_and(|(watch, _)| watch.given_up.load(Ordering::Relaxed))
    })
}

impl Watch {
    /// Notes that the waiter has given up.
    pub(crate) fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    /// Watches this thread during `work`.
    pub(crate) fn watching<R>(&self, work: impl FnOnce() -> R) -> R {
        let call = Arc::default();
        self.calls(|calls| calls.push(Arc::clone(&call)));
        let entered = Entered { before: CURRENT.replace(Some((self.clone(), call))) };
        let done = work();
        drop(entered);
        done
    }

    /// The path of the oldest unfinished call, and its age.
    pub(crate) fn longest(&self) -> Option<(PathBuf, Duration)> {
        self.calls(|calls| {
            let calls =
                calls.iter().map(|call| call.lock().unwrap_or_else(PoisonError::into_inner));
            let asked = calls.filter_map(|call| Some((call.since?, call.path.clone())));
            let longest = asked.min_by_key(|(since, _)| *since);
            longest.map(|(since, path)| (path, since.elapsed()))
        })
    }

    /// Whether both are the same watch.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.calls, &other.calls)
    }

    fn calls<R>(&self, change: impl FnOnce(&mut Vec<Arc<Mutex<Call>>>) -> R) -> R {
        change(&mut self.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Until it is dropped, also by a panic, this thread is watched.
struct Entered {
    before: Option<(Watch, Arc<Mutex<Call>>)>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        if let Some((watch, call)) = CURRENT.replace(self.before.take()) {
            watch.calls(|calls| calls.retain(|other| !Arc::ptr_eq(other, &call)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;
    use crate::parallel_io::{Grain, try_map_with};

    #[test]
    fn the_oldest_call_of_all_threads_is_named() {
        let watch = Watch::default();
        assert_eq!(watch.longest(), None);
        let (go, gate) = mpsc::channel::<()>();
        let (gate, items) = (Mutex::new(gate), ["/a", "/b", "/c", "/d"]);
        let hanging = {
            let watch = watch.clone();
            thread::spawn(move || {
                watch.watching(|| {
                    try_map_with(Grain::Coarse, &items, |path| {
                        at(Path::new(path), || gate.lock().unwrap().recv().map_err(|_| ()))
                    })
                })
            })
        };
        let asks = |call: &&Arc<Mutex<Call>>| call.lock().unwrap().since.is_some();
        while watch.calls.lock().unwrap().iter().filter(asks).count() < 2 {
            thread::yield_now();
        }
        let (path, since) = watch.longest().unwrap();
        assert!(items.iter().any(|item| path == Path::new(item)), "{path:?}");
        assert!(watch.longest().unwrap().1 >= since);
        (0..4).for_each(|_| go.send(()).unwrap());
        assert_eq!(hanging.join().unwrap(), Ok(vec![(); 4]));
        assert_eq!(watch.longest(), None, "no call is left");
        assert_eq!(at(Path::new("/nobody watches"), || 7), 7);
    }
}
