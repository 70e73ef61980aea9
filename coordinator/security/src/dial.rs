//! Connections to coordinators, with TLS for https URLs.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_util::either::Either;
use tonic::transport::{Endpoint, Uri};

use crate::tls::connect_newcomer;
use crate::{LocalUsers, Tls};

/// The wait before the next address of a name is tried beside those that have not answered.
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// A connection, as a channel takes it.
pub type Dialed = TokioIo<Either<TcpStream, Box<TlsStream<TcpStream>>>>;

/// Makes connections. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Dialer {
    trust: Trust,
}

#[derive(Clone, Debug)]
enum Trust {
    /// These users of this machine, without credentials. Coordinators on other machines are
    /// trusted.
    Plain(LocalUsers),
    /// Any coordinator with a certificate of this authority; this side has no certificate yet.
    Newcomer(CertificateDer<'static>),
    /// Coordinators of one's own cluster.
    Member(Tls),
    /// The same, for a member whose certificate may have expired.
    Renewing(Tls),
}

/// A URL that this dialer cannot use.
#[derive(Debug, thiserror::Error)]
#[error(
    "'{}' is not a coordinator's URL such as http://127.0.0.1:7171 or https://host:7171: {message}",
    windrow_jobs::one_line(url)
)]
pub struct NotAnAddress {
    /// The URL as given.
    pub url: String,
    /// What is wrong with it.
    pub message: String,
}

impl Dialer {
    /// For a cluster without TLS: on this machine, only a coordinator of the same user or of root.
    pub fn plain() -> Self {
        Self::plain_of(LocalUsers::default())
    }

    /// For a cluster without TLS: on this machine, only a coordinator of one of these users.
    pub fn plain_of(users: LocalUsers) -> Self {
        Self { trust: Trust::Plain(users) }
    }

    /// For a newcomer, which has only the certificate of the cluster's authority.
    pub fn newcomer(authority: CertificateDer<'static>) -> Self {
        Self { trust: Trust::Newcomer(authority) }
    }

    /// For a member.
    pub fn member(tls: Tls) -> Self {
        Self { trust: Trust::Member(tls) }
    }

    /// For a member that only renews its certificate.
    pub(crate) fn renewing(tls: Tls) -> Self {
        Self { trust: Trust::Renewing(tls) }
    }

    /// The endpoint of a coordinator, to be connected with [`dial`](Self::dial).
    ///
    /// # Errors
    /// When it is no URL of a coordinator, or its scheme does not fit the credentials.
    pub fn endpoint(&self, url: &str) -> Result<Endpoint, NotAnAddress> {
        let wrong =
            |message: &str| NotAnAddress { url: url.to_string(), message: message.to_string() };
        let endpoint =
            Endpoint::from_shared(url.to_string()).map_err(|error| wrong(&error.to_string()))?;
        if endpoint.uri().host().is_none() {
            return Err(wrong("it names no host"));
        }
        if let Some(port) = senseless_port(endpoint.uri()) {
            return Err(wrong(&format!("'{port}' is no port (a number from 1 to 65535)")));
        }
        let path = endpoint.uri().path_and_query().map_or("/", |path| path.as_str());
        if path != "/" {
            return Err(wrong(&format!("remove '{path}': nothing may follow host and port")));
        }
        match (endpoint.uri().scheme_str(), &self.trust) {
            (Some("http"), Trust::Plain(_))
            | (Some("https"), Trust::Newcomer(_) | Trust::Member(_) | Trust::Renewing(_)) => {
                Ok(endpoint)
            }
            (Some("http"), _) => Err(wrong(
                "http:// would not verify the coordinator, and there are credentials for a secured cluster; say https://",
            )),
            (Some("https"), _) => Err(wrong(
                "there are no credentials for a secured cluster; a worker gets them with --token-file, a user with 'windrow login'",
            )),
            _ => Err(wrong("it must begin with http:// or https://")),
        }
    }

    /// Connects to the coordinator at a URL.
    ///
    /// # Errors
    /// When nothing answers there, or the other end is not a trusted coordinator.
    pub async fn dial(self, url: Uri) -> io::Result<Dialed> {
        let is_tls = url.scheme_str() == Some("https");
        let host = url.host().unwrap_or_default().trim_matches(['[', ']']).to_string();
        let port = url.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let stream = connect(&host, port).await?;
        let name = || {
            let name = ServerName::try_from(host.clone());
            name.map_err(|_| io::Error::other(format!("'{host}' is not the name of a machine")))
        };
        let stream = match self.trust {
            Trust::Plain(users) => {
                users.check_server(&stream).await?;
                Either::Left(stream)
            }
            Trust::Newcomer(authority) => {
                Either::Right(Box::new(connect_newcomer(&authority, stream, name()?).await?))
            }
            Trust::Member(tls) => {
                tls.certified().check(SystemTime::now()).map_err(io::Error::from)?;
                Either::Right(Box::new(tls.connect_coordinator(stream, name()?).await?))
            }
            Trust::Renewing(tls) => {
                Either::Right(Box::new(tls.connect_coordinator(stream, name()?).await?))
            }
        };
        Ok(TokioIo::new(stream))
    }
}

/// The text after a URL's host, if it is not a valid port.
fn senseless_port(url: &Uri) -> Option<&str> {
    let (_, port) = url.authority()?.as_str().rsplit_once(url.host()?)?;
    let port = port.strip_prefix(':')?;
    (!matches!(port.parse::<u16>(), Ok(1..))).then_some(port)
}

async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let addresses: Vec<_> = lookup_host((host, port)).await?.collect();
    let stream = connect_any(&addresses).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Connects to the address of a name that answers first. An address that does not answer, such as
/// one of a machine that is gone, does not delay the next for long (RFC 8305).
async fn connect_any(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut tries = JoinSet::new();
    let mut next = addresses.iter();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        match next.next() {
            Some(address) => drop(tries.spawn(TcpStream::connect(*address))),
            None if tries.is_empty() => return Err(last),
            None => {}
        }
        tokio::select! {
            Some(tried) = tries.join_next() => match tried {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = error,
                Err(error) => last = io::Error::other(error),
            },
            () = sleep(NEXT_ADDRESS_AFTER), if next.len() > 0 => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};
    use tokio::time::timeout;

    use super::*;

    #[test]
    fn a_scheme_must_fit_the_credentials() {
        let plain = Dialer::plain();
        assert!(plain.endpoint("http://a:1").is_ok());
        assert!(plain.endpoint("http://a:1/").is_ok());
        for url in [
            "https://a:1",
            "ftp://a:1",
            "a:1",
            "http://",
            "",
            "http://a b",
            "http://a\x1b:1",
            "http://a:1/x",
            "http://a:1/?x",
            "http://a:0",
            "http://a:",
            "http://a:65536",
            "http://[::1]:99999",
        ] {
            let error = plain.endpoint(url).err().unwrap().to_string();
            assert!(error.contains("is not a coordinator's URL"), "{error}");
            assert!(!error.contains(char::is_control), "{error:?}");
        }
        let error = plain.endpoint("http://127.0.0.1:99999").err().unwrap().to_string();
        assert!(error.ends_with("'99999' is no port (a number from 1 to 65535)"), "{error}");
        assert!(plain.endpoint("http://[::1]:65535").is_ok() && plain.endpoint("http://a").is_ok());
        let newcomer = Dialer::newcomer(CertificateDer::from(vec![1]));
        assert!(newcomer.endpoint("https://a:1").is_ok());
        let error = newcomer.endpoint("http://a:1").err().unwrap().to_string();
        assert!(error.contains("say https://"), "{error}");
    }

    #[tokio::test]
    async fn the_next_address_is_tried_when_one_does_not_answer() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let full = socket.listen(1).unwrap();
        let swallowing = full.local_addr().unwrap();
        // Nothing accepts: once its queue is full, the kernel drops what arrives.
        let mut held = Vec::new();
        let patience = Duration::from_millis(300);
        while let Ok(connected) = timeout(patience, TcpStream::connect(swallowing)).await {
            held.push(connected.unwrap());
        }
        let answering = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let answering = (answering.local_addr().unwrap(), answering);
        let both = [swallowing, answering.0];
        let stream = timeout(Duration::from_secs(60), connect_any(&both)).await.unwrap().unwrap();
        assert_eq!(stream.peer_addr().unwrap(), answering.0);
        assert!(connect_any(&[]).await.is_err());
    }
}
