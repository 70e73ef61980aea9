//! Catches panics of user code, with their message and place.
//!
//! A hook, installed once, notes the place of a panic on a guarded thread and prints nothing, since
//! the failure is reported like any other. On other threads the previous hook runs. A build with
//! `panic = "abort"` cannot be guarded.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;

use crate::error::{Error, Result};
use crate::failure::{FailureCause, RecordPlace};

/// A caught panic.
#[derive(Debug)]
pub(crate) struct Caught {
    message: String,
    source: Option<String>,
}

impl Caught {
    /// The panic as the failure of an attempt at `place`.
    pub(crate) fn into_failure(self, mut place: RecordPlace) -> FailureCause {
        place.source = self.source;
        FailureCause::UserPanic { place, message: self.message }
    }
}

/// Runs user code before there is a task to fail: its panic becomes an error, too.
pub(crate) fn before_tasks<R>(code: impl FnOnce() -> Result<R>) -> Result<R> {
    guard(code).unwrap_or_else(|Caught { message, source }| {
        let source = source.map_or(String::new(), |source| format!(" (in {source})"));
        Err(Error::new(format!("panic: {message}{source}")))
    })
}

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    /// `file:line:column` of the last panic on this thread under a guard.
    static SOURCE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `code` and catches its panic. After a panic, the caller must not use what `code` was
/// changing, except plain data.
pub(crate) fn guard<R>(code: impl FnOnce() -> R) -> Result<R, Caught> {
    static HOOK: Once = Once::new();
    HOOK.call_once(install_hook);
    let outer = GUARDED.replace(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(code));
    GUARDED.set(outer);
    outcome.map_err(|payload| Caught { message: message(&*payload), source: SOURCE.take() })
}

/// The result of guarded user code; an error or a panic becomes the failure of an attempt at
/// `place`.
pub(crate) fn settle<R>(
    outcome: Result<Result<R>, Caught>,
    place: impl FnOnce() -> RecordPlace,
) -> Result<R, FailureCause> {
    match outcome {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => {
            let message = error.message().to_string();
            Err(FailureCause::UserError { place: place(), message })
        }
        Err(caught) => Err(caught.into_failure(place())),
    }
}

fn install_hook() {
    let previous = panic::take_hook();
    panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        if GUARDED.get() {
            SOURCE.set(info.location().map(ToString::to_string));
        } else {
            previous(info);
        }
    }));
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a message")
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caught<R: std::fmt::Debug>(code: impl FnOnce() -> R) -> (String, String) {
        let Caught { message, source } = guard(code).unwrap_err();
        (message, source.unwrap())
    }

    #[test]
    fn message_and_place_are_caught() {
        let line = line!() + 1;
        let (message, source) = caught(|| panic!("no {}", "barn"));
        assert_eq!(message, "no barn");
        assert!(source.starts_with(&format!("{}:{line}:", file!())), "{source}");
        assert_eq!(caught(|| panic!("plain")).0, "plain");
        assert_eq!(caught(|| panic::panic_any(7)).0, "a panic without a message");
    }

    #[test]
    fn a_panic_before_any_task_is_an_error() {
        assert_eq!(before_tasks(|| Ok(7)).unwrap(), 7);
        let error = before_tasks::<()>(|| panic!("no barn")).unwrap_err();
        assert!(error.message().starts_with(&format!("panic: no barn (in {}:", file!())));
    }

    #[test]
    fn guards_nest_and_end() {
        let inner = guard(|| guard(|| panic!("inner")).map_err(|caught| caught.message)).unwrap();
        assert_eq!(inner, Err::<(), _>("inner".to_string()));
        assert!(!GUARDED.get());
        assert!(guard(|| GUARDED.get()).unwrap());
    }
}
