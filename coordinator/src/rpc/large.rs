//! Requests are held whole while they are read, and so is what they describe until they are
//! answered. So they have a room in bytes, and a smaller one of each submitter: others need not
//! wait for one of them. A request says how long it is before it comes, and has room for all of it
//! from then on, or waits. What is not read stays with its sender, but for what the stream's window
//! holds; so those who wait have a bound, too.
//!
//! A call may come on each of a connection's streams, so that small ones count, too.

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

use super::turns::{Turn, Turns};

/// Room is given in these.
const UNIT_BYTES: usize = 1 << 10;
/// What a request takes however short it is.
const LEAST_BYTES: usize = 4 << 10;
/// For all, and for one submitter: two of the largest.
const BYTES_MAX: usize = 384 << 20;
const BYTES_OF_ONE_MAX: usize = 64 << 20;

/// How long a request may take to come, and a second more for each so many bytes.
const TIME_MAX: Duration = Duration::from_secs(30);
const BYTES_PER_SECOND_MIN: usize = 64 << 10;

/// Before a message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// Many messages, which have turns and times of their own.
const STREAMED: &str = "/windrow.v1.Blobs/Upload";

/// The room of all services.
pub(crate) struct RequestRoom(Turns);

impl Default for RequestRoom {
    fn default() -> Self {
        Self(Turns::new(BYTES_MAX / UNIT_BYTES, BYTES_OF_ONE_MAX / UNIT_BYTES))
    }
}

/// A service whose requests are read like that. Each has one message.
#[derive(Clone)]
pub(crate) struct LargeRequests<S> {
    service: S,
    turns: Turns,
}

impl<S> LargeRequests<S> {
    pub(crate) fn of(service: S, room: &RequestRoom) -> Self {
        Self { service, turns: room.0.clone() }
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
        let identity = request.extensions().get::<Caller>().and_then(Caller::identity);
        let submitter = identity.map(|identity| identity.name().to_string());
        let (turns, turn) = (self.turns.clone(), Arc::<Mutex<Option<Turn>>>::default());
        let held = Arc::clone(&turn);
        let request = request.map(|inner| Body::new(InTurn::new(inner, (submitter, turns), turn)));
        let answering = self.service.call(request);
        Box::pin(async move {
            let answered = answering.await;
            drop(held);
            answered
        })
    }
}

/// What a turn is waited for with.
type Waiting = Pin<Box<dyn Future<Output = Result<(Turn, Instant), Status>> + Send>>;

/// A request's body, which waits for room as soon as it says how much it needs.
struct InTurn {
    inner: Body,
    of: (Option<String>, Turns),
    state: State,
    /// Of the message, as far as it is there.
    prefix: Vec<u8>,
    /// Came with it, or before.
    held: VecDeque<Frame<Bytes>>,
    /// Bytes that may still come.
    left: usize,
    late: Pin<Box<Sleep>>,
    /// Kept by the call until it is answered.
    turn: Arc<Mutex<Option<Turn>>>,
}

enum State {
    /// It has not said how long it is.
    Beginning,
    Waiting(Waiting),
    Coming,
}

impl InTurn {
    fn new(inner: Body, of: (Option<String>, Turns), turn: Arc<Mutex<Option<Turn>>>) -> Self {
        let (state, late) = (State::Beginning, Box::pin(sleep(TIME_MAX)));
        Self { inner, of, state, prefix: Vec::new(), held: VecDeque::new(), left: 0, late, turn }
    }

    /// The next frame of the sender; none at the end.
    fn poll_inner(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) {
            return Poll::Ready(frame);
        }
        ready!(self.late.as_mut().poll(context));
        let text = "the request took too long to come; try again";
        Poll::Ready(Some(Err(Status::deadline_exceeded(text))))
    }

    /// Reads until it is known how long the message is, or there is none.
    fn poll_beginning(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Status>> {
        while self.prefix.len() < PREFIX_BYTES {
            let Some(frame) = ready!(self.poll_inner(context)?) else { break };
            let data = frame.data_ref().map_or(&[][..], |data| data);
            let missing = PREFIX_BYTES - self.prefix.len();
            self.prefix.extend(&data[..missing.min(data.len())]);
            // Empty ones could be very many.
            if !data.is_empty() || frame.is_trailers() {
                self.held.push_back(frame);
            }
        }
        self.left = match *self.prefix {
            [_, a, b, c, d] => PREFIX_BYTES + u32::from_be_bytes([a, b, c, d]) as usize,
            _ => PREFIX_BYTES,
        };
        // More is refused by who reads it.
        let bytes = self.left.clamp(LEAST_BYTES, PREFIX_BYTES + REQUEST_BYTES_MAX);
        let (submitter, turns) = self.of.clone();
        let units = bytes.div_ceil(UNIT_BYTES) as u32;
        let waiting = async move { turns.take_many(submitter.as_deref(), units).await };
        let time = TIME_MAX + Duration::from_secs((bytes / BYTES_PER_SECOND_MIN) as u64);
        self.state = State::Waiting(Box::pin(async move {
            waiting.await.map(|turn| (turn, Instant::now() + time))
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
            let (turn, until) = ready!(waiting.as_mut().poll(context)?);
            *this.turn.lock().unwrap_or_else(PoisonError::into_inner) = Some(turn);
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
                let text = "there is more in the request than its one message";
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

    /// Reads a request to its end, says how many bytes of it came and how it ended, and never
    /// answers.
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
                    let next =
                        std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context));
                    let next = next.await;
                    let mut read = read.lock().unwrap();
                    match next {
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

    /// A message that says it has so many bytes, of which some come, and nothing more if they are
    /// fewer.
    fn request(of: &str, declared: usize, come: usize) -> http::Request<Body> {
        let prefix = [&[0][..], &(declared as u32).to_be_bytes()].concat();
        // In two pieces, as anything may be.
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
    async fn half_sent_requests_of_one_submitter_are_held_within_their_room() {
        let reader = Reader::default();
        let mut service = LargeRequests::of(reader.clone(), &RequestRoom::default());
        for (declared, count, most) in [(20 << 20, 50, 3), (100 << 10, 1_000, 660)] {
            let calls: Vec<_> = (0..count)
                .map(|_| tokio::spawn(service.call(request("many", declared, 1_000))))
                .collect();
            settle().await;
            let begun = std::mem::take(&mut reader.0.lock().unwrap().begun);
            assert!((1..=most).contains(&begun), "{begun} of {declared} bytes");
            // Others have theirs.
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
    async fn what_does_not_come_or_is_too_much_is_refused() {
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
}
