//! A coordinator that has no room hangs up on those of whom it knows nothing yet. A moment later,
//! it may have some.

use std::error::Error;
use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::error::wrapped;

/// Before the second try; twice as long before each other one.
const PAUSE: Duration = Duration::from_millis(50);
/// From when on it is not tried again.
const PATIENCE: Duration = Duration::from_secs(3);

/// Does what `call` says, again and again while the other end hangs up, for some seconds. It must
/// be something that may be done twice.
///
/// # Errors
/// The last one of `call`.
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

/// Whether the other end was there and has closed the connection, by an error or what it comes
/// from.
fn has_hung_up(error: &(dyn Error + 'static)) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    let mut causes = std::iter::successors(Some(error), |cause| {
        let cause: &(dyn Error + 'static) = *cause;
        wrapped(cause).or_else(|| cause.source())
    });
    causes.any(|cause| {
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        matches!(kind, Some(BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SecurityError;

    /// How often it is tried, and what comes of it, if `failures` go before a success.
    async fn tries(failures: u32, kind: io::ErrorKind) -> (u32, bool) {
        let mut count = 0;
        let answer = retry_while_hung_up(|| {
            count += 1;
            let failed = count <= failures;
            async move {
                let broken = SecurityError::BrokenOff(kind.into());
                // As it comes out of a channel: wrapped, and wrapped again.
                if failed { Err(io::Error::other(io::Error::from(broken))) } else { Ok(()) }
            }
        });
        let succeeded = answer.await.is_ok();
        (count, succeeded)
    }

    #[tokio::test(start_paused = true)]
    async fn who_hangs_up_is_asked_again_and_nobody_else() {
        assert_eq!(tries(3, io::ErrorKind::ConnectionReset).await, (4, true));
        assert_eq!(tries(3, io::ErrorKind::ConnectionRefused).await, (1, false));
        let began = Instant::now();
        assert_eq!(tries(u32::MAX, io::ErrorKind::UnexpectedEof).await, (6, false));
        assert!(began.elapsed() < PATIENCE);
    }
}
