//! One layer around all services of a server: an [`Authorizer`] admits each call, or its refusal is
//! the answer before any service sees the call.

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

use crate::admission::AdmissionState;
use crate::limits::NEWCOMER_LINGER;
use crate::{Certified, Identity, Origin};

/// The other end of a connection; an extension of each of its requests.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    certified: Option<Certified>,
    origin: OnceLock<Origin>,
    admission: Mutex<AdmissionState>,
    has_called: AtomicBool,
    shut_out: CancellationToken,
}

/// A caller, without keeping its connection open.
#[derive(Clone, Debug)]
pub struct WeakCaller(Weak<Shared>);

impl WeakCaller {
    /// The caller, if its connection is still open.
    pub fn upgrade(&self) -> Option<Caller> {
        self.0.upgrade().map(|shared| Caller { shared })
    }
}

impl Caller {
    /// A caller with this certificate, or with none.
    pub fn new(certified: Option<Certified>) -> Self {
        Self { shared: Arc::new(Shared { certified, ..Shared::default() }) }
    }

    /// A caller at a listener, whose connection closes when `shut_out` fires.
    pub(crate) fn at(
        certified: Option<Certified>,
        admission: AdmissionState,
        shut_out: CancellationToken,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                certified,
                admission: Mutex::new(admission),
                shut_out,
                ..Shared::default()
            }),
        }
    }

    /// What its certificate says, if it has shown one.
    pub fn certified(&self) -> Option<&Certified> {
        self.shared.certified.as_ref()
    }

    /// Where the connection comes from; `None` inside a process.
    pub fn origin(&self) -> Option<&Origin> {
        self.shared.origin.get()
    }

    pub(crate) fn comes_from(&self, origin: impl FnOnce() -> Origin) {
        self.shared.origin.get_or_init(origin);
    }

    /// The identity in its certificate.
    pub fn identity(&self) -> Option<&Identity> {
        self.certified().map(|certified| &certified.identity)
    }

    /// Counts a call that the authorizer has let in.
    ///
    /// # Errors
    /// When a newcomer has already made its one call, or there are too many connections.
    pub fn admit(&self) -> Result<(), Status> {
        let identity = self.identity();
        self.admission().admit(identity)
    }

    /// Whether a member's call was admitted.
    pub fn was_admitted(&self) -> bool {
        self.admission().is_admitted()
    }

    /// Whether this is the first time that it is asked.
    pub fn is_first_call(&self) -> bool {
        !self.shared.has_called.swap(true, Ordering::Relaxed)
    }

    fn admission(&self) -> MutexGuard<'_, AdmissionState> {
        self.shared.admission.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the connection of a newcomer, whose one call is answered, after time to read the
    /// answer.
    async fn take_leave(self) {
        tokio::time::sleep(NEWCOMER_LINGER).await;
        self.shut_out();
    }

    /// Closes the connection, with all its open calls.
    pub fn shut_out(&self) {
        self.shared.shut_out.cancel();
    }

    /// Whether the connection was closed because of the caller's identity.
    pub fn is_shut_out(&self) -> bool {
        self.shared.shut_out.is_cancelled()
    }

    /// A reference that does not keep the connection open.
    pub fn downgrade(&self) -> WeakCaller {
        WeakCaller(Arc::downgrade(&self.shared))
    }
}

/// Decides which callers may call which methods. A method is a path such as
/// `/windrow.v1.Jobs/Submit`.
pub trait Authorizer: Send + Sync + 'static {
    /// # Errors
    /// The refusal, if the call is not let in.
    fn admit(&self, method: &str, caller: &Caller) -> Result<(), Status>;

    /// Is told the answer to a call that it was asked about, which may be a refusal.
    fn answered(&self, _method: &str, _caller: &Caller, _answer: &Response<Body>) {}
}

/// What a call was about: an extension of its answer, for an authorizer that logs it.
#[derive(Clone, Debug)]
pub struct Subject(pub String);

/// Admits every call: inside a process, and on listeners without TLS.
pub struct AllowAll;

impl Authorizer for AllowAll {
    fn admit(&self, _method: &str, _caller: &Caller) -> Result<(), Status> {
        Ok(())
    }
}

/// Puts an authorizer in front of services.
#[derive(Clone)]
pub struct AccessLayer {
    authorizer: Arc<dyn Authorizer>,
}

impl AccessLayer {
    /// A layer that asks this authorizer.
    pub fn new(authorizer: Arc<dyn Authorizer>) -> Self {
        Self { authorizer }
    }
}

impl<S> Layer<S> for AccessLayer {
    type Service = Access<S>;

    fn layer(&self, services: S) -> Access<S> {
        Access { authorizer: Arc::clone(&self.authorizer), services }
    }
}

/// Services behind an authorizer.
#[derive(Clone)]
pub struct Access<S> {
    authorizer: Arc<dyn Authorizer>,
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
        let (authorizer, method) = (Arc::clone(&self.authorizer), request.uri().path().to_string());
        let admitted = authorizer.admit(&method, &caller).and_then(|()| caller.admit());
        if let Err(refusal) = admitted {
            let refusal = refusal.into_http();
            authorizer.answered(&method, &caller, &refusal);
            return Box::pin(async move { Ok(refusal) });
        }
        let answering = self.services.call(request);
        Box::pin(async move {
            let answer = answering.await;
            if let Ok(answer) = &answer {
                authorizer.answered(&method, &caller, answer);
            }
            if !caller.was_admitted() {
                tokio::spawn(caller.take_leave());
            }
            answer
        })
    }
}
