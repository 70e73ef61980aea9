//! Evicts callers that do not read their answers.
//!
//! An answer is held until its receiver has room for it, and HTTP/2 has no deadline for that: a
//! caller that asks much and reads nothing would make us hold all of it. So an answer must be taken
//! at a minimum rate; otherwise its connection is closed, with all calls on it.
//!
//! A body learns only by being polled that its receiver has room: hyper polls for the next piece
//! after it has passed the previous one on, which it does as soon as there is room for one byte of
//! it. So answers are given in small pieces, and the last byte of each message by itself: a poll
//! after that means that all bytes before it have been taken.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body::{Body as HttpBody, Frame};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Bytes;
use windrow_security::access::{Caller, WeakCaller};

/// How long a message may wait to be taken, and a second more for each so many bytes of it that
/// were taken.
pub(super) const TIME_MAX: Duration = Duration::from_secs(30);
const BYTES_PER_SECOND_MIN: usize = 64 << 10;

/// The default size of HTTP/2 frames.
const PIECE_BYTES: usize = 16 << 10;

/// An answer's body.
pub(super) struct TimedAnswer<H> {
    inner: Body,
    /// The rest of the message that is being given.
    rest: Bytes,
    given: usize,
    begun: Instant,
    late: Late,
    /// The call's reservations, until its answer is taken.
    _held: H,
}

impl<H> TimedAnswer<H> {
    /// An answer for `caller`; `held` is dropped with it.
    pub(super) fn new(inner: Body, caller: &Caller, held: H) -> Self {
        let (rest, given, begun) = (Bytes::new(), 0, Instant::now());
        Self { inner, rest, given, begun, late: Late::new(caller), _held: held }
    }

    /// The next piece of a message that is not finished.
    fn piece(&mut self) -> Frame<Bytes> {
        debug_assert!(!self.rest.is_empty(), "the message is not finished");
        let bytes = (self.rest.len() - 1).clamp(1, PIECE_BYTES);
        let time = TIME_MAX + Duration::from_secs((self.given / BYTES_PER_SECOND_MIN) as u64);
        self.late.is_due(Some(self.begun + time));
        self.given += bytes;
        Frame::data(self.rest.split_to(bytes))
    }
}

impl<H: Unpin> HttpBody for TimedAnswer<H> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if !this.rest.is_empty() {
            return Poll::Ready(Some(Ok(this.piece())));
        }
        this.late.is_due(None);
        let frame = match ready!(Pin::new(&mut this.inner).poll_frame(context)) {
            Some(Ok(frame)) => frame,
            end => return Poll::Ready(end),
        };
        Poll::Ready(Some(match frame.into_data() {
            Ok(data) if !data.is_empty() => {
                (this.rest, this.given, this.begun) = (data, 0, Instant::now());
                Ok(this.piece())
            }
            Ok(nothing) => Ok(Frame::data(nothing)),
            Err(other) => Ok(other),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }
}

/// Closes a connection when a deadline passes on it.
struct Late {
    caller: WeakCaller,
    due: Arc<Mutex<Option<Instant>>>,
    watching: Option<AbortHandle>,
}

impl Late {
    fn new(caller: &Caller) -> Self {
        Self { caller: caller.downgrade(), due: Arc::default(), watching: None }
    }

    /// Sets the deadline of the next poll, or none.
    fn is_due(&mut self, at: Option<Instant>) {
        *self.due.lock().unwrap_or_else(PoisonError::into_inner) = at;
        if at.is_some() && self.watching.is_none() {
            let watching =
                tokio::spawn(close_when_late(self.caller.clone(), Arc::clone(&self.due)));
            self.watching = Some(watching.abort_handle());
        }
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        self.watching.iter().for_each(AbortHandle::abort);
    }
}

async fn close_when_late(caller: WeakCaller, due: Arc<Mutex<Option<Instant>>>) {
    loop {
        let at = *due.lock().unwrap_or_else(PoisonError::into_inner);
        match at {
            // The next deadline is no earlier.
            None => sleep(TIME_MAX).await,
            Some(at) if Instant::now() < at => sleep_until(at).await,
            Some(_) => break,
        }
    }
    let Some(caller) = caller.upgrade() else { return };
    let name = caller.identity().map(ToString::to_string);
    tracing::info!(caller = name, "closing a connection whose caller does not take its answers");
    caller.shut_out();
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;

    use http_body_util::StreamBody;
    use tokio::net::TcpListener;
    use tokio::time::{advance, pause, resume, timeout};
    use tonic::codegen::{Service, http};
    use tonic::server::NamedService;
    use tonic::transport::{Channel, Endpoint, Server};
    use tower::ServiceExt;
    use windrow_security::access::{AccessLayer, AllowAll};

    use super::*;
    use crate::rpc::{LargeRequests, RequestRoom};

    fn answer(messages: Vec<usize>) -> (TimedAnswer<()>, Caller) {
        let frames =
            messages.into_iter().map(|bytes| Ok::<_, Status>(Frame::data(vec![7; bytes].into())));
        let inner = Body::new(StreamBody::new(tokio_stream::iter(frames)));
        let caller = Caller::new(None);
        (TimedAnswer::new(inner, &caller, ()), caller)
    }

    async fn take(answer: &mut TimedAnswer<()>) -> Option<usize> {
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
    async fn a_caller_that_stops_reading_is_evicted_and_a_slow_one_is_not() {
        const SECOND: Duration = Duration::from_secs(1);
        // Its size earns it ten more seconds.
        let large = 10 * BYTES_PER_SECOND_MIN + 2;
        let pieces = large.div_ceil(PIECE_BYTES) as u32 + 1;
        for (messages, pause, is_shut_out) in [
            (vec![1; 10], TIME_MAX - SECOND, false),
            (vec![1; 2], TIME_MAX + SECOND, true),
            (vec![large; 3], (TIME_MAX + 8 * SECOND) / pieces, false),
            (vec![large; 1], (TIME_MAX + 12 * SECOND) / pieces, true),
        ] {
            let (mut answer, caller) = answer(messages.clone());
            let mut taken = 0;
            while let Some(bytes) = take(&mut answer).await {
                taken += bytes;
                settle().await;
                advance(pause).await;
                settle().await;
            }
            assert_eq!(taken, messages.iter().sum::<usize>());
            assert_eq!(caller.is_shut_out(), is_shut_out, "{} after {pause:?}", messages[0]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_waits_for_its_content_is_not_late() {
        let pending = tokio_stream::pending::<Result<Frame<Bytes>, Status>>();
        let caller = Caller::new(None);
        let mut waiting = TimedAnswer::new(Body::new(StreamBody::new(pending)), &caller, ());
        assert!(timeout(10 * TIME_MAX, take(&mut waiting)).await.is_err());
        let (mut answer, of_answer) = answer(vec![1]);
        take(&mut answer).await;
        drop(answer);
        sleep(10 * TIME_MAX).await;
        assert!(!caller.is_shut_out(), "there is nothing to take");
        assert!(!of_answer.is_shut_out(), "the answer was dropped");
    }

    /// Answers with this many bytes.
    #[derive(Clone)]
    struct Large(usize);

    impl NamedService for Large {
        const NAME: &'static str = "large";
    }

    impl Service<http::Request<Body>> for Large {
        type Response = http::Response<Body>;
        type Error = Infallible;
        type Future = std::future::Ready<Result<Self::Response, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: http::Request<Body>) -> Self::Future {
            let frames = [Ok::<_, Status>(Frame::data(vec![0; self.0].into()))];
            let body = Body::new(StreamBody::new(tokio_stream::iter(frames)));
            std::future::ready(Ok(http::Response::new(body)))
        }
    }

    async fn call(channel: &mut Channel) -> Option<Body> {
        let request = http::Request::get("http://host/large/Call").body(Body::empty()).unwrap();
        let answered = channel.ready().await.ok()?.call(request).await.ok()?;
        Some(answered.into_body())
    }

    /// How an answer ends.
    async fn end_of(mut answer: Body) -> Result<(), Status> {
        loop {
            let next = std::future::poll_fn(|context| Pin::new(&mut answer).poll_frame(context));
            match timeout(TIME_MAX, next).await.expect("neither data nor an end arrives") {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            }
        }
    }

    /// Lets time pass for both ends, and everything due by then happen.
    async fn pass(time: Duration) {
        pause();
        advance(time).await;
        settle().await;
        resume();
    }

    /// A short answer with room for one byte, and a long one.
    #[tokio::test]
    async fn the_connection_of_a_client_that_reads_nothing_is_closed() {
        for (bytes, window) in [(100, 1), (1 << 20, 1 << 16)] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let server = Server::builder()
                .layer(AccessLayer::new(Arc::new(AllowAll)))
                .add_service(LargeRequests::of(Large(bytes), &RequestRoom::default()))
                .serve_with_incoming(windrow_security::listen(listener, None));
            let serving = tokio::spawn(server);
            let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
            let endpoint = endpoint.initial_stream_window_size(window);
            let mut channel = endpoint.connect().await.unwrap();
            let unread = call(&mut channel).await.unwrap();
            pass(TIME_MAX - Duration::from_secs(1)).await;
            let read = call(&mut channel).await.expect("others are answered");
            end_of(read).await.unwrap();
            pass(Duration::from_secs(3)).await;
            assert!(end_of(unread).await.is_err(), "{bytes}");
            serving.abort();
        }
    }
}
