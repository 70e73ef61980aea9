//! Waits for a coordinator that has gone: it may be restarting, or another one may be taking its place.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::client::{Client, ClientError};

/// Between two looks for it.
const PAUSE: Duration = Duration::from_millis(500);

/// How long to wait each time, and for whom.
pub(crate) struct Patience<'a> {
    pub(crate) client: &'a Client,
    pub(crate) limit: Duration,
}

impl Patience<'_> {
    /// Returns when a coordinator answers again after `error`. Says once that it is gone, and once that it is back.
    ///
    /// # Errors
    /// The last one when the limit is over, and `error` itself if the coordinator is not gone at all.
    pub(crate) async fn outlast(
        &self,
        mut error: ClientError,
        mut say: impl FnMut(&str),
    ) -> Result<(), ClientError> {
        if !matches!(error, ClientError::Unreachable { .. }) {
            return Err(error);
        }
        let since = Instant::now();
        if !self.limit.is_zero() {
            say(&format!("lost the coordinator; trying again ({error})"));
        }
        while since.elapsed() < self.limit {
            sleep(PAUSE).await;
            match self.client.find().await {
                Ok(()) => {
                    say("the coordinator is back");
                    return Ok(());
                }
                Err(still) => error = still,
            }
        }
        Err(error)
    }
}
