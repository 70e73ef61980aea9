//! The `Enrollment` service: certificates for tokens, and for those who have one.

use tonic::{Request, Response, Status};
use windrow_jobs::{JobIdentity, JobName};
use windrow_proto::v1;
use windrow_proto::v1::enrollment_server::Enrollment;
use windrow_security::access::{Caller, Subject};
use windrow_security::{Identity, Refusals, Role, SecurityError};

use super::Security;
use crate::driver::DriverHandle;
use windrow_jobs::one_line;

/// Answers newcomers, and members whose certificates grow old.
pub(crate) struct EnrollmentService {
    /// `None` where there is nothing to enroll for.
    pub(crate) security: Option<Security>,
    pub(crate) driver: DriverHandle,
    pub(crate) refusals: Refusals,
}

#[tonic::async_trait]
impl Enrollment for EnrollmentService {
    async fn enroll(
        &self,
        request: Request<v1::EnrollRequest>,
    ) -> Result<Response<v1::EnrollReply>, Status> {
        let v1::EnrollRequest { token, secret, request, roles } = request.into_inner();
        let roles = roles.iter().map(|role| role.parse()).collect::<Result<Vec<Role>, _>>();
        let roles =
            roles.map_err(|error| Status::invalid_argument(one_line(&error.to_string())))?;
        let security = self.security()?;
        let id = token.clone();
        let enrolling = blocking(move || security.enroll(&id, &secret, &request, &roles)).await;
        let (identity, certificate) = enrolling.inspect_err(|status| {
            let token = token.chars().take(16).collect::<String>();
            self.refusals.say(|| {
                tracing::warn!(?token, reason = status.message(), "a newcomer was refused");
            });
        })?;
        tracing::info!(%identity, "joined the cluster");
        let mut answer = Response::new(v1::EnrollReply { certificate: certificate.into() });
        answer.extensions_mut().insert(Subject(identity.to_string()));
        Ok(answer)
    }

    async fn renew(
        &self,
        request: Request<v1::RenewRequest>,
    ) -> Result<Response<v1::EnrollReply>, Status> {
        let security = self.security()?;
        let identity = identity_of(&request)?;
        let request = request.into_inner().request;
        let certificate = blocking(move || security.renew(&identity, &request)).await?;
        Ok(Response::new(v1::EnrollReply { certificate: certificate.into() }))
    }

    async fn certify_job(
        &self,
        request: Request<v1::CertifyJobRequest>,
    ) -> Result<Response<v1::EnrollReply>, Status> {
        let security = self.security()?;
        let worker = identity_of(&request)?;
        let v1::CertifyJobRequest { job, request } = request.into_inner();
        let identity = JobIdentity::from_bytes(&job)
            .ok_or_else(|| Status::invalid_argument("no identity of a job"))?;
        self.check_works_for(&worker, JobName::Identity(identity)).await?;
        let certificate = blocking(move || security.certify_job(identity, &request)).await?;
        Ok(Response::new(v1::EnrollReply { certificate: certificate.into() }))
    }
}

/// Who has called, by their certificate.
fn identity_of<T>(request: &Request<T>) -> Result<Identity, Status> {
    let caller = request.extensions().get::<Caller>().and_then(Caller::identity);
    caller.cloned().ok_or_else(|| Status::unauthenticated("there is no certificate"))
}

impl EnrollmentService {
    /// Refuses workers that have nothing to do with a job.
    async fn check_works_for(&self, worker: &Identity, job: JobName) -> Result<(), Status> {
        let works = match self.driver.number_of(job).await? {
            Some(number) => self.driver.works_for(worker.name(), number).await?,
            None => Some(false),
        };
        match works {
            Some(true) => Ok(()),
            Some(false) => {
                tracing::warn!(%worker, %job, "a worker asked for the credentials of a job that is not its own");
                Err(Status::permission_denied(format!(
                    "{} has nothing to do with {job}",
                    worker.name()
                )))
            }
            None => Err(Status::unavailable(format!("{} has no session", worker.name()))),
        }
    }

    fn security(&self) -> Result<Security, Status> {
        self.security.clone().ok_or_else(|| {
            Status::failed_precondition(
                "this coordinator runs without --security: no token is needed",
            )
        })
    }
}

/// Files and signatures keep a thread for a moment.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SecurityError> + Send + 'static,
) -> Result<T, Status> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(|error| Status::internal(error.to_string()))?;
    done.map_err(|error| {
        let text = one_line(&error.to_string());
        match error {
            SecurityError::Refused(_) => Status::permission_denied(text),
            SecurityError::Malformed(_) => Status::invalid_argument(text),
            _ => Status::internal(text),
        }
    })
}
