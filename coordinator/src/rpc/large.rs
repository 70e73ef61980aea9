//! Requests are held whole while they are read, and so is their content until they are answered. So
//! their bytes are bounded, in total and per submitter, and one submitter cannot make all others
//! wait. A request states its length before it comes; from then on it has a reservation for all of
//! it, or waits. Unread bytes stay with the sender, except for the stream's window; so waiting
//! requests are bounded, too.
//!
//! A connection may carry a call on each of its streams, so the number of calls is bounded, too.
//! Answers count until they are [taken](super::slow_reader).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body::{Body as HttpBody, Frame};
use tokio::time::{Instant, Sleep, sleep};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Bytes, Service, http};
use tonic::server::NamedService;
use windrow_security::access::Caller;
use windrow_security::limits::REQUEST_BYTES_MAX;

use super::fair_limit::{FairLimit, FairPermit};
use super::slow_reader::TimedAnswer;

/// The unit of reservation.
const UNIT_BYTES: usize = 1 << 10;
/// The least that a request reserves.
const LEAST_BYTES: usize = 4 << 10;
/// Bytes of all submitters, and of one: two of the largest requests.
const BYTES_MAX: usize = 384 << 20;
const BYTES_OF_ONE_MAX: usize = 64 << 20;

/// How long a request may take to arrive: this time, and a second more for each so many bytes.
const TIME_MAX: Duration = Duration::from_secs(30);
const BYTES_PER_SECOND_MIN: usize = 64 << 10;

/// The prefix of a gRPC message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// Calls that are being answered, or whose answers were not taken, of all submitters and of one.
const CALLS_MAX: usize = 1 << 10;
const CALLS_OF_ONE_MAX: usize = 1 << 7;

/// A stream of messages, with limits and deadlines of its own.
const STREAMED: &str = "/windrow.v1.Blobs/Upload";
/// Streamed answers: each message is made when the receiver has room for it.
const ANSWERS_STREAMED: [&str; 3] =
    ["/windrow.v1.Jobs/Watch", "/windrow.v1.Jobs/Logs", "/windrow.v1.Blobs/Download"];

/// The limits that all services share.
#[derive(Clone)]
pub(crate) struct RequestRoom {
    bytes: FairLimit,
    calls: FairLimit,
}

impl Default for RequestRoom {
    fn default() -> Self {
        Self {
            bytes: FairLimit::new(BYTES_MAX / UNIT_BYTES, BYTES_OF_ONE_MAX / UNIT_BYTES),
            calls: FairLimit::new(CALLS_MAX, CALLS_OF_ONE_MAX),
        }
    }
}

impl RequestRoom {
    /// Reserves room for a request of so many bytes, and a call for its answer.
    async fn take(&self, submitter: Option<&str>, bytes: usize) -> Result<Taken, Status> {
        let call = self.calls.take(submitter).await?;
        let units = bytes.div_ceil(UNIT_BYTES) as u32;
        Ok((call, self.bytes.take_many(submitter, units).await?))
    }
}

/// The reservations of a call.
type Taken = (FairPermit, FairPermit);

/// A service whose requests are read under these limits. Each request is one message.
#[derive(Clone)]
pub(crate) struct LargeRequests<S> {
    service: S,
    room: RequestRoom,
}

impl<S> LargeRequests<S> {
    pub(crate) fn of(service: S, room: &RequestRoom) -> Self {
        Self { service, room: room.clone() }
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
        if request.uri().path() == STREAMED {
            return Box::pin(self.service.call(request));
        }
        let caller = request.extensions().get::<Caller>().cloned().unwrap_or_default();
        let submitter = caller.identity().map(|identity| identity.name().to_string());
        let is_streamed = ANSWERS_STREAMED.contains(&request.uri().path());
        let (room, taken) = (self.room.clone(), Arc::<Mutex<Option<Taken>>>::default());
        let held = Some(Arc::clone(&taken));
        let request = request.map(|inner| Body::new(InTurn::new(inner, (submitter, room), taken)));
        let answering = self.service.call(request);
        Box::pin(async move {
            let answered = answering.await;
            let held = held.filter(|_| !is_streamed);
            answered
                .map(|answer| answer.map(|inner| Body::new(TimedAnswer::new(inner, &caller, held))))
        })
    }
}

/// A pending reservation.
type Waiting = Pin<Box<dyn Future<Output = Result<(Taken, Instant), Status>> + Send>>;

/// A request's body, which waits for its reservation once it has stated its length.
struct InTurn {
    inner: Body,
    of: (Option<String>, RequestRoom),
    state: State,
    /// The message's prefix, as far as it has arrived.
    prefix: Vec<u8>,
    /// Frames that arrived with the prefix.
    held: VecDeque<Frame<Bytes>>,
    /// Bytes that may still arrive.
    left: usize,
    late: Pin<Box<Sleep>>,
    /// Held by the call until its answer is taken.
    taken: Arc<Mutex<Option<Taken>>>,
}

enum State {
    /// The length is not known yet.
    Beginning,
    Waiting(Waiting),
    Coming,
}

impl InTurn {
    fn new(
        inner: Body,
        of: (Option<String>, RequestRoom),
        taken: Arc<Mutex<Option<Taken>>>,
    ) -> Self {
        let (state, late) = (State::Beginning, Box::pin(sleep(TIME_MAX)));
        Self { inner, of, state, prefix: Vec::new(), held: VecDeque::new(), left: 0, late, taken }
    }

    /// The sender's next frame; `None` at the end.
    fn poll_inner(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) {
            return Poll::Ready(frame);
        }
        ready!(self.late.as_mut().poll(context));
        let text = "the request took too long to arrive; try again";
        Poll::Ready(Some(Err(Status::deadline_exceeded(text))))
    }

    /// Reads until the message's length is known, or the body ends.
    fn poll_beginning(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Status>> {
        while self.prefix.len() < PREFIX_BYTES {
            let Some(frame) = ready!(self.poll_inner(context)?) else { break };
            let data = frame.data_ref().map_or(&[][..], |data| data);
            let missing = PREFIX_BYTES - self.prefix.len();
            self.prefix.extend(&data[..missing.min(data.len())]);
            // Empty frames are dropped: there could be very many.
            if !data.is_empty() || frame.is_trailers() {
                self.held.push_back(frame);
            }
        }
        self.left = match *self.prefix {
            [_, a, b, c, d] => PREFIX_BYTES + u32::from_be_bytes([a, b, c, d]) as usize,
            _ => PREFIX_BYTES,
        };
        // The decoder refuses larger messages.
        let bytes = self.left.clamp(LEAST_BYTES, PREFIX_BYTES + REQUEST_BYTES_MAX);
        let (submitter, room) = self.of.clone();
        let waiting = async move { room.take(submitter.as_deref(), bytes).await };
        let time = TIME_MAX + Duration::from_secs((bytes / BYTES_PER_SECOND_MIN) as u64);
        self.state = State::Waiting(Box::pin(async move {
            waiting.await.map(|taken| (taken, Instant::now() + time))
        }));
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
        if let State::Beginning = this.state {
            ready!(this.poll_beginning(context)?);
        }
        if let State::Waiting(waiting) = &mut this.state {
            let (taken, until) = ready!(waiting.as_mut().poll(context)?);
            *this.taken.lock().unwrap_or_else(PoisonError::into_inner) = Some(taken);
            this.late.as_mut().reset(until);
            this.state = State::Coming;
        }
        let frame = match this.held.pop_front() {
            Some(frame) => frame,
            None => match ready!(this.poll_inner(context)?) {
                Some(frame) => frame,
                None => return Poll::Ready(None),
            },
        };
        match this.left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
            Some(left) => this.left = left,
            None => {
                let text = "the request has more than one message";
                return Poll::Ready(Some(Err(Status::invalid_argument(text))));
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_empty() && self.inner.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio_stream::StreamExt;
    use windrow_security::{Certified, Identity, Role};

    use super::*;

    /// Reads a request to its end, records how many bytes came and how it ended, and never answers.
    #[derive(Clone, Default)]
    struct Reader(Arc<Mutex<Read>>);

    #[derive(Default)]
    struct Read {
        bytes: usize,
        begun: usize,
        whole: usize,
        refused: Vec<Status>,
    }

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
                let (mut body, mut bytes) = (request.into_body(), 0);
                loop {
                    let frame = next(&mut body).await;
                    let mut read = read.lock().unwrap();
                    match frame {
                        Some(Ok(frame)) => {
                            let data = frame.into_data().unwrap().len();
                            read.begun += usize::from(bytes == 0);
                            (bytes, read.bytes) = (bytes + data, read.bytes + data);
                        }
                        Some(Err(status)) => break read.refused.push(status),
                        None => break read.whole += 1,
                    }
                }
                pending().await
            })
        }
    }

    /// A message that declares a length, of which `come` bytes arrive, and then nothing more.
    fn request(of: &str, declared: usize, come: usize) -> http::Request<Body> {
        let prefix = [&[0][..], &(declared as u32).to_be_bytes()].concat();
        // The prefix is split in two, as any frame may be.
        let pieces = [prefix[..2].to_vec(), prefix[2..].to_vec(), vec![0; come]];
        let frames = pieces.map(|piece| Ok::<_, Status>(Frame::data(piece.into())));
        let frames = tokio_stream::iter(frames);
        let body = if come < declared {
            Body::new(http_body_util::StreamBody::new(frames.chain(tokio_stream::pending())))
        } else {
            Body::new(http_body_util::StreamBody::new(frames))
        };
        let mut request = http::Request::new(body);
        let certified = Certified {
            identity: Identity::new("c", Role::Submitter, of).unwrap(),
            not_before: std::time::SystemTime::UNIX_EPOCH,
            not_after: std::time::SystemTime::UNIX_EPOCH,
        };
        request.extensions_mut().insert(Caller::new(Some(certified)));
        request
    }

    async fn settle() {
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn half_sent_requests_of_one_submitter_are_bounded() {
        let reader = Reader::default();
        let mut service = LargeRequests::of(reader.clone(), &RequestRoom::default());
        for (declared, count, most) in [(20 << 20, 50, 3), (100 << 10, 1_000, 660)] {
            let calls: Vec<_> = (0..count)
                .map(|_| tokio::spawn(service.call(request("many", declared, 1_000))))
                .collect();
            settle().await;
            let begun = std::mem::take(&mut reader.0.lock().unwrap().begun);
            assert!((1..=most).contains(&begun), "{begun} of {declared} bytes");
            // Another submitter has a reservation.
            let other = tokio::spawn(service.call(request("other", 24 << 20, 24 << 20)));
            settle().await;
            assert_eq!(std::mem::take(&mut reader.0.lock().unwrap().whole), 1);
            other.abort();
            calls.iter().for_each(tokio::task::JoinHandle::abort);
            settle().await;
            reader.0.lock().unwrap().begun = 0;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn late_and_oversized_requests_are_refused() {
        let reader = Reader::default();
        let mut service = LargeRequests::of(reader.clone(), &RequestRoom::default());
        let calls = [(1_000, 10), (10, 1_000)]
            .map(|(declared, come)| tokio::spawn(service.call(request("ann", declared, come))));
        settle().await;
        tokio::time::advance(TIME_MAX * 2).await;
        settle().await;
        let codes = reader.0.lock().unwrap().refused.iter().map(Status::code).collect::<Vec<_>>();
        assert_eq!(codes, [tonic::Code::InvalidArgument, tonic::Code::DeadlineExceeded]);
        calls.iter().for_each(tokio::task::JoinHandle::abort);
    }

    /// Reads a request to its end, and answers.
    #[derive(Clone)]
    struct Answering;

    impl Service<http::Request<Body>> for Answering {
        type Response = http::Response<Body>;
        type Error = Infallible;
        type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: http::Request<Body>) -> Self::Future {
            Box::pin(async move {
                let mut body = request.into_body();
                while next(&mut body).await.is_some() {}
                let frames = [Ok::<_, Status>(Frame::data(Bytes::from_static(b"answer")))];
                let body = http_body_util::StreamBody::new(tokio_stream::iter(frames));
                Ok(http::Response::new(Body::new(body)))
            })
        }
    }

    async fn next(body: &mut Body) -> Option<Result<Frame<Bytes>, Status>> {
        std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await
    }

    #[tokio::test(start_paused = true)]
    async fn untaken_answers_delay_only_calls_of_the_same_submitter() {
        let mut service = LargeRequests::of(Answering, &RequestRoom::default());
        let mut untaken = Vec::new();
        for _ in 0..CALLS_OF_ONE_MAX {
            untaken.push(service.call(request("many", 10, 10)).await.unwrap().into_body());
        }
        let one_more = tokio::spawn(service.call(request("many", 10, 10)));
        service.call(request("other", 10, 10)).await.unwrap();
        let watched = request("many", 10, 10);
        let caller = watched.extensions().get::<Caller>().unwrap().clone();
        settle().await;
        assert!(!one_more.is_finished());
        let mut taken = untaken.pop().unwrap();
        while next(&mut taken).await.is_some() {}
        assert!(!one_more.is_finished(), "it waits");
        drop(taken);
        settle().await;
        assert!(one_more.is_finished());
        drop(one_more.await);
        // Nobody polls the next answer: it stays where it is.
        let mut answer = service.call(watched).await.unwrap().into_body();
        next(&mut answer).await;
        assert!(!caller.is_shut_out());
        sleep(TIME_MAX * 2).await;
        assert!(caller.is_shut_out());
    }
}
