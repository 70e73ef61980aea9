//! Both sides of TLS 1.3 among the members of a cluster, whose authority is the only root.
//!
//! Sessions are not resumed: a resumed session would outlive its certificate, and connections are
//! few and long.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{
    self, CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore,
    ServerConfig, SignatureScheme,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use crate::{Certified, Credentials, Identity, Role, SecurityError};

/// The host name in the certificates of a job's processes, the same wherever they listen.
pub fn job_host(job: &str) -> String {
    format!("{job}.job.windrow.internal")
}

/// HTTP/2, the only protocol.
const PROTOCOL: &[u8] = b"h2";

/// A member's TLS configuration, whose credentials can be replaced. Cheap to clone; clones are
/// replaced together.
#[derive(Clone)]
pub struct Tls {
    current: Arc<RwLock<Arc<Configs>>>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tls").field(&self.certified().identity).finish()
    }
}

struct Configs {
    credentials: Arc<Credentials>,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl Tls {
    /// With these credentials at first.
    ///
    /// # Errors
    /// When key and certificate do not match.
    pub fn new(credentials: Credentials) -> Result<Self, SecurityError> {
        let configs = Arc::new(Configs::new(credentials)?);
        Ok(Self { current: Arc::new(RwLock::new(configs)) })
    }

    /// Uses other credentials for all later connections.
    ///
    /// # Errors
    /// When key and certificate do not match.
    pub fn replace(&self, credentials: Credentials) -> Result<(), SecurityError> {
        let configs = Arc::new(Configs::new(credentials)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = configs;
        Ok(())
    }

    /// The contents of the own certificate.
    pub fn certified(&self) -> Certified {
        self.configs().credentials.certified().clone()
    }

    /// The certificate of the trusted authority.
    pub fn authority(&self) -> CertificateDer<'static> {
        self.configs().credentials.authority().clone()
    }

    /// The current credentials.
    pub fn credentials(&self) -> Arc<Credentials> {
        Arc::clone(&self.configs().credentials)
    }

    /// The client's side of a connection to the coordinator with this name. It does not check
    /// whether the own certificate has expired: the coordinator does.
    ///
    /// # Errors
    /// When the handshake fails, or the other end is not a coordinator of this cluster.
    pub async fn connect_coordinator<S>(
        &self,
        stream: S,
        name: ServerName<'static>,
    ) -> Result<client::TlsStream<S>, SecurityError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let configs = self.configs();
        let own = configs.credentials.certified();
        let stream = connect(Arc::clone(&configs.client), stream, name).await?;
        match peer(stream.get_ref().1.peer_certificates())? {
            Some(Certified { identity, .. })
                if identity.role() == Role::Coordinator
                    && identity.cluster() == own.identity.cluster() =>
            {
                Ok(stream)
            }
            peer => Err(wrong(peer.as_ref(), "a coordinator")),
        }
    }

    /// The client's side of a connection to another process of the own job, which has exactly the
    /// same identity.
    ///
    /// # Errors
    /// When the own certificate is not valid now, the handshake fails, or the other end has another
    /// identity.
    pub async fn connect_same<S>(&self, stream: S) -> Result<client::TlsStream<S>, SecurityError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let configs = self.configs();
        let own = configs.credentials.certified();
        own.check(SystemTime::now())?;
        let host = ServerName::try_from(job_host(own.identity.name()));
        let host = host.map_err(|error| SecurityError::Malformed(error.to_string()))?;
        let stream = connect(Arc::clone(&configs.client), stream, host).await?;
        expect_same(&own.identity, stream.get_ref().1.peer_certificates())?;
        Ok(stream)
    }

    /// The server's side of a connection, and the caller's certificate. A coordinator accepts
    /// callers without one.
    ///
    /// # Errors
    /// When the handshake fails.
    pub async fn accept<S>(
        &self,
        stream: S,
    ) -> Result<(server::TlsStream<S>, Option<Certified>), SecurityError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = accept(&self.configs(), stream).await?;
        let caller = peer(stream.get_ref().1.peer_certificates())?;
        Ok((stream, caller))
    }

    /// The server's side of a connection from another process of the own job, which has exactly the
    /// same identity.
    ///
    /// # Errors
    /// When the handshake fails, or the caller has another identity.
    pub async fn accept_same<S>(&self, stream: S) -> Result<server::TlsStream<S>, SecurityError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let configs = self.configs();
        let stream = accept(&configs, stream).await?;
        let own = &configs.credentials.certified().identity;
        expect_same(own, stream.get_ref().1.peer_certificates())?;
        Ok(stream)
    }

    fn configs(&self) -> Arc<Configs> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Configs {
    fn new(credentials: Credentials) -> Result<Self, SecurityError> {
        let client = client_config(credentials.authority(), Some(&credentials))?;
        let server = server_config(&credentials)?;
        Ok(Self { credentials: Arc::new(credentials), client, server })
    }
}

/// A newcomer's side of a connection to a coordinator: it has the authority's certificate, and none
/// of its own yet.
pub(crate) async fn connect_newcomer<S>(
    authority: &CertificateDer<'static>,
    stream: S,
    name: ServerName<'static>,
) -> Result<client::TlsStream<S>, SecurityError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let stream = connect(client_config(authority, None)?, stream, name).await?;
    match peer(stream.get_ref().1.peer_certificates())? {
        Some(peer) if peer.identity.role() == Role::Coordinator => Ok(stream),
        peer => Err(wrong(peer.as_ref(), "a coordinator")),
    }
}

async fn accept<S>(configs: &Configs, stream: S) -> Result<server::TlsStream<S>, SecurityError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let acceptor = TlsAcceptor::from(Arc::clone(&configs.server));
    acceptor.accept(stream).await.map_err(tls_error)
}

async fn connect<S>(
    config: Arc<ClientConfig>,
    stream: S,
    name: ServerName<'static>,
) -> Result<client::TlsStream<S>, SecurityError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    TlsConnector::from(config).connect(name, stream).await.map_err(tls_error)
}

fn peer(chain: Option<&[CertificateDer<'_>]>) -> Result<Option<Certified>, SecurityError> {
    chain.and_then(<[_]>::first).map(Certified::read).transpose()
}

fn expect_same(own: &Identity, chain: Option<&[CertificateDer<'_>]>) -> Result<(), SecurityError> {
    match peer(chain)? {
        Some(peer) if peer.identity == *own => Ok(()),
        peer => Err(wrong(peer.as_ref(), &own.to_string())),
    }
}

fn wrong(peer: Option<&Certified>, expected: &str) -> SecurityError {
    let found = peer.map_or_else(|| "a stranger".to_string(), |peer| peer.identity.to_string());
    SecurityError::WrongPeer { expected: expected.to_string(), found }
}

/// A handshake fails by a rule of TLS, or because the connection breaks.
fn tls_error(error: std::io::Error) -> SecurityError {
    match error.downcast::<rustls::Error>() {
        Ok(error) => error.into(),
        Err(error) => SecurityError::BrokenOff(error),
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn roots(authority: &CertificateDer<'static>) -> Result<Arc<RootCertStore>, SecurityError> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone())?;
    Ok(Arc::new(roots))
}

fn client_config(
    authority: &CertificateDer<'static>,
    own: Option<&Credentials>,
) -> Result<Arc<ClientConfig>, SecurityError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots(authority)?);
    let mut config = match own {
        Some(own) => {
            builder.with_client_auth_cert(vec![own.certificate().clone()], own.key().clone_key())?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn server_config(own: &Credentials) -> Result<Arc<ServerConfig>, SecurityError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(own.authority())?, provider());
    let built = match own.certified().identity.role() {
        // Newcomers have no certificate; the authorizer limits what they may call.
        Role::Coordinator => verifier.allow_unauthenticated().build(),
        _ => verifier.build(),
    };
    let mut verifier = built.map_err(|error| SecurityError::Malformed(error.to_string()))?;
    if own.certified().identity.role() == Role::Coordinator {
        verifier = Arc::new(ExpiredAreHeard(verifier));
    }
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![own.certificate().clone()], own.key().clone_key())?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Accepts callers with an expired but otherwise sound certificate, so that they can renew it. The
/// authorizer checks the time before each call, and refuses all other calls with the reason.
#[derive(Debug)]
struct ExpiredAreHeard(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for ExpiredAreHeard {
    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.0.verify_client_cert(certificate, intermediates, now);
        let has_expired = matches!(
            verified,
            Err(rustls::Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. }
            ))
        );
        match Certified::read(certificate) {
            // It must have been valid in its last second.
            Ok(Certified { not_after, .. }) if has_expired => {
                let ended = not_after.duration_since(UNIX_EPOCH).unwrap_or_default();
                let ended = UnixTime::since_unix_epoch(ended);
                self.0.verify_client_cert(certificate, intermediates, ended)
            }
            _ => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    struct Authority {
        certificate: CertificateDer<'static>,
        issuer: Issuer<'static, KeyPair>,
    }

    impl Authority {
        fn new() -> Self {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            let certificate = params.self_signed(&key).unwrap().der().clone();
            Self { issuer: Issuer::from_ca_cert_der(&certificate, key).unwrap(), certificate }
        }

        /// A member whose certificate also fits the host name of every job.
        fn certify(&self, identity: &str, ends: SystemTime) -> Tls {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::default();
            params.not_before = (ends - Duration::from_secs(7200)).into();
            params.not_after = ends.into();
            let uri = SanType::URI(identity.try_into().unwrap());
            let host = SanType::DnsName("*.job.windrow.internal".try_into().unwrap());
            params.subject_alt_names = vec![uri, host];
            let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
            let key = key.serialize_der();
            let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key).into();
            Tls::new(Credentials::new(key, certificate, self.certificate.clone()).unwrap()).unwrap()
        }

        fn member(&self, identity: &str) -> Tls {
            self.certify(identity, SystemTime::now() + Duration::from_secs(3600))
        }
    }

    /// Whether a byte gets from `client` to `server`.
    async fn talk(client: &Tls, server: &Tls) -> bool {
        let (near, far) = duplex(1 << 16);
        let serving = async {
            let mut stream = server.accept_same(far).await.ok()?;
            stream.read_u8().await.ok()
        };
        let asking = async {
            let mut stream = client.connect_same(near).await.ok()?;
            stream.write_u8(7).await.ok()?;
            stream.shutdown().await.ok()
        };
        let (arrived, _) = tokio::join!(serving, asking);
        arrived == Some(7)
    }

    #[tokio::test]
    async fn processes_of_a_job_talk_only_to_each_other() {
        let (ours, theirs) = (Authority::new(), Authority::new());
        let job = ours.member("windrow://c/job/17");
        assert!(talk(&job, &ours.member("windrow://c/job/17")).await);
        for stranger in [
            ours.member("windrow://c/job/18"),
            ours.member("windrow://d/job/17"),
            ours.member("windrow://c/worker/17"),
            ours.member("windrow://c/admin/17"),
            theirs.member("windrow://c/job/17"),
        ] {
            assert!(!talk(&stranger, &job).await, "{stranger:?} as client");
            assert!(!talk(&job, &stranger).await, "{stranger:?} as server");
        }
    }

    #[tokio::test]
    async fn expired_credentials_are_refused_until_replaced() {
        let authority = Authority::new();
        let now = SystemTime::now();
        let old = authority.certify("windrow://c/job/17", now - Duration::from_secs(60));
        let job = authority.member("windrow://c/job/17");
        assert!(!talk(&old, &job).await);
        assert!(!talk(&job, &old).await);
        let credentials = job.credentials();
        let key = credentials.key().clone_key();
        let parts = (credentials.certificate().clone(), credentials.authority().clone());
        old.replace(Credentials::new(key, parts.0, parts.1).unwrap()).unwrap();
        assert!(talk(&old, &job).await);
    }

    /// With whatever credentials the later job has by then.
    #[tokio::test]
    async fn credentials_of_an_earlier_job_open_no_other_jobs_data() {
        let authority = Authority::new();
        let former = authority.member("windrow://c/job/17");
        let job = authority.member("windrow://c/job/18");
        let mut before = Vec::new();
        for _ in 0..3 {
            assert!(!talk(&former, &job).await && !talk(&job, &former).await);
            let renewed = authority.member("windrow://c/job/18").credentials();
            before.push(std::mem::replace(&mut *job.current.write().unwrap(), {
                let (key, certificate) = (renewed.key().clone_key(), renewed.certificate().clone());
                let renewed = Credentials::new(key, certificate, renewed.authority().clone());
                Arc::new(Configs::new(renewed.unwrap()).unwrap())
            }));
        }
        // The job's own processes are accepted, also with credentials before the latest ones.
        for configs in before {
            assert!(talk(&Tls { current: Arc::new(RwLock::new(configs)) }, &job).await);
        }
    }
}
