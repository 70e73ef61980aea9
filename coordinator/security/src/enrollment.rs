//! The newcomer's side of the Enrollment service, which exchanges a join token for credentials.

use std::time::{Duration, SystemTime};

use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Code, Status};
use windrow_proto::v1;
use windrow_proto::v1::enrollment_client::EnrollmentClient;

use crate::retry::retry_while_hung_up;
use crate::{Credentials, Dialer, FreshKey, JoinToken, Role, SecurityError, explain};

/// How long a coordinator may take to answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// Joins the cluster at one of the URLs, separated by commas, in one of `roles`, and spends the
/// token. Writes nothing. A token for another role is not spent.
///
/// # Errors
/// When no coordinator of the token's cluster answers, or it refuses the token.
pub async fn enroll(
    urls: &str,
    token: &JoinToken,
    roles: &[Role],
) -> Result<Credentials, SecurityError> {
    let key = FreshKey::draw()?;
    let request = v1::EnrollRequest {
        token: token.id.clone(),
        secret: token.secret.clone().into(),
        request: key.request()?.into(),
        roles: roles.iter().map(Role::to_string).collect(),
    };
    let mut client = EnrollmentClient::new(newcomers_channel(urls, token).await?);
    let answer = answered(client.enroll(request)).await?;
    let authority = token.authority.clone();
    let credentials =
        Credentials::new(key.into_der(), answer.certificate.to_vec().into(), authority)?;
    credentials.certified().check(SystemTime::now())?;
    // An older coordinator ignores the roles that were asked for.
    let role = credentials.certified().identity.role();
    if !roles.contains(&role) {
        return Err(SecurityError::Denied(format!("the join token is for a new {role}")));
    }
    Ok(credentials)
}

/// A connection to the first URL at which the cluster answers.
async fn newcomers_channel(urls: &str, token: &JoinToken) -> Result<Channel, SecurityError> {
    let dialer = Dialer::newcomer(token.authority.clone());
    let mut last = SecurityError::Refused("no coordinator is named".to_string());
    for url in urls.split(',').map(str::trim) {
        match connect(&dialer, url).await {
            Ok(channel) => return Ok(channel),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A connection to the coordinator at one URL.
pub(crate) async fn connect(dialer: &Dialer, url: &str) -> Result<Channel, SecurityError> {
    let endpoint =
        dialer.endpoint(url).map_err(|error| SecurityError::Refused(error.to_string()))?;
    let dialer = dialer.clone();
    let connector = tower::service_fn(move |uri| dialer.clone().dial(uri));
    let endpoint = endpoint.connect_timeout(ANSWER_TIME_MAX);
    let channel = retry_while_hung_up(|| endpoint.connect_with_connector(connector.clone())).await;
    channel.map_err(|error| {
        SecurityError::Unreachable(format!(
            "no windrow coordinator answers at {url}: {}",
            explain(&error)
        ))
    })
}

/// The answer to a call, with a short timeout.
pub(crate) async fn answered<T>(
    call: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, SecurityError> {
    match timeout(ANSWER_TIME_MAX, call).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) if std::error::Error::source(&status).is_some() => {
            Err(SecurityError::Refused(explain(&status)))
        }
        Ok(Err(status)) => {
            let text = windrow_jobs::one_line(status.message());
            Err(match status.code() {
                Code::Unauthenticated | Code::PermissionDenied => SecurityError::Denied(text),
                _ => SecurityError::Refused(text),
            })
        }
        Err(_) => Err(SecurityError::Unreachable("the coordinator does not answer".to_string())),
    }
}
