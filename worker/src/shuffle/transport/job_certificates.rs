//! The certificates by which the processes of a job identify themselves to each other in a
//! secured cluster: the coordinator certifies a key for each worker that takes part in the job. The
//! worker's own key stays with the worker, and gives access to no job's data.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Status};
use windrow_jobs::JobIdentity;
use windrow_proto::v1::CertifyJobRequest;
use windrow_proto::v1::enrollment_client::EnrollmentClient;
use windrow_security::pki_types::CertificateDer;
use windrow_security::{Credentials, FreshKey, SecurityError, Tls, explain, limits};

use crate::connector::Connector;
use crate::sync::lock;

/// How long to retry while the coordinator is unreachable: it may be replaced by another one.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause before it is asked again.
const PAUSE: Duration = Duration::from_millis(200);
/// How long one answer may take.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// Longest sleep between two looks at the clock, which may be changed meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Shortest pause before another try to renew a job's credentials.
const RENEWAL_PAUSE: Duration = Duration::from_secs(1);

/// A job's credentials.
#[derive(Default)]
struct Slot {
    tls: Mutex<Option<Tls>>,
    /// Locked while they are being requested.
    asking: tokio::sync::Mutex<()>,
}

/// The credentials of all jobs that a worker takes part in.
pub struct JobCertificates {
    connector: Connector,
    authority: CertificateDer<'static>,
    jobs: Mutex<HashMap<JobIdentity, Arc<Slot>>>,
}

impl fmt::Debug for JobCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JobCertificates")
    }
}

impl JobCertificates {
    /// No credentials yet. Requests go to the coordinator of `connector`, whose cluster has this
    /// authority.
    pub(crate) fn new(connector: Connector, authority: CertificateDer<'static>) -> Self {
        Self { connector, authority, jobs: Mutex::default() }
    }

    /// The credentials of a job: the present ones, unless they are about to expire, or new ones.
    ///
    /// # Errors
    ///
    /// When there are none, and the coordinator does not give any.
    pub(crate) async fn of(&self, job: JobIdentity) -> Result<Tls, SecurityError> {
        let slot = Arc::clone(lock(&self.jobs).entry(job).or_default());
        let _only_one_asks = slot.asking.lock().await;
        let known = lock(&slot.tls).clone();
        let Some(tls) = known else {
            let credentials = self.ask(job).await.inspect_err(|_| self.forget(job))?;
            return Ok(lock(&slot.tls).insert(Tls::new(credentials)?).clone());
        };
        if SystemTime::now() >= tls.certified().renew_at() {
            self.renew(job, &tls).await?;
        }
        Ok(tls)
    }

    /// The present credentials of a job: none are requested on behalf of strangers.
    pub(crate) fn known(&self, job: JobIdentity) -> Option<Tls> {
        let slot = lock(&self.jobs).get(&job).cloned()?;
        lock(&slot.tls).clone()
    }

    /// Waits until a job's present credentials have been renewed, and returns the new ones.
    pub(crate) async fn renewed(&self, job: JobIdentity, old: &Credentials) -> Arc<Credentials> {
        loop {
            let now = SystemTime::now();
            if let Ok(early) = old.certified().renew_at().duration_since(now) {
                sleep(early.min(LOOK_EVERY)).await;
                continue;
            }
            match self.of(job).await.map(|tls| tls.credentials()) {
                Ok(found) if found.certificate() != old.certificate() => return found,
                Ok(_) => {}
                Err(error) => tracing::warn!(%job, %error, "cannot renew a job's credentials"),
            }
            sleep(RENEWAL_PAUSE).await;
        }
    }

    /// Drops the credentials of a job.
    pub(crate) fn forget(&self, job: JobIdentity) {
        lock(&self.jobs).remove(&job);
    }

    /// Drops all credentials.
    pub(crate) fn forget_all(&self) {
        lock(&self.jobs).clear();
    }

    /// Old credentials that are still valid are better than none.
    async fn renew(&self, job: JobIdentity, tls: &Tls) -> Result<(), SecurityError> {
        match self.ask_once(job).await {
            Ok(credentials) => {
                tls.replace(credentials)?;
                tracing::info!(%job, "renewed a job's credentials");
                Ok(())
            }
            Err(status) => {
                let reason = explain(&status);
                tracing::warn!(%job, reason, "cannot renew a job's credentials yet");
                tls.certified().check(SystemTime::now())
            }
        }
    }

    async fn ask(&self, job: JobIdentity) -> Result<Credentials, SecurityError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.ask_once(job).await {
                Ok(credentials) => return Ok(credentials),
                Err(status) if status.code() == Code::Unavailable && Instant::now() < deadline => {
                    sleep(PAUSE).await;
                }
                Err(status) => {
                    let reason = explain(&status);
                    let text = format!(
                        "no credentials for job {job}: {}",
                        windrow_jobs::one_line(&reason)
                    );
                    return Err(SecurityError::Refused(text));
                }
            }
        }
    }

    async fn ask_once(&self, job: JobIdentity) -> Result<Credentials, Status> {
        let asking = async {
            let failed = |error: SecurityError| Status::internal(error.to_string());
            let key = FreshKey::draw().map_err(failed)?;
            let request = key.request().map_err(failed)?.into();
            let job = job.to_bytes().to_vec().into();
            let channel = self.connector.connect().await;
            let channel = channel.map_err(|error| Status::unavailable(explain(&error)))?;
            let mut client = EnrollmentClient::new(channel)
                .max_decoding_message_size(limits::ENROLLMENT_BYTES_MAX);
            let answer = client.certify_job(CertifyJobRequest { job, request }).await?;
            let certificate = answer.into_inner().certificate.to_vec().into();
            Credentials::new(key.into_der(), certificate, self.authority.clone()).map_err(failed)
        };
        let late = |_| Status::unavailable("the coordinator does not answer");
        timeout(ANSWER_TIME_MAX, asking).await.map_err(late)?
    }
}
