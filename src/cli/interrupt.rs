//! Signals: those that ask a process to stop, and those that must not end it.
//!
//! | signal | roles | `run`, `submit`, `gen` |
//! | --- | --- | --- |
//! | SIGINT, SIGTERM, SIGXCPU | stop in good order; the second one ends at once | likewise |
//! | SIGHUP | the same | `run` goes on, `submit` leaves its job to the cluster, `gen` stops |
//! | SIGQUIT | ends at once, as a second SIGTERM does | stop, as by SIGTERM |
//! | SIGUSR1, SIGUSR2 | nothing but a line in the log | nothing |
//! | SIGXFSZ | nothing: the write that was too large fails, and says so | the same |
//!
//! SIGHUP stays ignored if it was ignored at the start, as under `nohup`. All other signals are
//! handled whatever was inherited: a shell without job control ignores SIGINT and SIGQUIT for what
//! it starts with `&`, and a process that is asked to stop must stop. SIGCHLD is handled so that it
//! is not ignored: for an ignoring parent, the kernel forgets how children ended.

use std::future::poll_fn;
use std::task::{Context, Poll};

use rustix::process::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::error::CliError;

/// What the user, or the system, wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// Stop in good order.
    Stop,
    /// End at once.
    StopAtOnce,
    /// The terminal is gone, and with it whoever waits.
    HungUp,
}

/// What SIGHUP means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HangUp {
    /// The same as SIGTERM.
    Stops,
    /// That nobody waits here any more.
    IsTold,
    /// Nothing.
    IsNothing,
}

#[derive(Clone, Copy)]
enum Meaning {
    Asks(Interrupt),
    /// Is said in the log, by its name.
    Nothing(&'static str),
    /// Is not even said.
    Silence,
}

/// The signals of this process, from now on.
pub(crate) struct Interrupts {
    signals: Vec<(Signal, Meaning)>,
}

impl Interrupts {
    /// Listens from now on.
    pub(crate) fn listen(hang_up: HangUp) -> Result<Self, CliError> {
        use Interrupt::{HungUp, Stop, StopAtOnce};
        use Meaning::{Asks, Nothing, Silence};
        let hang_up = match hang_up {
            HangUp::Stops => Asks(Stop),
            HangUp::IsTold => Asks(HungUp),
            HangUp::IsNothing => Silence,
        };
        let meanings = [
            (Number::INT, Asks(Stop)),
            (Number::TERM, Asks(Stop)),
            (Number::XCPU, Asks(Stop)),
            (Number::HUP, hang_up),
            (Number::QUIT, Asks(StopAtOnce)),
            (Number::USR1, Nothing("SIGUSR1")),
            (Number::USR2, Nothing("SIGUSR2")),
            (Number::XFSZ, Silence),
            (Number::CHILD, Silence),
        ];
        let ignored = ignored_signals();
        let mut signals = Vec::new();
        for (number, meaning) in meanings {
            if number == Number::HUP && ignored & bit(number) != 0 {
                continue;
            }
            let listening = signal(SignalKind::from_raw(number.as_raw()))
                .map_err(|error| CliError::Other(format!("signals: {error}")))?;
            signals.push((listening, meaning));
        }
        Ok(Self { signals })
    }

    /// Waits for the next one. Cancel safe.
    pub(crate) async fn next(&mut self) -> Interrupt {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Interrupt> {
        for (signal, meaning) in &mut self.signals {
            while signal.poll_recv(context).is_ready() {
                match meaning {
                    Meaning::Asks(interrupt) => return Poll::Ready(*interrupt),
                    Meaning::Nothing(name) => tracing::info!("{name} means nothing to Windrow"),
                    Meaning::Silence => {}
                }
            }
        }
        Poll::Pending
    }
}

/// Signals that were switched off before this process was started, as `nohup` does.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignored_of(&status)
}

fn ignored_of(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}

fn bit(signal: Number) -> u64 {
    1 << (signal.as_raw() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_switched_off_is_read_from_the_kernels_mask() {
        let status = "Name:\twindrow\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n";
        assert_ne!(ignored_of(status) & bit(Number::HUP), 0);
        assert_eq!(ignored_of(status) & bit(Number::QUIT), 0);
        assert_eq!(ignored_of("nonsense"), 0);
    }
}
