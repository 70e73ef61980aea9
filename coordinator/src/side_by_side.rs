//! Calls of the file system for many files, on several threads: each call waits for a disk or a server, not for a core.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Most threads of one loop. A file server answers so many at once, and a disk gains nothing from more.
const THREADS_MAX: usize = 16;

/// Fewer items than this are not worth a thread.
const ITEMS_PER_THREAD_MIN: usize = 64;

/// How many items a thread takes at a time.
const BATCH: usize = 16;

/// Calls `each` with every item, in any order. The error is that of the first item, by its place in the list, that has
/// one: the same whatever the threads do. Items behind it may not have been tried. A panic goes on in the caller.
pub(crate) fn try_for_each<T: Sync, E: Send>(
    items: &[T],
    each: impl Fn(&T) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let threads = (items.len() / ITEMS_PER_THREAD_MIN).clamp(1, THREADS_MAX);
    if threads == 1 {
        return items.iter().try_for_each(each);
    }
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(usize::MAX));
    let work = || {
        loop {
            let start = next.fetch_add(BATCH, Ordering::Relaxed);
            // Items before a failed one are tried all the same: one of them may be the first that fails.
            if start >= items.len() || start > failed.load(Ordering::Relaxed) {
                return None;
            }
            let end = items.len().min(start + BATCH);
            for (index, item) in (start..end).zip(&items[start..end]) {
                if let Err(error) = each(item) {
                    failed.fetch_min(index, Ordering::Relaxed);
                    return Some((index, error));
                }
            }
        }
    };
    let errors = thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let ended = running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        ended.flatten().collect::<Vec<_>>()
    });
    match errors.into_iter().min_by_key(|(index, _)| *index) {
        Some((_, error)) => Err(error),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn every_item_once_whatever_their_number() {
        for count in [0, 1, 63, 64, 128, 1_000, 5_003] {
            let items: Vec<usize> = (0..count).collect();
            let seen = Mutex::new(Vec::new());
            let all: Result<(), ()> = try_for_each(&items, |item| {
                seen.lock().unwrap().push(*item);
                Ok(())
            });
            all.unwrap();
            let mut seen = seen.into_inner().unwrap();
            seen.sort_unstable();
            assert_eq!(seen, items);
        }
    }

    #[test]
    fn the_error_is_the_first_ones() {
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
