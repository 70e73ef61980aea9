//! One layer around all services of a server: each call is let in by a gate, or answered with a
//! refusal before any service sees it. Which calls a gate lets in is its own business.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll};

use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tower::{Layer, Service};

use crate::door::Place;
use crate::limits::NEWCOMER_LINGER;
use crate::{Certified, Identity, Origin};

/// Who is at the other end of a connection. In the extensions of each of its requests.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    certified: Option<Certified>,
    origin: OnceLock<Origin>,
    place: Mutex<Place>,
    has_called: AtomicBool,
    shut_out: CancellationToken,
}

/// A caller for as long as its connection stands.
#[derive(Clone, Debug)]
pub struct WeakCaller(Weak<Shared>);

impl WeakCaller {
    /// The caller, unless it has gone.
    pub fn upgrade(&self) -> Option<Caller> {
        self.0.upgrade().map(|shared| Caller { shared })
    }
}

impl Caller {
    /// Somebody who has shown this, or nothing.
    pub fn new(certified: Option<Certified>) -> Self {
        Self { shared: Arc::new(Shared { certified, ..Shared::default() }) }
    }

    /// Somebody who has a place among those who call a listener, and goes when `shut_out` fires.
    pub(crate) fn at(
        certified: Option<Certified>,
        place: Place,
        shut_out: CancellationToken,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                certified,
                place: Mutex::new(place),
                shut_out,
                ..Shared::default()
            }),
        }
    }

    /// What was shown.
    pub fn certified(&self) -> Option<&Certified> {
        self.shared.certified.as_ref()
    }

    /// Where it comes from; `None` inside a process.
    pub fn origin(&self) -> Option<&Origin> {
        self.shared.origin.get()
    }

    pub(crate) fn comes_from(&self, origin: impl FnOnce() -> Origin) {
        self.shared.origin.get_or_init(origin);
    }

    /// Who that is.
    pub fn identity(&self) -> Option<&Identity> {
        self.certified().map(|certified| &certified.identity)
    }

    /// Lets a call in that the gate has nothing against.
    ///
    /// # Errors
    /// When a newcomer has had its call, or there are too many connections.
    pub fn admit(&self) -> Result<(), Status> {
        let identity = self.identity();
        self.place().admit(identity)
    }

    /// Whether a call of a member was let in.
    pub fn was_admitted(&self) -> bool {
        self.place().is_admitted()
    }

    /// Whether this is asked for the first time.
    pub fn is_first_call(&self) -> bool {
        !self.shared.has_called.swap(true, Ordering::Relaxed)
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.shared.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one call of a newcomer has its answer.
    async fn take_leave(self) {
        tokio::time::sleep(NEWCOMER_LINGER).await;
        self.shut_out();
    }

    /// Closes the connection, and with it all calls that stand.
    pub fn shut_out(&self) {
        self.shared.shut_out.cancel();
    }

    /// Whether the connection was closed because of who is at its other end.
    pub fn is_shut_out(&self) -> bool {
        self.shared.shut_out.is_cancelled()
    }

    /// The same, without keeping it.
    pub fn downgrade(&self) -> WeakCaller {
        WeakCaller(Arc::downgrade(&self.shared))
    }
}

/// Decides by a method's path, such as `/windrow.v1.Jobs/Submit`, and the caller.
pub trait Gate: Send + Sync + 'static {
    /// # Errors
    /// The refusal, if the call is not let in.
    fn admit(&self, method: &str, caller: &Caller) -> Result<(), Status>;

    /// Hears how a call was answered that it was asked about, which may be by a refusal.
    fn answered(&self, _method: &str, _caller: &Caller, _answer: &Response<Body>) {}
}

/// What a call was about, in the extensions of its answer, for a gate that notes it.
#[derive(Clone, Debug)]
pub struct Subject(pub String);

/// Lets everybody in: connections inside a process, and listeners without TLS.
pub struct Open;

impl Gate for Open {
    fn admit(&self, _method: &str, _caller: &Caller) -> Result<(), Status> {
        Ok(())
    }
}

/// Puts a gate before services.
#[derive(Clone)]
pub struct AccessLayer {
    gate: Arc<dyn Gate>,
}

impl AccessLayer {
    /// With this gate.
    pub fn new(gate: Arc<dyn Gate>) -> Self {
        Self { gate }
    }
}

impl<S> Layer<S> for AccessLayer {
    type Service = Access<S>;

    fn layer(&self, services: S) -> Access<S> {
        Access { gate: Arc::clone(&self.gate), services }
    }
}

/// Services behind a gate.
#[derive(Clone)]
pub struct Access<S> {
    gate: Arc<dyn Gate>,
    services: S,
}

impl<S, B> Service<Request<B>> for Access<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.services.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let caller = request.extensions().get::<Caller>().cloned().unwrap_or_default();
        let (gate, method) = (Arc::clone(&self.gate), request.uri().path().to_string());
        let admitted = gate.admit(&method, &caller).and_then(|()| caller.admit());
        if let Err(refusal) = admitted {
            let refusal = refusal.into_http();
            gate.answered(&method, &caller, &refusal);
            return Box::pin(async move { Ok(refusal) });
        }
        let answering = self.services.call(request);
        Box::pin(async move {
            let answer = answering.await;
            if let Ok(answer) = &answer {
                gate.answered(&method, &caller, answer);
            }
            if !caller.was_admitted() {
                tokio::spawn(caller.take_leave());
            }
            answer
        })
    }
}
