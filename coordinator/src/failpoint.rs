//! Fault injection: places at which a test can kill the coordinator, to check its successor, or
//! suspend it, to check what it does when it wakes.
//!
//! For tests only: `WINDROW_FAILPOINT=journal-before-create:3` aborts the process when it reaches
//! that step for the third time. With the prefix `stop:`, the process stops until it gets SIGCONT;
//! with `panic:`, the thread at that step panics. Without the variable, a step costs one look at an
//! `Option`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};

/// Prefix of a step at which to stop.
const STOP: &str = "stop:";
/// Prefix of a step at which to panic.
const PANIC: &str = "panic:";

/// A step at which a fault can be injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailpointId {
    /// Records are about to be appended to the journal.
    BeforeCreate,
    /// The records are durable, but no caller knows.
    AfterCreate,
    /// An epoch has been sealed.
    AfterSeal,
    /// A snapshot is about to be written.
    BeforeSnapshot,
    /// The snapshot is durable.
    AfterSnapshot,
    /// An entry of an output that is being replaced has been moved aside.
    MovedAside,
    /// All entries were moved aside, and the mark is written.
    AllAside,
    /// A part was checked, and is about to become visible.
    PartChecked,
    /// A part has become visible.
    PartRenamed,
    /// All parts are visible; the manifest is next.
    BeforeManifest,
    /// The manifest is written.
    AfterManifest,
}

impl FailpointId {
    const ALL: [Self; 11] = [
        Self::BeforeCreate,
        Self::AfterCreate,
        Self::AfterSeal,
        Self::BeforeSnapshot,
        Self::AfterSnapshot,
        Self::MovedAside,
        Self::AllAside,
        Self::PartChecked,
        Self::PartRenamed,
        Self::BeforeManifest,
        Self::AfterManifest,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::BeforeCreate => "journal-before-create",
            Self::AfterCreate => "journal-after-create",
            Self::AfterSeal => "journal-after-seal",
            Self::BeforeSnapshot => "journal-before-snapshot",
            Self::AfterSnapshot => "journal-after-snapshot",
            Self::MovedAside => "publish-moved-aside",
            Self::AllAside => "publish-all-aside",
            Self::PartChecked => "publish-part-checked",
            Self::PartRenamed => "publish-part-renamed",
            Self::BeforeManifest => "publish-before-manifest",
            Self::AfterManifest => "publish-after-manifest",
        }
    }
}

/// The fault to inject, if any. Cheap to clone; clones count together.
#[derive(Clone, Debug, Default)]
pub struct Failpoint(Option<Arc<Armed>>);

struct Armed {
    step: FailpointId,
    /// How often the step is still to be reached, including the last time.
    left: AtomicU64,
    act: Box<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Armed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}:{:?}", self.step, self.left)
    }
}

impl Failpoint {
    /// Reads `STEP:N`, `stop:STEP:N` or `panic:STEP:N`: the N-th time, counted from 1.
    ///
    /// # Errors
    /// When there is no such step, or no number; the message lists the steps.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (act, armed): (fn(), _) = match (text.strip_prefix(STOP), text.strip_prefix(PANIC)) {
            (Some(armed), _) => (stop, armed),
            (None, Some(armed)) => (|| panic!("failpoint"), armed),
            (None, None) => (|| std::process::abort(), text),
        };
        let parsed = armed.split_once(':').and_then(|(name, times)| {
            let step = FailpointId::ALL.into_iter().find(|step| step.name() == name)?;
            Some((step, times.parse().ok().filter(|times| *times > 0)?))
        });
        let Some((step, times)) = parsed else {
            let names = FailpointId::ALL.map(FailpointId::name).join(", ");
            return Err(format!(
                "'{text}' is not [{STOP}|{PANIC}]STEP:N with N from 1 and a step of: {names}"
            ));
        };
        Ok(Self::armed(step, times, act))
    }

    fn armed(step: FailpointId, times: u64, act: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(Armed { step, left: AtomicU64::new(times), act: Box::new(act) })))
    }

    /// Calls a function instead.
    #[cfg(test)]
    pub(crate) fn acting(
        step: FailpointId,
        times: u64,
        act: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self::armed(step, times, act)
    }

    /// Panics instead, which a unit test can catch.
    #[cfg(test)]
    pub(crate) fn panicking(step: FailpointId, times: u64) -> Self {
        Self::armed(step, times, || panic!("failpoint"))
    }

    /// Notes that this step was reached.
    pub(crate) fn reach(&self, step: FailpointId) {
        if let Some(armed) = &self.0
            && armed.step == step
            && armed.left.fetch_sub(1, Ordering::Relaxed) == 1
        {
            (armed.act)();
        }
    }
}

/// The longest time that the system takes to stop all threads.
const STOPPING: Duration = Duration::from_millis(300);

/// Stops the whole process until SIGCONT.
fn stop() {
    // Fails only for a process that does not exist.
    let _ = kill_process(getpid(), Signal::STOP);
    // The signal may be handled by any thread, and this one must not take another step meanwhile.
    // The timeout elapses while the process is stopped.
    std::thread::park_timeout(STOPPING);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failpoint_acts_once_at_its_step() {
        let failpoint = Failpoint::panicking(FailpointId::PartRenamed, 2);
        failpoint.reach(FailpointId::BeforeManifest);
        failpoint.reach(FailpointId::PartRenamed);
        let reach = std::panic::AssertUnwindSafe(|| failpoint.reach(FailpointId::PartRenamed));
        let second = std::panic::catch_unwind(reach);
        assert!(second.is_err());
        failpoint.reach(FailpointId::PartRenamed);
    }

    #[test]
    fn steps_are_parsed_by_name() {
        for step in FailpointId::ALL {
            let failpoint = Failpoint::parse(&format!("{}:7", step.name())).unwrap();
            assert_eq!(failpoint.0.unwrap().step, step);
            assert!(Failpoint::parse(&format!("{STOP}{}:7", step.name())).is_ok());
        }
        for wrong in ["journal-before-create", "journal-before-create:0", "nowhere:1", "stop:1"] {
            assert!(Failpoint::parse(wrong).unwrap_err().contains("journal-after-seal"));
        }
    }
}
