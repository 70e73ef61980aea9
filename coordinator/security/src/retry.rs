//! Retries for a busy coordinator, which hangs up on callers that it does not know yet.

use std::error::Error;
use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::error::wrapped;

/// The first pause, which doubles each time.
const PAUSE: Duration = Duration::from_millis(50);
/// For how long to retry.
const PATIENCE: Duration = Duration::from_secs(3);

/// Retries `call`, which must be idempotent, for some seconds while the other end hangs up.
///
/// # Errors
/// The last error of `call`.
pub async fn retry_while_hung_up<T, E, F>(mut call: impl FnMut() -> F) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
    E: Error + 'static,
{
    let (deadline, mut pause) = (Instant::now() + PATIENCE, PAUSE);
    loop {
        match call().await {
            Err(error) if has_hung_up(&error) && Instant::now() + pause < deadline => {}
            answer => return answer,
        }
        sleep(pause).await;
        pause *= 2;
    }
}

/// Whether an error, or a cause of it, says that the other end was there and closed the connection.
fn has_hung_up(error: &(dyn Error + 'static)) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    let mut causes = std::iter::successors(Some(error), |cause| {
        let cause: &(dyn Error + 'static) = *cause;
        wrapped(cause).or_else(|| cause.source())
    });
    causes.any(|cause| {
        // The connection ended in order before the request was sent on it.
        let closed = |error: &hyper::Error| error.is_canceled() || error.is_closed();
        if cause.downcast_ref::<hyper::Error>().is_some_and(closed) {
            return true;
        }
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        matches!(kind, Some(BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SecurityError;

    /// How many tries are made, and whether the last succeeds, if `failures` come first.
    async fn tries(failures: u32, kind: io::ErrorKind) -> (u32, bool) {
        let mut count = 0;
        let answer = retry_while_hung_up(|| {
            count += 1;
            let failed = count <= failures;
            async move {
                let broken = SecurityError::BrokenOff(kind.into());
                // Wrapped twice, as a channel returns it.
                if failed { Err(io::Error::other(io::Error::from(broken))) } else { Ok(()) }
            }
        });
        let succeeded = answer.await.is_ok();
        (count, succeeded)
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_closed_connection_is_retried() {
        assert_eq!(tries(3, io::ErrorKind::ConnectionReset).await, (4, true));
        assert_eq!(tries(3, io::ErrorKind::ConnectionRefused).await, (1, false));
        let began = Instant::now();
        assert_eq!(tries(u32::MAX, io::ErrorKind::UnexpectedEof).await, (6, false));
        assert!(began.elapsed() < PATIENCE);
    }
}
