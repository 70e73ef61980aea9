//! Answers that nobody takes.
//!
//! What is answered is held until its receiver has room for it, and HTTP/2 knows no deadline for
//! that: whoever asks much and reads nothing has us hold all of it. So each piece of an answer is to
//! be taken within a time, or the connection is closed, and all that is on it. What the server asks
//! for next has room: so a piece has been taken when the next one is asked for, or the end.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::task::AbortHandle;
use tokio::time::sleep;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Bytes;
use windrow_security::access::Caller;

/// How long a piece of an answer may lie, and a second more for each so many bytes.
pub(super) const TIME_MAX: Duration = Duration::from_secs(30);
const BYTES_PER_SECOND_MIN: usize = 64 << 10;

/// An answer's body.
pub(super) struct Answer<H> {
    inner: Body,
    caller: Caller,
    late: Option<Late>,
    /// Of the call, until its answer is taken.
    _held: H,
}

/// Closes the connection later, unless it is dropped before.
struct Late(AbortHandle);

impl Drop for Late {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<H> Answer<H> {
    /// To be taken by a caller; what is `held` is dropped with it.
    pub(super) fn new(inner: Body, caller: Caller, held: H) -> Self {
        Self { inner, caller, late: None, _held: held }
    }

    fn late_after(&self, bytes: usize) -> Late {
        let time = TIME_MAX + Duration::from_secs((bytes / BYTES_PER_SECOND_MIN) as u64);
        let caller = self.caller.downgrade();
        let closing = tokio::spawn(async move {
            sleep(time).await;
            let Some(caller) = caller.upgrade() else { return };
            tracing::info!(
                caller = caller.identity().map(ToString::to_string),
                "closing a connection whose caller does not take its answers"
            );
            caller.shut_out();
        });
        Late(closing.abort_handle())
    }
}

impl<H: Unpin> HttpBody for Answer<H> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        this.late = None;
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            this.late = Some(this.late_after(data.len()));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::StreamBody;
    use tokio::time::advance;

    use super::*;

    fn answer(pieces: Vec<usize>) -> (Answer<()>, Caller) {
        let frames =
            pieces.into_iter().map(|bytes| Ok::<_, Status>(Frame::data(vec![0; bytes].into())));
        let inner = Body::new(StreamBody::new(tokio_stream::iter(frames)));
        let caller = Caller::new(None);
        (Answer::new(inner, caller.clone(), ()), caller)
    }

    async fn take(answer: &mut Answer<()>) -> Option<usize> {
        let frame =
            std::future::poll_fn(|context| Pin::new(&mut *answer).poll_frame(context)).await;
        frame.map(|frame| frame.unwrap().into_data().unwrap().len())
    }

    async fn settle() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_stops_taking_is_shut_out_and_who_is_slow_is_not() {
        const SECOND: Duration = Duration::from_secs(1);
        let large = 10 * BYTES_PER_SECOND_MIN;
        for (pieces, each, is_shut_out) in [
            (vec![1; 10], TIME_MAX - SECOND, false),
            (vec![1; 2], TIME_MAX + SECOND, true),
            (vec![large; 3], TIME_MAX + 9 * SECOND, false),
            (vec![large; 3], TIME_MAX + 11 * SECOND, true),
        ] {
            let (mut answer, caller) = answer(pieces.clone());
            while take(&mut answer).await.is_some() {
                settle().await;
                advance(each).await;
                settle().await;
            }
            assert_eq!(caller.is_shut_out(), is_shut_out, "{} after {each:?}", pieces[0]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_waits_for_something_else_is_not_late() {
        let inner =
            Body::new(StreamBody::new(tokio_stream::pending::<Result<Frame<Bytes>, Status>>()));
        let caller = Caller::new(None);
        let mut answer = Answer::new(inner, caller.clone(), ());
        let waits = tokio::time::timeout(10 * TIME_MAX, take(&mut answer)).await;
        assert!(waits.is_err() && !caller.is_shut_out());
        drop(answer);
        let (mut answer, caller) = self::answer(vec![1]);
        take(&mut answer).await;
        drop(answer);
        sleep(10 * TIME_MAX).await;
        assert!(!caller.is_shut_out(), "it was given up, or sent");
    }
}
