//! Requests that are large are read a few at a time, and fewer of one submitter: each is held whole,
//! and so is what it describes, until it is answered.
//!
//! A call may come on each of a connection's streams. What is not read stays with its sender, for
//! HTTP/2 gives no more room to the stream.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Bytes, Service, http};
use tonic::server::NamedService;
use windrow_security::access::Caller;

use super::turns::{Turn, Turns};

/// What no turn is needed for: nearly all requests.
const SMALL_BYTES: usize = 256 << 10;

/// Large ones at once, of all and of one submitter.
const LARGE_MAX: usize = 16;
const LARGE_OF_ONE_MAX: usize = 4;

/// A service whose requests are read like that.
#[derive(Clone)]
pub(crate) struct LargeRequests<S> {
    service: S,
    turns: Turns,
}

impl<S> LargeRequests<S> {
    pub(crate) fn of(service: S) -> Self {
        Self { service, turns: Turns::new(LARGE_MAX, LARGE_OF_ONE_MAX) }
    }
}

impl<S: NamedService> NamedService for LargeRequests<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for LargeRequests<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let identity = request.extensions().get::<Caller>().and_then(Caller::identity);
        let submitter = identity.map(|identity| identity.name().to_string());
        let (turns, turn) = (self.turns.clone(), Arc::<Mutex<Option<Turn>>>::default());
        let held = Arc::clone(&turn);
        let request = request.map(|inner| {
            Body::new(InTurn { inner, read_bytes: 0, submitter, turns, waiting: None, turn })
        });
        let answering = self.service.call(request);
        Box::pin(async move {
            let answered = answering.await;
            drop(held);
            answered
        })
    }
}

/// What a turn is waited for with.
type Waiting = Pin<Box<dyn Future<Output = Result<Turn, Status>> + Send>>;

/// A request's body, which waits for a turn when it turns out to be large.
struct InTurn {
    inner: Body,
    read_bytes: usize,
    submitter: Option<String>,
    turns: Turns,
    waiting: Option<Waiting>,
    /// Kept by the call until it is answered.
    turn: Arc<Mutex<Option<Turn>>>,
}

impl InTurn {
    fn poll_turn(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Status>> {
        if self.read_bytes <= SMALL_BYTES {
            return Poll::Ready(Ok(()));
        }
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if turn.is_none() {
            let waiting = self.waiting.get_or_insert_with(|| {
                let (turns, submitter) = (self.turns.clone(), self.submitter.clone());
                Box::pin(async move { turns.take(submitter.as_deref()).await })
            });
            let taken = ready!(waiting.as_mut().poll(context));
            self.waiting = None;
            *turn = Some(taken?);
        }
        Poll::Ready(Ok(()))
    }
}

impl HttpBody for InTurn {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if let Err(status) = ready!(this.poll_turn(context)) {
            return Poll::Ready(Some(Err(status)));
        }
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(context));
        if let Some(Ok(frame)) = &frame {
            this.read_bytes += frame.data_ref().map_or(0, Bytes::len);
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
    use std::future::pending;

    use windrow_security::{Certified, Identity, Role};

    use super::*;

    /// Reads a request to its end, says so, and never answers.
    #[derive(Clone, Default)]
    struct Reader(Arc<Mutex<usize>>);

    impl Service<http::Request<Body>> for Reader {
        type Response = http::Response<Body>;
        type Error = Infallible;
        type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: http::Request<Body>) -> Self::Future {
            let read = Arc::clone(&self.0);
            Box::pin(async move {
                let mut body = request.into_body();
                while let Some(frame) =
                    std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await
                {
                    frame.unwrap();
                }
                *read.lock().unwrap() += 1;
                pending().await
            })
        }
    }

    fn request(of: &str, bytes: usize) -> http::Request<Body> {
        let frames = (0..4).map(move |_| Ok::<_, Status>(Frame::data(vec![0; bytes / 4].into())));
        let stream = http_body_util::StreamBody::new(tokio_stream::iter(frames));
        let mut request = http::Request::new(Body::new(stream));
        let certified = Certified {
            identity: Identity::new("c", Role::Submitter, of).unwrap(),
            not_before: std::time::SystemTime::UNIX_EPOCH,
            not_after: std::time::SystemTime::UNIX_EPOCH,
        };
        request.extensions_mut().insert(Caller::new(Some(certified)));
        request
    }

    #[tokio::test]
    async fn large_requests_of_one_submitter_are_read_a_few_at_a_time() {
        let reader = Reader::default();
        let mut service = LargeRequests::of(reader.clone());
        let read = || *reader.0.lock().unwrap();
        let mut calls = Vec::new();
        for _ in 0..LARGE_OF_ONE_MAX + 3 {
            calls.push(tokio::spawn(service.call(request("many", 2 << 20))));
        }
        while read() < LARGE_OF_ONE_MAX {
            tokio::task::yield_now().await;
        }
        // Small ones need no turn, and others have theirs.
        calls.push(tokio::spawn(service.call(request("many", 1 << 10))));
        calls.push(tokio::spawn(service.call(request("other", 2 << 20))));
        while read() < LARGE_OF_ONE_MAX + 2 {
            tokio::task::yield_now().await;
        }
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(read(), LARGE_OF_ONE_MAX + 2, "more than so many of one are held");
        // One that is over makes room for the next.
        calls.swap_remove(0).abort();
        while read() < LARGE_OF_ONE_MAX + 3 {
            tokio::task::yield_now().await;
        }
        calls.iter().for_each(tokio::task::JoinHandle::abort);
    }
}
