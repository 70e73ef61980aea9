//! Waits for a coordinator that has gone: it may be restarting, or another one may be taking its
//! place.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::client::{Client, ClientError};

/// Before the first look for it. The pause doubles, up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// How long to wait for a coordinator. Only a *useful* answer ends the wait: a coordinator that
/// comes back and breaks off each time it is asked is waited for no longer than one that stays
/// away.
pub(crate) struct Patience<'a> {
    pub(crate) client: &'a Client,
    limit: Duration,
    lost: Option<Lost>,
}

/// The time since the last useful answer.
struct Lost {
    since: Instant,
    pause: Duration,
    /// What was said last.
    said: String,
}

impl<'a> Patience<'a> {
    /// For `limit` each time that the coordinator is lost.
    pub(crate) fn new(client: &'a Client, limit: Duration) -> Self {
        Self { client, limit, lost: None }
    }

    /// A useful answer has come.
    pub(crate) fn heard(&mut self) {
        self.lost = None;
    }

    /// Returns when a coordinator answers again after `error`. Says once that it is gone, and once
    /// that it is back.
    ///
    /// # Errors
    /// The last error when the limit is over; `error` itself if the coordinator is not away.
    pub(crate) async fn outlast(
        &mut self,
        mut error: ClientError,
        mut say: impl FnMut(&str),
    ) -> Result<(), ClientError> {
        if !matches!(error, ClientError::Unreachable { .. }) || self.limit.is_zero() {
            return Err(error);
        }
        let lost = self.lost.get_or_insert_with(|| Lost {
            since: Instant::now(),
            pause: PAUSE_MIN,
            said: String::new(),
        });
        // A failure that repeats itself is announced once.
        let trouble = error.to_string();
        let is_news = lost.said != trouble;
        if is_news {
            say(&format!("lost the coordinator; trying again ({trouble})"));
            lost.said = trouble;
        }
        loop {
            let left = self.limit.saturating_sub(lost.since.elapsed());
            if left.is_zero() {
                return Err(error);
            }
            sleep(lost.pause.min(left)).await;
            lost.pause = (lost.pause * 2).min(PAUSE_MAX);
            let left = self.limit.saturating_sub(lost.since.elapsed());
            match self.client.find_within(left).await {
                Ok(()) => {
                    if is_news {
                        say("the coordinator is back");
                    }
                    return Ok(());
                }
                Err(still @ ClientError::Unreachable { .. }) => {
                    let trouble = still.to_string();
                    if lost.said != trouble {
                        say(&format!("still trying ({trouble})"));
                        lost.said = trouble;
                    }
                    error = still;
                }
                Err(other) => return Err(other),
            }
        }
    }
}
