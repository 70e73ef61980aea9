//! Both ends of a connection between processes of one job, after the line that names the job.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_util::either::Either;
use windrow_jobs::JobIdentity;
use windrow_security::waiting_list::WaitingGuard;
use windrow_security::{Connection, Dialed, LocalUsers, SecurityError, Tls};

use super::job_certificates::JobCertificates;

/// How connections for a job's data are secured.
#[derive(Clone, Debug, Default)]
pub enum ShuffleTls {
    /// Not at all: there is no other process.
    #[default]
    Off,
    /// By user: the cluster is open, on this machine to these users.
    OfUsers(LocalUsers),
    /// With the credentials of the one job that runs in this process.
    OfJob(JobIdentity, Tls),
    /// With the credentials of each job, which the coordinator gives to this worker.
    OfEachJob(Arc<JobCertificates>),
}

impl ShuffleTls {
    /// To be called before a job's data is fetched, and before its attempts run.
    ///
    /// # Errors
    ///
    /// When there are no credentials for the job.
    pub(crate) async fn of(&self, job: JobIdentity) -> Result<Option<Tls>, SecurityError> {
        match self {
            Self::Off | Self::OfUsers(_) => Ok(None),
            Self::OfJob(own, tls) if *own == job => Ok(Some(tls.clone())),
            Self::OfJob(own, _) => {
                Err(none(format!("this process is of job {own}, not of job {job}")))
            }
            Self::OfEachJob(certificates) => certificates.of(job).await.map(Some),
        }
    }

    /// Refuses a peer whose user on this machine has no access to an open cluster.
    pub(crate) async fn check(&self, stream: &TcpStream) -> io::Result<()> {
        match self {
            Self::OfUsers(users) => users.check(stream).await,
            _ => Ok(()),
        }
    }

    /// Likewise, where this process has connected, and the peer is the server.
    pub(crate) async fn check_server(&self, stream: &TcpStream) -> io::Result<()> {
        match self {
            Self::OfUsers(users) => users.check_server(stream).await,
            _ => Ok(()),
        }
    }

    /// Makes the handshake as the client, on an open connection.
    pub(crate) async fn connect(
        &self,
        job: JobIdentity,
        stream: TcpStream,
    ) -> Result<Dialed, SecurityError> {
        Ok(TokioIo::new(match self.of(job).await? {
            None => Either::Left(stream),
            Some(tls) => Either::Right(Box::new(tls.connect_same(stream).await?)),
        }))
    }

    /// Makes the handshake as the server. No credentials are requested for an unknown job.
    pub(crate) async fn accept(
        &self,
        job: JobIdentity,
        stream: TcpStream,
        seat: WaitingGuard<IpAddr>,
    ) -> Result<Connection, SecurityError> {
        let tls = match self {
            Self::Off | Self::OfUsers(_) => None,
            Self::OfJob(own, tls) if *own == job => Some(tls.clone()),
            Self::OfJob(..) => return Err(none(format!("job {job} does not run in this process"))),
            Self::OfEachJob(certificates) => {
                let tls = certificates.known(job);
                Some(tls.ok_or_else(|| none(format!("job {job} is not known here")))?)
            }
        };
        Connection::accept_same(stream, tls.as_ref(), seat).await
    }

    /// Forgets a job that is over.
    pub(crate) fn forget(&self, job: JobIdentity) {
        if let Self::OfEachJob(certificates) = self {
            certificates.forget(job);
        }
    }

    /// Forgets all jobs.
    pub(crate) fn forget_all(&self) {
        if let Self::OfEachJob(certificates) = self {
            certificates.forget_all();
        }
    }
}

fn none(text: String) -> SecurityError {
    SecurityError::Refused(text)
}
