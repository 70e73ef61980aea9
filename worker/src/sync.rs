//! Locks without poisoning: the data behind them is whole between any two statements. And work that
//! blocks, away from the threads of async code.

use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often a waiting thread calls `check`. It polls because a cancelled token cannot notify a
/// condition variable. A call takes 33 µs, so a waiting thread uses less than 0.1 % of a core.
const LOOK: Duration = Duration::from_millis(50);

/// Locks, whether or not somebody panicked while holding the lock.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits while `is_to_wait` holds for the locked value; `changed` is notified of changes. Fails
/// when `check` does, which is called every 50 ms.
pub fn wait_while<'a, T, E>(
    changed: &Condvar,
    mut locked: MutexGuard<'a, T>,
    is_to_wait: impl Fn(&T) -> bool,
    check: impl Fn() -> Result<(), E>,
) -> Result<MutexGuard<'a, T>, E> {
    while is_to_wait(&locked) {
        check()?;
        let waited = changed.wait_timeout(locked, LOOK);
        locked = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
    Ok(locked)
}

/// Runs work that may block for a while, such as work on files.
///
/// # Errors
///
/// Those of the work, and another if it panics.
pub async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<io::Error> + Send + 'static,
{
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(io::Error::other(error).into()))
}

/// What a lock protected, whether or not somebody panicked while holding it.
pub fn into_inner<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(PoisonError::into_inner)
}
