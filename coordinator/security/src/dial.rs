//! Connections to coordinators: with TLS where the address says https.

use std::io;

use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_util::either::Either;
use tonic::transport::{Endpoint, Uri};

use crate::Tls;
use crate::tls::connect_newcomer;

/// A connection, as a channel takes it.
pub type Dialed = TokioIo<Either<TcpStream, Box<TlsStream<TcpStream>>>>;

/// Makes connections. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Dialer {
    trust: Trust,
}

#[derive(Clone, Debug)]
enum Trust {
    /// Nobody: there are no credentials.
    Plain,
    /// Whoever this authority has certified; nothing to show yet.
    Newcomer(CertificateDer<'static>),
    /// The members of one's own cluster.
    Member(Tls),
}

/// Not an address that this dialer can connect to.
#[derive(Debug, thiserror::Error)]
#[error("'{}' is not a coordinator's URL such as http://127.0.0.1:7171 or https://host:7171: {message}", url.escape_debug())]
pub struct NotAnAddress {
    /// As given.
    pub url: String,
    /// What is wrong with it.
    pub message: String,
}

impl Dialer {
    /// For clusters without TLS.
    pub fn plain() -> Self {
        Self { trust: Trust::Plain }
    }

    /// For one who only knows the cluster's authority.
    pub fn newcomer(authority: CertificateDer<'static>) -> Self {
        Self { trust: Trust::Newcomer(authority) }
    }

    /// For a member.
    pub fn member(tls: Tls) -> Self {
        Self { trust: Trust::Member(tls) }
    }

    /// The endpoint of a coordinator, to be connected with [`dial`](Self::dial).
    ///
    /// # Errors
    /// When the URL is none, or its scheme needs credentials that are not there, or does without those that are.
    pub fn endpoint(&self, url: &str) -> Result<Endpoint, NotAnAddress> {
        let wrong =
            |message: &str| NotAnAddress { url: url.to_string(), message: message.to_string() };
        let endpoint =
            Endpoint::from_shared(url.to_string()).map_err(|error| wrong(&error.to_string()))?;
        if endpoint.uri().host().is_none() {
            return Err(wrong("it names no host"));
        }
        match (endpoint.uri().scheme_str(), &self.trust) {
            (Some("http"), Trust::Plain)
            | (Some("https"), Trust::Newcomer(_) | Trust::Member(_)) => Ok(endpoint),
            (Some("http"), _) => Err(wrong(
                "there are credentials for a secured cluster, and http:// would not ask who answers; say https://",
            )),
            (Some("https"), _) => Err(wrong(
                "there are no credentials for a secured cluster; a worker gets them with --token, a user with 'windrow login'",
            )),
            _ => Err(wrong("it must begin with http:// or https://")),
        }
    }

    /// Connects to the coordinator at a URL.
    ///
    /// # Errors
    /// When nobody answers, or somebody else.
    pub async fn dial(self, url: Uri) -> io::Result<Dialed> {
        let is_tls = url.scheme_str() == Some("https");
        let host = url.host().unwrap_or_default().trim_matches(['[', ']']).to_string();
        let port = url.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let stream = connect((host.as_str(), port)).await?;
        let name = || {
            let name = ServerName::try_from(host.clone());
            name.map_err(|_| io::Error::other(format!("'{host}' is not the name of a machine")))
        };
        let stream = match self.trust {
            Trust::Plain => Either::Left(stream),
            Trust::Newcomer(authority) => {
                Either::Right(Box::new(connect_newcomer(&authority, stream, name()?).await?))
            }
            Trust::Member(tls) => {
                Either::Right(Box::new(tls.connect_coordinator(stream, name()?).await?))
            }
        };
        Ok(TokioIo::new(stream))
    }
}

async fn connect(address: impl tokio::net::ToSocketAddrs) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_must_fit_the_credentials() {
        let plain = Dialer::plain();
        assert!(plain.endpoint("http://a:1").is_ok());
        for url in
            ["https://a:1", "ftp://a:1", "a:1", "http://", "", "http://a b", "http://a\x1b:1"]
        {
            let error = plain.endpoint(url).err().unwrap().to_string();
            assert!(error.contains("is not a coordinator's URL"), "{error}");
            assert!(!error.contains(char::is_control), "{error:?}");
        }
        let newcomer = Dialer::newcomer(CertificateDer::from(vec![1]));
        assert!(newcomer.endpoint("https://a:1").is_ok());
        let error = newcomer.endpoint("http://a:1").err().unwrap().to_string();
        assert!(error.contains("say https://"), "{error}");
    }
}
