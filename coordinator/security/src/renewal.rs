//! Certificates are short-lived; members renew theirs before it expires. After an outage in which
//! it has expired, the authority still renews it for a while (`--certificate-grace`).

use std::path::Path;
use std::time::{Duration, SystemTime};

use tokio::time::sleep;
use windrow_proto::v1::RenewRequest;
use windrow_proto::v1::enrollment_client::EnrollmentClient;

use crate::enrollment::{answered, connect};
use crate::{Certified, Credentials, Dialer, FreshKey, SecurityError, Tls};

/// Longest sleep: the clock may be set meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Shortest pause after a failure.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// How many retries fit into the rest of a certificate's life.
const TRIES: u32 = 20;

/// Renews a member's credentials, in memory and on disk, each time two thirds of their life are
/// over. Ends with the reason when they have expired and the cluster refuses to renew them.
pub async fn keep_renewed(tls: Tls, urls: String, folder: impl AsRef<Path>) -> SecurityError {
    loop {
        let certified = tls.certified();
        let now = SystemTime::now();
        match certified.renew_at().duration_since(now) {
            Ok(early) => sleep(early.min(LOOK_EVERY)).await,
            Err(_) => {
                let Err(error) = renew(&tls, &urls, folder.as_ref()).await else { continue };
                if is_final(&error, &certified, now) {
                    return error;
                }
                let left = certified.not_after.duration_since(now).unwrap_or_default();
                let until = humantime::format_rfc3339_seconds(certified.not_after);
                tracing::warn!(%error, %until, "cannot renew the certificate");
                sleep((left / TRIES).clamp(RETRY_MIN, LOOK_EVERY)).await;
            }
        }
    }
}

/// Whether this member can never renew its certificate again.
fn is_final(error: &SecurityError, certified: &Certified, now: SystemTime) -> bool {
    matches!(error, SecurityError::Denied(_)) && certified.check(now).is_err()
}

/// Renews credentials if two thirds of their life are over, or all of it.
///
/// # Errors
/// When that fails; the old credentials stay.
pub async fn renew_if_due(tls: &Tls, urls: &str, folder: &Path) -> Result<(), SecurityError> {
    if SystemTime::now() < tls.certified().renew_at() {
        return Ok(());
    }
    renew(tls, urls, folder).await
}

async fn renew(tls: &Tls, urls: &str, folder: &Path) -> Result<(), SecurityError> {
    let mut last = Ok(());
    for url in urls.split(',').map(str::trim) {
        last = renew_at(tls, url, folder).await;
        if last.is_ok() {
            tracing::info!("the certificate was renewed");
            break;
        }
    }
    last
}

async fn renew_at(tls: &Tls, url: &str, folder: &Path) -> Result<(), SecurityError> {
    let key = FreshKey::draw()?;
    let channel = connect(&Dialer::renewing(tls.clone()), url).await?;
    let request = RenewRequest { request: key.request()?.into() };
    let answer = answered(EnrollmentClient::new(channel).renew(request)).await?;
    let certificate = answer.certificate.to_vec().into();
    let renewed = Credentials::new(key.into_der(), certificate, tls.authority())?;
    renewed.certified().check(SystemTime::now())?;
    renewed.save(folder)?;
    tls.replace(renewed)
}
