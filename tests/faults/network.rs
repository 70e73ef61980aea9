//! The connection between a worker and the coordinator is cut one way, while workers still reach
//! each other.

use std::time::Duration;

use hyper_util::rt::TokioIo;
use libtest_mimic::Trial;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tonic::transport::Endpoint;
use tonic::{Code, Status};
use windrow_proto::v1::fetch_call::Message as Call;
use windrow_proto::v1::shuffle_client::ShuffleClient;
use windrow_proto::v1::{FetchCall, FetchRequest};

use super::gated_job::GatedJob;
use crate::support::{Cluster, ClusterOptions, Direction, Proxy, case, eventually};

pub fn tests() -> Vec<Trial> {
    vec![
        case("faults::network::not_heard_in_map", || cut_in_map(Direction::ToServer)),
        case("faults::network::does_not_hear_in_map", || cut_in_map(Direction::ToClient)),
        case("faults::network::not_heard_in_reduce", || cut_in_reduce(Direction::ToServer)),
        case("faults::network::does_not_hear_in_reduce", || cut_in_reduce(Direction::ToClient)),
        case("faults::network::short_cut", short_cut),
        case("faults::network::refused", refused),
        case("faults::network::slow", slow_network),
    ]
}

/// Two workers; the first reaches the coordinator through the proxy.
fn cluster(lease: &'static str) -> (Cluster, Proxy) {
    let mut cluster = GatedJob::cluster_with(0, ClusterOptions { lease, ..Default::default() });
    let proxy = Proxy::to_url(&cluster.url);
    cluster.add_worker_at(&proxy.url(), &[]);
    cluster.add_worker();
    cluster.wait_for_workers(2);
    (cluster, proxy)
}

/// The worker's lease expires: it serves nothing, and its maps run elsewhere. It joins again after
/// the cut, and nothing that it did meanwhile counts.
fn cut_in_map(direction: Direction) {
    let gated = GatedJob::new(4, 1_000, &[]);
    gated.open("reduce-go");
    let (cluster, proxy) = cluster("1s");
    let job = gated.submit(&cluster);
    gated.wait_for_maps(4);
    let cut = Fetcher::of(&cluster, 0);
    assert_eq!(cut.fetch().err(), None);
    proxy.stall(direction);
    cluster.wait_for_workers(1);
    assert_eq!(cut.fetch().err(), Some((Code::Unavailable, b"lease".to_vec())));
    maps_are_done_elsewhere(&gated, &cluster, &proxy, job);
}

/// The same after the worker has run its maps and reduces: both run again elsewhere.
fn cut_in_reduce(direction: Direction) {
    let gated = GatedJob::new(4, 1_000, &["--reducers", "2"]);
    let (cluster, proxy) = cluster("1s");
    let job = gated.submit(&cluster);
    gated.wait_for_maps(4);
    gated.open("map-go");
    eventually("reduces on both workers", || gated.reduce_processes().len() == 2);
    proxy.stall(direction);
    cluster.wait_for_workers(1);
    gated.open("reduce-go");
    let status = gated.finish(&cluster, job);
    assert_eq!(status["map"]["lost"], 2, "{status}");
    assert_eq!(status["reduce"]["lost"], 1, "{status}");
    proxy.heal();
    joins_again(&cluster);
    gated.check_output();
}

/// Shorter than the lease: a broken connection costs nothing.
fn short_cut() {
    let gated = GatedJob::new(4, 1_000, &[]);
    gated.open("reduce-go");
    let (cluster, proxy) = cluster("10s");
    let job = gated.submit(&cluster);
    gated.wait_for_maps(4);
    proxy.reset();
    gated.open("map-go");
    let status = gated.finish(&cluster, job);
    assert!(proxy.accepted() > 1);
    assert_eq!(status["map"]["attempts"], 4, "{status}");
    assert_eq!(status["map"]["lost"], 0, "{status}");
}

/// A broken connection that cannot be made again: the worker is lost long before its lease expires.
fn refused() {
    let gated = GatedJob::new(4, 1_000, &[]);
    gated.open("reduce-go");
    let (cluster, proxy) = cluster("10m");
    let job = gated.submit(&cluster);
    gated.wait_for_maps(4);
    proxy.refuse();
    proxy.reset();
    cluster.wait_for_workers(1);
    maps_are_done_elsewhere(&gated, &cluster, &proxy, job);
}

/// All messages between a worker and the coordinator are late: nothing runs twice.
fn slow_network() {
    let gated = GatedJob::new(4, 1_000, &["--reducers", "2"]);
    gated.open("map-go");
    gated.open("reduce-go");
    let (cluster, proxy) = cluster("10s");
    for direction in [Direction::ToServer, Direction::ToClient] {
        proxy.delay(direction, Duration::from_millis(150));
    }
    let job = gated.submit(&cluster);
    let status = gated.finish(&cluster, job);
    assert_eq!(status["map"]["attempts"], 4, "{status}");
    assert_eq!(status["reduce"]["attempts"], 2, "{status}");
}

/// The maps of the worker that is cut off run on the other; when it is back, nothing that it did
/// counts.
fn maps_are_done_elsewhere(gated: &GatedJob, cluster: &Cluster, proxy: &Proxy, job: u64) {
    gated.open("map-go");
    let status = gated.finish(cluster, job);
    assert_eq!(status["map"]["lost"], 2, "{status}");
    assert_eq!(status["map"]["attempts"], 6, "{status}");
    proxy.heal();
    joins_again(cluster);
    gated.check_output();
}

/// The worker is back, and runs tasks.
fn joins_again(cluster: &Cluster) {
    cluster.wait_for_workers(2);
    let gated = GatedJob::new(4, 1_000, &[]);
    gated.open("reduce-go");
    let job = gated.submit(cluster);
    eventually("maps on two workers", || gated.map_processes().len() == 2);
    gated.open("map-go");
    let status = gated.finish(cluster, job);
    assert_eq!(status["map"]["attempts"], 4, "{status}");
}

/// A peer that asks one worker for no outputs of the first job, by the worker's current id.
struct Fetcher {
    address: String,
    greeting: String,
    request: FetchRequest,
    runtime: Runtime,
}

impl Fetcher {
    fn of(cluster: &Cluster, worker: usize) -> Self {
        let member = cluster.member(worker);
        let address = member["shuffle_address"].as_str().unwrap().to_string();
        let job = cluster.identity(1);
        let request = FetchRequest {
            worker: member["id"].as_u64().unwrap(),
            job: job.to_bytes().to_vec().into(),
            ..Default::default()
        };
        let greeting = format!("windrow-shuffle/2 job {job}\n");
        let mut fetcher = Self { address, greeting, request, runtime: Runtime::new().unwrap() };
        // A caller that names another cluster is told the name of this one.
        let refusal = fetcher.ask().unwrap_err();
        let name = refusal.message().rsplit(' ').next().unwrap();
        fetcher.request.cluster = name.to_string();
        fetcher
    }

    /// The code and details of the error.
    fn fetch(&self) -> Result<(), (Code, Vec<u8>)> {
        self.ask().map_err(|status| (status.code(), status.details().to_vec()))
    }

    fn ask(&self) -> Result<(), Status> {
        self.runtime.block_on(async {
            let (address, greeting) = (self.address.clone(), self.greeting.clone());
            let connect = tower::service_fn(move |_| {
                let (address, greeting) = (address.clone(), greeting.clone());
                async move {
                    let mut connection = TcpStream::connect(address).await?;
                    connection.write_all(greeting.as_bytes()).await?;
                    Ok::<_, std::io::Error>(TokioIo::new(connection))
                }
            });
            let worker = Endpoint::from_static("http://worker");
            let channel = worker.connect_with_connector(connect).await;
            let mut client = ShuffleClient::new(channel.unwrap());
            let call = FetchCall { message: Some(Call::Request(self.request.clone())) };
            client.fetch(tokio_stream::once(call)).await.map(drop)
        })
    }
}
