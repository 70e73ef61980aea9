//! How the coordinator is reached: over TCP, or over whatever the embedder provides.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tonic::transport::{Channel, Endpoint, Error};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A coordinator whose machine is gone is noticed after these two.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

type Connecting = Pin<Box<dyn Future<Output = Result<Channel, Error>> + Send>>;

/// Makes connections to one coordinator. Cheap to clone.
#[derive(Clone)]
pub struct Connector {
    name: Arc<str>,
    connect: Arc<dyn Fn() -> Connecting + Send + Sync>,
}

/// Not the URL of a coordinator.
#[derive(Debug, thiserror::Error)]
#[error("'{}' is not a coordinator's URL such as http://127.0.0.1:7171: {message}", url.escape_debug())]
pub struct InvalidUrl {
    url: String,
    message: String,
}

impl Connector {
    /// Connects with `connect` to what messages call `name`.
    pub fn new<F>(name: &str, connect: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Channel, Error>> + Send + 'static,
    {
        Self { name: name.into(), connect: Arc::new(move || Box::pin(connect())) }
    }

    /// Connects to a URL such as `http://127.0.0.1:7171`.
    ///
    /// # Errors
    /// When that is no such URL.
    pub fn url(url: &str) -> Result<Self, InvalidUrl> {
        let invalid = |message: String| InvalidUrl { url: url.to_string(), message };
        let endpoint =
            Endpoint::from_shared(url.to_string()).map_err(|e| invalid(e.to_string()))?;
        if endpoint.uri().scheme_str() != Some("http") || endpoint.uri().host().is_none() {
            return Err(invalid("it must begin with http:// and name a host".to_string()));
        }
        let endpoint = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        Ok(Self::new(url, move || {
            let endpoint = endpoint.clone();
            async move { endpoint.connect().await }
        }))
    }

    /// A new connection.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn connect(&self) -> Result<Channel, Error> {
        (self.connect)().await
    }

    /// What to call the coordinator in messages.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connector").field(&self.name).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_http_urls_are_taken() {
        assert_eq!(
            Connector::url("http://127.0.0.1:7171").unwrap().name(),
            "http://127.0.0.1:7171"
        );
        for url in ["", "127.0.0.1:7171", "ftp://host:1", "http://", "http://a b"] {
            let error = Connector::url(url).unwrap_err().to_string();
            assert!(error.contains("is not a coordinator's URL"), "{error}");
        }
    }
}
