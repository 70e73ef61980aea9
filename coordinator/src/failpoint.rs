//! Places at which a test can have the coordinator die, to see what a successor makes of what is
//! left, or fall asleep, to see what it still does when it wakes.
//!
//! For tests alone: `WINDROW_FAILPOINT=journal-before-create:3` aborts the process when it comes to
//! that step for the third time; with `stop:` before it, the process stops until it gets SIGCONT,
//! and with `panic:` the part that comes there panics. Without it, a step costs one look at an
//! `Option`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};

/// Before a step at which to stop rather than die.
const STOP: &str = "stop:";
/// Before a step at which a part of it panics.
const PANIC: &str = "panic:";

/// A step at which to die or stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailpointId {
    /// Records are about to be appended to the journal.
    BeforeCreate,
    /// They are durable, but nobody knows.
    AfterCreate,
    /// An epoch has been sealed.
    AfterSeal,
    /// The state is about to be written.
    BeforeSnapshot,
    /// It is durable.
    AfterSnapshot,
    /// An entry of an output that is being replaced has been moved aside.
    MovedAside,
    /// All of them have, and that is noted.
    AllAside,
    /// A part was looked at, and is about to become visible.
    PartChecked,
    /// A part has become visible.
    PartRenamed,
    /// All have; the manifest comes next.
    BeforeManifest,
    /// The manifest is there.
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

/// Where to die or stop, if anywhere. Cheap to clone; clones count together.
#[derive(Clone, Debug, Default)]
pub struct Failpoint(Option<Arc<Armed>>);

struct Armed {
    step: FailpointId,
    /// Times that are still to be survived, and the last one.
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

    /// Does something instead.
    #[cfg(test)]
    pub(crate) fn acting(
        step: FailpointId,
        times: u64,
        act: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self::armed(step, times, act)
    }

    /// Panics instead, which a test of one part can catch.
    #[cfg(test)]
    pub(crate) fn panicking(step: FailpointId, times: u64) -> Self {
        Self::armed(step, times, || panic!("failpoint"))
    }

    /// Says that this step has been reached.
    pub(crate) fn reach(&self, step: FailpointId) {
        if let Some(armed) = &self.0
            && armed.step == step
            && armed.left.fetch_sub(1, Ordering::Relaxed) == 1
        {
            (armed.act)();
        }
    }
}

/// Longest that the system takes to stop all threads when one asks for it.
const STOPPING: Duration = Duration::from_millis(300);

/// All of the process, until SIGCONT.
fn stop() {
    // It can only fail where the process does not exist.
    let _ = kill_process(getpid(), Signal::STOP);
    // The signal goes to any thread, and this one must not take another step meanwhile. While the
    // process is stopped, the time goes by.
    std::thread::park_timeout(STOPPING);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_acts_once_at_its_step() {
        let failpoint = Failpoint::panicking(FailpointId::PartRenamed, 2);
        failpoint.reach(FailpointId::BeforeManifest);
        failpoint.reach(FailpointId::PartRenamed);
        let reach = std::panic::AssertUnwindSafe(|| failpoint.reach(FailpointId::PartRenamed));
        let second = std::panic::catch_unwind(reach);
        assert!(second.is_err());
        failpoint.reach(FailpointId::PartRenamed);
    }

    #[test]
    fn steps_are_known_by_name() {
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
