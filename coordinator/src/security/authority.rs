//! The cluster's authority: signs certificates, and is the root of trust of all members.
//!
//! Of a request only the public key counts. Names, role and validity are what the coordinator says.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PublicKey, SanType,
};
use time::OffsetDateTime;
use windrow_security::pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer};
use windrow_security::{Identity, Role, SecurityError, job_host};

use super::malformed;

/// How long the authority itself counts: longer than clusters live.
const LIFE: Duration = Duration::from_secs(20 * 365 * 24 * 3600);
/// How far clocks may be apart.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(300);
/// Largest request that is read: ours take 300 bytes.
const REQUEST_BYTES_MAX: usize = 8 << 10;

/// A key that signs, and its certificate.
pub(super) struct Authority {
    cluster: String,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new one, and its key, PKCS #8.
    pub(super) fn create(cluster: &str) -> Result<(Self, Vec<u8>), SecurityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(malformed)?;
        let mut params = valid_for(LIFE);
        // It signs members, never other authorities.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name = common_name(&format!("windrow cluster {cluster}"));
        let certificate = params.self_signed(&key).map_err(malformed)?.der().clone();
        let key_der = key.serialize_der();
        Ok((Self::with_key(cluster, certificate, key)?, key_der))
    }

    /// One that was there before.
    pub(super) fn load(
        cluster: &str,
        certificate: CertificateDer<'static>,
        key: &PrivateKeyDer<'_>,
    ) -> Result<Self, SecurityError> {
        let key = KeyPair::try_from(key).map_err(malformed)?;
        Self::with_key(cluster, certificate, key)
    }

    fn with_key(
        cluster: &str,
        certificate: CertificateDer<'static>,
        key: KeyPair,
    ) -> Result<Self, SecurityError> {
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(malformed)?;
        Ok(Self { cluster: cluster.to_string(), certificate, issuer })
    }

    pub(super) fn cluster(&self) -> &str {
        &self.cluster
    }

    pub(super) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Certifies that a key is this member's, for `life` from now on, under these names besides
    /// that of the member.
    pub(super) fn issue(
        &self,
        identity: &Identity,
        mut names: Vec<SanType>,
        key: &PublicKey,
        life: Duration,
    ) -> Result<CertificateDer<'static>, SecurityError> {
        let mut params = valid_for(life);
        if identity.role() == Role::Job {
            let host = job_host(identity.name());
            names.push(SanType::DnsName(host.try_into().map_err(malformed)?));
        }
        names.push(SanType::URI(identity.to_string().try_into().map_err(malformed)?));
        params.subject_alt_names = names;
        params.distinguished_name = common_name(identity.name());
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages(identity.role());
        Ok(params.signed_by(key, &self.issuer).map_err(malformed)?.der().clone())
    }
}

/// Members never serve, and coordinators never call.
fn usages(role: Role) -> Vec<ExtendedKeyUsagePurpose> {
    use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
    match role {
        Role::Coordinator => vec![ServerAuth],
        Role::Job => vec![ServerAuth, ClientAuth],
        Role::Worker | Role::Submitter | Role::Admin => vec![ClientAuth],
    }
}

/// The key that a PKCS #10 request is for; its signature shows that the sender has the other half.
pub(super) fn requested_key(request: &[u8]) -> Result<PublicKey, SecurityError> {
    if request.len() > REQUEST_BYTES_MAX {
        return Err(malformed("the request for a certificate is too long"));
    }
    let request = CertificateSigningRequestDer::from(request);
    let read = CertificateSigningRequestParams::from_der(&request);
    let read = read.map_err(|error| {
        malformed(format!("the request for a certificate makes no sense: {error}"))
    })?;
    Ok(read.public_key)
}

/// A host as certificates name it.
pub(super) fn host_name(host: &str) -> Result<SanType, SecurityError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.*".contains(&byte);
    let name = host.bytes().all(is_plain).then(|| host.try_into().ok()).flatten();
    name.filter(|_| !host.is_empty()).map(SanType::DnsName).ok_or_else(|| {
        malformed(format!(
            "'{}' is not the name or address of a machine",
            windrow_jobs::one_line(host)
        ))
    })
}

/// Short lives, as in tests, are not mostly in the past.
fn valid_for(life: Duration) -> CertificateParams {
    let now = SystemTime::now();
    let mut params = CertificateParams::default();
    params.not_before = OffsetDateTime::from(now - CLOCK_SKEW_MAX.min(life / 4));
    params.not_after = OffsetDateTime::from(now + life);
    params
}

fn common_name(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}
