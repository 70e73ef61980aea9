//! Expired leases, of either end.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_without_a_lease_is_asked_until_it_has_one() {
    let (mut client, peer) = (Client::new(), Peer::new(2, 10));
    client.fetcher.timeouts.stall = Duration::from_secs(600);
    let identity = Arc::new(Identity::default());
    identity.set(CLUSTER, PEER, Instant::now());
    client.fetcher.peers.insert(ADDRESS, IDENTITY, connect(peer.service_of(&identity)));
    let outputs = [peer.outputs(2, "elsewhere")];
    let fetch = client.fetch(&outputs);
    tokio::pin!(fetch);
    let early = tokio::time::timeout(Duration::from_millis(50), &mut fetch).await;
    assert!(early.is_err(), "nothing is served without a lease");
    identity.renew(in_an_hour());
    assert_eq!(fetch.await.unwrap(), peer.pairs);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_gets_no_lease_times_out() {
    let (mut client, peer) = (Client::impatient(), Peer::new(2, 10));
    client.fetcher.timeouts.connect = Duration::from_millis(300);
    let identity = Arc::new(Identity::default());
    identity.set(CLUSTER, PEER, Instant::now());
    client.fetcher.peers.insert(ADDRESS, IDENTITY, connect(peer.service_of(&identity)));
    let failure = client.fetch(&[peer.outputs(2, "elsewhere")]).await.unwrap_err();
    let (task, message) = blamed(failure);
    assert_eq!(task, 0);
    assert!(message.contains("no answer from peer:1 within 0.4 s"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn time_without_a_lease_of_its_own_does_not_count_against_a_peer() {
    let client = Client::impatient();
    client.fetcher.identity.renew(Instant::now());
    let stalled = Scripted { ends: false, ..Scripted::new(vec![vec![block()]]) };
    let fetch = fetch_scripted(&client, stalled);
    tokio::pin!(fetch);
    // Longer than a stream may stall.
    let early = tokio::time::timeout(3 * client.fetcher.timeouts.stall, &mut fetch).await;
    assert!(early.is_err(), "{early:?}");
    client.fetcher.identity.renew(in_an_hour());
    let (_, message) = blamed(fetch.await.unwrap_err());
    assert!(message.contains("no answer from peer:1 within 0.1 s"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_break_while_this_worker_has_no_lease_blame_nobody() {
    let client = Client::impatient();
    client.fetcher.identity.renew(Instant::now());
    // Both the first and the second stream break off: with a lease, that would be one too many.
    let end = Message::End(FetchEnd { records: 1, digest: 0 });
    let (whole, cut) = (vec![block(), end], vec![block()]);
    let fetch = fetch_scripted(&client, Scripted::new(vec![cut.clone(), cut, whole]));
    tokio::pin!(fetch);
    let early = tokio::time::timeout(3 * client.fetcher.timeouts.stall, &mut fetch).await;
    assert!(early.is_err(), "{early:?}");
    client.fetcher.identity.renew(in_an_hour());
    assert_eq!(fetch.await.unwrap().len(), 1);
}
