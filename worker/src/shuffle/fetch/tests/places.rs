//! Where outputs are read: on this machine from their files, elsewhere by streams.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn outputs_of_another_host_are_streamed_and_merged() {
    // More outputs than one stream serves, and more pairs than one block holds.
    let (client, peer) = (Client::new(), Peer::new(70, 1000));
    client.fetcher.peers.insert(ADDRESS, IDENTITY, connect(peer.service()));
    let fetched = client.fetch(&[peer.outputs(70, "elsewhere")]).await.unwrap();
    assert!(fetched == peer.pairs, "{} of {} pairs", fetched.len(), peer.pairs.len());
    assert_eq!(client.memory.used_bytes(), 0, "all memory is released");
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_of_the_same_host_are_read_directly() {
    let (client, peer) = (Client::new(), Peer::new(3, 100));
    // Nobody listens at the address.
    assert_eq!(client.fetch(&[peer.outputs(3, "here")]).await.unwrap(), peer.pairs);
}

#[tokio::test(flavor = "multi_thread")]
async fn invisible_outputs_of_the_same_host_are_streamed() {
    let (client, peer) = (Client::new(), Peer::new(3, 100));
    client.fetcher.peers.insert(ADDRESS, IDENTITY, connect(peer.service()));
    let hidden = outputs(Path::new("/nonexistent"), 3, "here");
    assert_eq!(client.fetch(&[hidden]).await.unwrap(), peer.pairs);
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_outputs_of_the_same_host_are_streamed() {
    let (client, peer) = (Client::new(), Peer::new(3, 100));
    client.fetcher.peers.insert(ADDRESS, IDENTITY, connect(peer.service()));
    let folder = tempfile::tempdir().unwrap();
    // The file is a socket, which nobody can open.
    let path = segment_path(folder.path(), JobId(1), 0, 1);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(path).unwrap();
    let closed = outputs(folder.path(), 3, "here");
    assert_eq!(client.fetch(&[closed]).await.unwrap(), peer.pairs);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_the_same_host_are_read_and_outputs_in_its_memory_streamed() {
    let (client, mut peer) = (Client::new(), Peer::new(2, 50));
    client.fetcher.peers.insert(ADDRESS, IDENTITY, connect(peer.service()));
    let pairs: Vec<Pair> = vec![(vec![0], vec![1]), (vec![0xff], vec![2])];
    let mut buffer = RecordBuffer::new(8);
    for (key, value) in &pairs {
        crate::testing::push(&mut buffer, 3, key, value);
    }
    let account = Account::new(1 << 20);
    let segment =
        MemorySegment::new(vec![SortedBuffer::new(buffer)], Codec::None, account.reserve(0));
    peer.store.folder(JobId(1), IDENTITY).unwrap().hold(segment, 2, 1).unwrap().keep();
    peer.pairs.extend(pairs);
    peer.pairs.sort();
    assert_eq!(client.fetch(&[peer.outputs(3, "here")]).await.unwrap(), peer.pairs);
    peer.store.evict_largest().unwrap();
    assert_eq!(client.fetch(&[peer.outputs(3, "here")]).await.unwrap(), peer.pairs);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_of_more_runs_than_the_fan_in_is_streamed() {
    let (client, peer) = (Client::new(), Peer::new(0, 0));
    client.fetcher.peers.insert(ADDRESS, IDENTITY, connect(peer.service()));
    let folder = peer.store.folder(JobId(1), IDENTITY).unwrap();
    let segment = SegmentWriter::create(folder.scratch_path(), Codec::None, &owner(0, 1)).unwrap();
    let index = (0..300u16).map(|run| {
        let mut writer = segment.begin_run().partition(3);
        let (key, value) = ((run % 7).to_be_bytes().to_vec(), vec![run as u8]);
        writer.push(RecordRef { key: &key, value: &value }).unwrap();
        writer.finish(audit(&[(key, value)])).unwrap()
    });
    let index = index.collect();
    let (file, _) = segment.finish(index).unwrap();
    folder.publish(file, 0, 1).unwrap().keep();
    let mut expected: Vec<Pair> =
        (0..300u16).map(|run| ((run % 7).to_be_bytes().to_vec(), vec![run as u8])).collect();
    expected.sort();
    assert_eq!(client.fetch(&[peer.outputs(1, "elsewhere")]).await.unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn own_and_remote_outputs_are_read_together() {
    let (client, peer) = (Client::new(), Peer::new(2, 50));
    client.fetcher.peers.insert(ADDRESS, IDENTITY, connect(peer.service()));
    let mine = vec![(vec![0xff], vec![1]), (vec![0xff], vec![2])];
    leave_output(&client.fetcher.store, 9, 3, &mine);
    let own = WorkerOutputs {
        worker: WorkerId(1),
        shuffle_address: String::new(),
        outputs: vec![(9, 1)],
        ..peer.outputs(0, "here")
    };
    let fetched = client.fetch(&[own, peer.outputs(2, "elsewhere")]).await.unwrap();
    assert_eq!(fetched, [peer.pairs, mine].concat());
}
