//! Calls of the file system for many files, on several threads: each call waits for a disk or a
//! server, not for a core.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::hanging;

/// Most threads of one loop. More make neither a file server nor a disk faster.
const THREADS_MAX: usize = 16;

/// The cost of an item.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Grain {
    /// A call or two: a thread takes a run of items at a time, and fewer than 64 are not worth a
    /// thread.
    Fine,
    /// Many calls: two items are worth a thread.
    Coarse,
}

impl Grain {
    /// The fewest items that are worth a thread, and how many a thread takes at a time.
    fn sizes(self) -> (usize, usize) {
        match self {
            Self::Fine => (64, 16),
            Self::Coarse => (2, 1),
        }
    }
}

/// Calls `each` with every item. See [`try_map`].
pub(crate) fn try_for_each<T: Sync, E: Send>(
    items: &[T],
    each: impl Fn(&T) -> Result<(), E> + Sync,
) -> Result<(), E> {
    try_map(items, each).map(|_: Vec<()>| ())
}

/// The results of `each`, in the order of the items, whatever the order of the calls. On failure,
/// the error of the first failing item in the list, regardless of threads; items behind it may not
/// have been tried. A panic is resumed in the caller.
pub(crate) fn try_map<T: Sync, R: Send, E: Send>(
    items: &[T],
    each: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    try_map_with(Grain::Fine, items, each)
}

/// [`try_map`] for items of another grain.
pub(crate) fn try_map_with<T: Sync, R: Send, E: Send>(
    grain: Grain,
    items: &[T],
    each: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let (least, batch) = grain.sizes();
    let threads = (items.len() / least).clamp(1, THREADS_MAX);
    if threads == 1 {
        return items.iter().map(each).collect();
    }
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(usize::MAX));
    // Takes runs of items until none is left, and returns their results, each with its position.
    let work = || {
        let mut done: Vec<(usize, Result<Vec<R>, E>)> = Vec::new();
        loop {
            let start = next.fetch_add(batch, Ordering::Relaxed);
            // Items before a failed one are tried all the same: an earlier one may fail, too.
            if start >= items.len() || start > failed.load(Ordering::Relaxed) {
                return done;
            }
            let run = &items[start..items.len().min(start + batch)];
            let outcome = run.iter().map(&each).collect::<Result<Vec<R>, E>>();
            if outcome.is_err() {
                failed.fetch_min(start, Ordering::Relaxed);
            }
            done.push((start, outcome));
        }
    };
    let watcher = hanging::watcher();
    let mut done = thread::scope(|scope| {
        // The watch of this thread covers its helpers.
        let watched = || match &watcher {
            Some(watcher) => watcher.watching(work),
            None => work(),
        };
        // This thread works as well, and alone if the system refuses new threads.
        let spawn = |_| thread::Builder::new().spawn_scoped(scope, watched).ok();
        let running: Vec<_> = (1..threads).map_while(spawn).collect();
        let mut done = work();
        for thread in running {
            done.extend(thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        done
    });
    done.sort_unstable_by_key(|(start, _)| *start);
    let mut all = Vec::with_capacity(items.len());
    for (start, outcome) in done {
        debug_assert_eq!(start, all.len(), "every run before the first error was done");
        all.extend(outcome?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_processed_once_and_in_order() {
        for grain in [Grain::Fine, Grain::Coarse] {
            for count in [0, 1, 2, 63, 64, 128, 1_000, 5_003] {
                let items: Vec<usize> = (0..count).collect();
                let doubled: Result<Vec<usize>, ()> =
                    try_map_with(grain, &items, |item| Ok(2 * item));
                assert_eq!(doubled.unwrap(), (0..count).map(|item| 2 * item).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn the_error_of_the_first_failing_item_is_returned() {
        let items: Vec<usize> = (0..4_000).collect();
        for _ in 0..20 {
            let failed = try_for_each(&items, |item| match item {
                777 | 778 | 3_000.. => Err(*item),
                _ => Ok(()),
            });
            assert_eq!(failed, Err(777));
        }
    }

    #[test]
    #[should_panic(expected = "at item 500")]
    fn a_panic_reaches_the_caller() {
        let items: Vec<usize> = (0..1_000).collect();
        let _: Result<(), ()> = try_for_each(&items, |item| {
            assert!(*item != 500, "at item 500");
            Ok(())
        });
    }
}
