//! Outputs that are missing, broken, or another attempt's: the failure names them.

use super::*;

/// A sound file in place of another: only its header shows the difference. A reader on the same
/// host finds out, or the holder, which tells the reader.
#[tokio::test(flavor = "multi_thread")]
async fn the_output_of_another_map_or_job_is_refused() {
    let other_job = tempfile::tempdir().unwrap();
    let store = SegmentStore::new(other_job.path().into(), 0);
    let folder = store.folder(JobId(1), JobIdentity(5)).unwrap();
    let owner = folder.owner(StageId::MAP, 1, 1);
    let segment = SegmentWriter::create(folder.scratch_path(), Codec::None, &owner).unwrap();
    let (file, _) = segment.finish(Vec::new()).unwrap();
    folder.publish(file, 1, 1).unwrap().keep();
    for host in ["here", "elsewhere"] {
        for is_other_job in [true, false] {
            let (client, peer) = (Client::new(), Peer::new(3, 100));
            client.fetcher.peers.insert(ADDRESS, IDENTITY, connect(peer.service()));
            let foreign = match is_other_job {
                true => store.segment_path(JobId(1), 1, 1),
                false => peer.segment(2),
            };
            std::fs::copy(foreign, peer.segment(1)).unwrap();
            let failure = client.fetch(&[peer.outputs(3, host)]).await.unwrap_err();
            let (task, message) = blamed(failure);
            let of = if is_other_job { "task 1 of job 0000" } else { "task 2 of job 0123" };
            let expected = format!("the file has the pairs of attempt 1 of map {of}");
            assert!(task == 1 && message.contains(&expected), "{host}: {task}: {message}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_without_outputs_on_the_peer_is_named() {
    let (client, peer) = (Client::new(), Peer::new(2, 10));
    let other = JobIdentity(5);
    client.fetcher.peers.insert(ADDRESS, other, connect(peer.service()));
    let failure = client.fetch_of(other, &[peer.outputs(2, "elsewhere")]).await.unwrap_err();
    let (task, message) = blamed(failure);
    assert!(task == 0 && message.contains(&format!("the outputs of job {other}")), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_or_broken_output_is_named_whether_local_or_remote() {
    for host in ["here", "elsewhere"] {
        let (client, peer) = (Client::new(), Peer::new(3, 100));
        client.fetcher.peers.insert(ADDRESS, IDENTITY, connect(peer.service()));
        let path = peer.segment(1);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[80] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let failure = client.fetch(&[peer.outputs(3, host)]).await.unwrap_err();
        let (task, message) = blamed(failure);
        assert_eq!(task, 1);
        assert!(message.contains("map-00001.1.segment is corrupt at byte 44"), "{message}");
        std::fs::remove_file(path).unwrap();
        let failure = client.fetch(&[peer.outputs(3, host)]).await.unwrap_err();
        let (task, message) = blamed(failure);
        assert_eq!(task, 1);
        assert!(message.contains("No such file"), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_refuses_fetches_meant_for_another() {
    let (client, peer) = (Client::new(), Peer::new(2, 10));
    client.fetcher.peers.insert(
        ADDRESS,
        IDENTITY,
        connect(peer.service_of(&identity(WorkerId(6)))),
    );
    let failure = client.fetch(&[peer.outputs(2, "elsewhere")]).await.unwrap_err();
    let (task, message) = blamed(failure);
    assert_eq!(task, 0);
    assert!(
        message.contains("worker-5 of cluster c was meant, but this is worker-6 of cluster c"),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_worker_fails_its_first_output() {
    let client = Client::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gone = WorkerOutputs {
        shuffle_address: free.to_string(),
        outputs: vec![(4, 1), (2, 1)],
        ..outputs(Path::new("/nonexistent"), 0, "elsewhere")
    };
    let (task, message) = blamed(client.fetch(&[gone]).await.unwrap_err());
    assert_eq!(task, 4);
    assert!(message.contains(&free.to_string()) && message.contains("refused"), "{message}");
}
