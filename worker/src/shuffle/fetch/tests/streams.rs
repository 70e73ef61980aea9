//! Streams that break, stall, or are incomplete.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_incomplete_stream_is_never_taken_for_complete() {
    let end = |records| Message::End(FetchEnd { records, digest: 0 });
    let whole = Scripted::new(vec![vec![block(), end(1)]]);
    assert_eq!(fetch_scripted(&Client::new(), whole).await.unwrap().len(), 1);
    let broken = Message::Block(vec![0xff; 30].into());
    let scripts = [
        (vec![block()], "cut short"),
        (vec![], "cut short"),
        (vec![block(), end(2)], "1 of 2 pairs arrived"),
        (vec![broken, end(1)], "malformed"),
    ];
    for (messages, expected) in scripts {
        let failure = fetch_scripted(&Client::new(), Scripted::new(vec![messages])).await;
        let (task, message) = blamed(failure.unwrap_err());
        assert_eq!(task, 0);
        assert!(message.contains(expected), "{message}");
    }
}

fn block_of(pairs: &[Pair]) -> Message {
    let mut builder = BlockBuilder::new(Codec::None, 1 << 16);
    for (key, value) in pairs {
        assert!(builder.push(RecordRef { key, value }).unwrap());
    }
    builder.finish();
    Message::Block(builder.take().into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_once_resumes() {
    let pairs: Vec<Pair> = (0..40u8).map(|n| (vec![n], vec![n])).collect();
    let end = || {
        let Audit { records, digest } = audit(&pairs);
        Message::End(FetchEnd { records, digest })
    };
    let damaged = || match block_of(&pairs[10..]) {
        Message::Block(block) => {
            let mut bytes = block.to_vec();
            bytes[50] ^= 4;
            Message::Block(bytes.into())
        }
        other => other,
    };
    // Blocks need not end where they did before.
    let second =
        vec![block_of(&pairs[..4]), block_of(&pairs[4..25]), block_of(&pairs[25..]), end()];
    for first in [
        vec![],
        vec![block_of(&pairs[..10])],
        vec![block_of(&pairs[..10]), damaged(), end()],
        vec![block_of(&pairs[..10]), end()],
        vec![block_of(&pairs[..10]), block_of(&pairs[10..39]), end()],
    ] {
        let client = Client::new();
        let fetched = fetch_scripted(&client, Scripted::new(vec![first, second.clone()])).await;
        assert_eq!(fetched.unwrap(), pairs);
        assert_eq!(client.memory.used_bytes(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_stream_times_out() {
    let stalled = Scripted { ends: false, ..Scripted::new(vec![vec![block()]]) };
    let (task, message) = blamed(fetch_scripted(&Client::impatient(), stalled).await.unwrap_err());
    assert_eq!(task, 0);
    assert!(message.contains("no answer from peer:1 within 0.1 s"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cancellation_ends_a_waiting_fetch() {
    let mut client = Client::new();
    client.fetcher.timeouts.stall = Duration::from_secs(600);
    let cancel = client.cancel.clone();
    let waiting = Scripted { ends: false, ..Scripted::new(vec![vec![block()]]) };
    let (fetched, ()) =
        tokio::join!(fetch_scripted(&client, waiting), async move { cancel.cancel() });
    assert_eq!(fetched.unwrap_err(), FailureCause::Cancelled);
}
