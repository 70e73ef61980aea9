//! Connects to the coordinator: over TCP, or over a transport of the embedder.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tonic::transport::{Channel, Error};
use windrow_security::{Dialer, NotAnAddress};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A coordinator whose machine is gone is noticed after these two.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

type Connecting = Pin<Box<dyn Future<Output = Result<Channel, Error>> + Send>>;

/// Makes connections to a cluster's coordinator, which may be at one of several addresses. Cheap to
/// clone.
#[derive(Clone)]
pub struct Connector {
    addresses: Arc<[Address]>,
    /// The index of the address to try next, modulo their number.
    turn: Arc<AtomicUsize>,
}

#[derive(Clone)]
struct Address {
    name: Arc<str>,
    connect: Arc<dyn Fn() -> Connecting + Send + Sync>,
}

impl Connector {
    /// Connects with `connect`; messages call the coordinator `name`.
    pub fn new<F>(name: &str, connect: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Channel, Error>> + Send + 'static,
    {
        Self::any(vec![Address::new(name, connect)])
    }

    /// Connects to a URL such as `http://127.0.0.1:7171`, or to one of several, separated by
    /// commas.
    ///
    /// # Errors
    ///
    /// When one of them is not such a URL, or does not fit these credentials.
    pub fn url(urls: &str, dialer: &Dialer) -> Result<Self, NotAnAddress> {
        let addresses = urls.split(',').map(|url| Address::url(url.trim(), dialer));
        Ok(Self::any(addresses.collect::<Result<_, _>>()?))
    }

    /// Adds the addresses of `other`.
    #[must_use]
    pub fn or(self, other: &Self) -> Self {
        Self::any(self.addresses.iter().chain(&*other.addresses).cloned().collect())
    }

    fn any(addresses: Vec<Address>) -> Self {
        Self { addresses: addresses.into(), turn: Arc::default() }
    }

    /// A new connection, to the current address.
    ///
    /// # Errors
    ///
    /// When nobody answers.
    pub async fn connect(&self) -> Result<Channel, Error> {
        (self.current().connect)().await
    }

    /// The current address, for messages.
    pub fn name(&self) -> &str {
        &self.current().name
    }

    /// Moves on to the next address.
    pub(crate) fn turn(&self) {
        self.turn.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of addresses.
    pub(crate) fn addresses(&self) -> usize {
        self.addresses.len()
    }

    fn current(&self) -> &Address {
        &self.addresses[self.turn.load(Ordering::Relaxed) % self.addresses.len()]
    }
}

impl Address {
    fn new<F>(name: &str, connect: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Channel, Error>> + Send + 'static,
    {
        Self { name: name.into(), connect: Arc::new(move || Box::pin(connect())) }
    }

    fn url(url: &str, dialer: &Dialer) -> Result<Self, NotAnAddress> {
        let endpoint = dialer
            .endpoint(url)?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        let dialer = dialer.clone();
        Ok(Self::new(url, move || {
            let (endpoint, dialer) = (endpoint.clone(), dialer.clone());
            let connector = tower::service_fn(move |url| dialer.clone().dial(url));
            async move { endpoint.connect_with_connector(connector).await }
        }))
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connector").field(&self.name()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_urls_are_refused() {
        let url = |url| Connector::url(url, &Dialer::plain());
        assert_eq!(url("http://127.0.0.1:7171").unwrap().name(), "http://127.0.0.1:7171");
        for wrong in ["", "127.0.0.1:7171", "http://a:1,", "http://a:1,https://b:2"] {
            let error = url(wrong).unwrap_err().to_string();
            assert!(error.contains("is not a coordinator's URL"), "{error}");
        }
    }

    #[test]
    fn addresses_are_tried_in_turn() {
        let connector = Connector::url("http://a:1, http://b:2", &Dialer::plain()).unwrap();
        let names = (0..3).map(|_| {
            let name = connector.name().to_string();
            connector.turn();
            name
        });
        assert_eq!(names.collect::<Vec<_>>(), ["http://a:1", "http://b:2", "http://a:1"]);
    }
}
