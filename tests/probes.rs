//! Strangers that probe a secured cluster, and members that are revoked.

use std::fs;
use std::path::Path;

use libtest_mimic::Trial;
use tokio::runtime::{Builder, Runtime};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tower::service_fn;
use windrow_jobs::JobIdentity;
use windrow_proto::v1::CertifyJobRequest;
use windrow_proto::v1::enrollment_client::EnrollmentClient;
use windrow_security::{Credentials, Dialer, FreshKey, JoinToken, Tls};

use crate::faults::gated_job::GatedJob;
use crate::support::{
    Cluster, ClusterOptions, Process, answer_in_plain, answer_over_tls, case, eventually,
    root_case, windrow,
};

/// The identity of no job.
const UNKNOWN: JobIdentity = JobIdentity(99);

pub fn tests() -> Vec<Trial> {
    vec![
        case("probes::a_workers_port_is_for_processes_of_its_jobs", a_workers_port),
        case("probes::credentials_of_a_job_are_for_its_workers", credentials_of_a_job),
        case("probes::a_revoked_worker_is_lost", a_revoked_worker_is_lost),
        case("probes::a_revoked_user_is_disconnected", a_revoked_user_is_disconnected),
        root_case("probes::running_processes_get_renewed_credentials", renewed_in_processes),
    ]
}

fn secured(workers: usize) -> Cluster {
    GatedJob::cluster_with(workers, ClusterOptions { secured: true, ..Default::default() })
}

fn worker_credentials(cluster: &Cluster, n: usize) -> Credentials {
    load(&cluster.worker_dir(n).join("credentials"))
}

fn load(folder: &Path) -> Credentials {
    Credentials::load(folder).unwrap()
}

/// Makes a key, and asks the coordinator at `url` to certify it for a job.
async fn certify(url: &str, dialer: Dialer, job: JobIdentity) -> Result<Credentials, Status> {
    let endpoint = dialer.endpoint(url).unwrap();
    let dial = service_fn(move |uri| dialer.clone().dial(uri));
    let channel: Channel = endpoint
        .connect_with_connector(dial)
        .await
        .map_err(|error| Status::unavailable(error.to_string()))?;
    let key = FreshKey::draw().unwrap();
    let job = job.to_bytes().to_vec().into();
    let request = CertifyJobRequest { job, request: key.request().unwrap().into() };
    let answer = EnrollmentClient::new(channel).certify_job(request).await?;
    let certificate = answer.into_inner().certificate.to_vec();
    // The authority does not matter here.
    let authority = certificate.clone().into();
    Ok(Credentials::new(key.into_der(), certificate.into(), authority).unwrap())
}

fn as_member(credentials: Credentials) -> Dialer {
    Dialer::member(Tls::new(credentials).unwrap())
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A job with one map at its gate; the number of its worker, and the other worker's.
fn held_job(cluster: &Cluster) -> (GatedJob, u64, [usize; 2]) {
    let gated = GatedJob::new(1, 1_000, &["--reducers", "1"]);
    let job = gated.submit(cluster);
    gated.wait_for_maps(1);
    let process = *gated.map_processes().first().unwrap();
    let worker = cluster.worker_of(process).unwrap();
    (gated, job, [worker, 1 - worker])
}

/// Plain text, no certificate, another authority's certificate, and another role's: none gets a
/// byte in answer.
fn a_workers_port() {
    let (cluster, other) = (secured(2), secured(1));
    let (gated, job, [worker, _]) = held_job(&cluster);
    let address = cluster.member(worker)["shuffle_address"].as_str().unwrap().to_string();
    let greeting = format!("windrow-shuffle/2 job {}\n", cluster.identity(job));
    let certified = |cluster: &Cluster, worker, job| {
        let asking = certify(
            &cluster.url,
            as_member(worker_credentials(cluster, worker)),
            cluster.identity(job),
        );
        runtime().block_on(asking).unwrap()
    };
    let own = certified(&cluster, worker, job);
    assert!(!answer_over_tls(&address, &greeting, Some(&own)).is_empty(), "processes of the job");
    let (other_gated, other_job, _) = held_job_alone(&other);
    let others = [
        certified(&other, 0, other_job),
        worker_credentials(&other, 0),
        worker_credentials(&cluster, worker),
        worker_credentials(&cluster, 1 - worker),
        load(&cluster.admin()),
    ];
    for shown in others.iter().map(Some).chain([None]) {
        let identity = shown.map(|shown| shown.certified().identity.to_string());
        assert_eq!(answer_over_tls(&address, &greeting, shown), b"", "{identity:?}");
    }
    is_refusal(&answer_in_plain(&address, &greeting));
    let unknown = format!("windrow-shuffle/2 job {UNKNOWN}\n");
    for greeting in ["", &unknown, "GET / HTTP/1.1\r\n\r\n"] {
        assert_eq!(answer_over_tls(&address, greeting, Some(&own)), b"", "{greeting:?}");
        is_refusal(&answer_in_plain(&address, greeting));
    }
    for (gated, cluster, job) in [(gated, cluster, job), (other_gated, other, other_job)] {
        gated.open("map-go");
        gated.open("reduce-go");
        gated.finish(&cluster, job);
    }
}

/// Asserts that the answer is empty, or TLS's alert that this is not TLS.
fn is_refusal(answer: &[u8]) {
    assert!(answer.is_empty() || answer.starts_with(b"\x15\x03\x03"), "{answer:?}");
}

fn held_job_alone(cluster: &Cluster) -> (GatedJob, u64, usize) {
    let gated = GatedJob::new(1, 1_000, &["--reducers", "1"]);
    let job = gated.submit(cluster);
    gated.wait_for_maps(1);
    (gated, job, 0)
}

fn credentials_of_a_job() {
    let (cluster, other) = (secured(2), secured(1));
    let (gated, job, [worker, idle]) = held_job(&cluster);
    let identity = cluster.identity(job);
    let refused = |dialer: Dialer, job: JobIdentity| {
        let error = runtime().block_on(certify(&cluster.url, dialer, job)).err().unwrap();
        (error.code(), error.message().to_string())
    };
    let is_refused = |credentials: Credentials, job: JobIdentity, code: Code, text: &str| {
        let (found, message) = refused(as_member(credentials), job);
        assert!(found == code && message.contains(text), "{found:?}: {message}");
    };
    let nothing_to_do = "has nothing to do with";
    is_refused(worker_credentials(&cluster, idle), identity, Code::PermissionDenied, nothing_to_do);
    is_refused(
        worker_credentials(&cluster, worker),
        UNKNOWN,
        Code::PermissionDenied,
        nothing_to_do,
    );
    let enroll = |role: &str| {
        let token: JoinToken = cluster.token(role).parse().unwrap();
        let roles = [role.parse().unwrap()];
        runtime().block_on(windrow_security::enroll(&cluster.url, &token, &roles)).unwrap()
    };
    let submitter = enroll("submitter");
    is_refused(submitter, identity, Code::PermissionDenied, "may not call");
    let sessionless = enroll("worker");
    is_refused(sessionless, identity, Code::Unavailable, "has no session");
    // Without a certificate of this cluster, the handshake fails before any call.
    is_refused(worker_credentials(&other, 0), identity, Code::Unavailable, "");
    let authority = worker_credentials(&cluster, worker).authority().clone();
    let (code, message) = refused(Dialer::newcomer(authority), identity);
    assert_eq!(code, Code::Unauthenticated, "{message}");
    gated.open("map-go");
    gated.open("reduce-go");
    gated.finish(&cluster, job);
}

/// Its lease would last for long, but its map is redone elsewhere at once.
fn a_revoked_worker_is_lost() {
    let options = ClusterOptions { secured: true, lease: "600s", ..Default::default() };
    let cluster = GatedJob::cluster_with(2, options);
    let (gated, job, [worker, other]) = held_job(&cluster);
    gated.open("reduce-go");
    revoke(&cluster, &worker_credentials(&cluster, worker));
    eventually("the map at another worker", || {
        let processes = gated.map_processes();
        processes.iter().any(|process| cluster.worker_of(*process) == Some(other))
    });
    cluster.wait_for_workers(1);
    eventually("word of it", || cluster.workers[worker].stderr().contains("has been revoked"));
    gated.open("map-go");
    gated.finish(&cluster, job);
}

fn revoke(cluster: &Cluster, credentials: &Credentials) {
    let identity = &credentials.certified().identity;
    let line = format!("{}/{}\n", identity.role(), identity.name());
    fs::write(cluster.dir().join("security/revoked"), line).unwrap();
}

/// A user who watches a job is disconnected, too, and the job continues.
fn a_revoked_user_is_disconnected() {
    let cluster = secured(1);
    let user = cluster.dir().join("user");
    let token = cluster.token("submitter");
    let mut login = windrow(["login", "--coordinator", &cluster.url, "--token", &token]);
    login.arg("--credentials").arg(&user);
    Process::start(login).finish().expect_code(0);
    let gated = GatedJob::new(1, 1_000, &["--reducers", "1"]);
    let mut submit = windrow(["submit"]);
    submit.env("WINDROW_COORDINATOR", &cluster.url).env("WINDROW_CREDENTIALS", &user);
    submit.args(gated.arguments()).arg("--allow-write").arg(gated.dir.join("gates"));
    let submit = Process::start(submit);
    gated.wait_for_maps(1);
    revoke(&cluster, &load(&user));
    submit.finish().expect_code(1).expect_said("has been revoked");
    gated.open("map-go");
    gated.open("reduce-go");
    gated.finish(&cluster, 1);
}

/// The processes of a job outlive their first credentials, and fetch from each other afterwards.
fn renewed_in_processes() {
    let cluster = GatedJob::cluster_with(
        2,
        ClusterOptions {
            secured: true,
            own_hosts: true,
            certificate_lifetime: "10s",
            ..Default::default()
        },
    );
    let gated = GatedJob::new(4, 1_000, &["--reducers", "2"]);
    let job = gated.submit(&cluster);
    gated.wait_for_maps(4);
    let renewals = |n: usize| {
        let log = cluster.workers[n].stderr();
        log.matches("renewed a job's credentials").count()
    };
    // Each renewal comes after two thirds of a certificate's life, so after two the first
    // certificate has expired.
    eventually("two renewals on each worker", || renewals(0) >= 2 && renewals(1) >= 2);
    gated.open("map-go");
    gated.open("reduce-go");
    gated.finish(&cluster, job);
}
