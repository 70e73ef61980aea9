//! Messages over a local stream: each is its length, four bytes little endian, and then its
//! Protobuf encoding.

use std::io;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;

use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

/// Longest message to a process. The list of a job's map outputs takes a few bytes for each of up
/// to a million outputs.
pub(crate) const TO_CHILD_BYTES_MAX: usize = 64 << 20;

/// Longest message from a process: the worker passes it on, and it must fit the coordinator's
/// limit. Texts from user code are cut before they are sent.
pub(crate) const FROM_CHILD_BYTES_MAX: usize = 1 << 20;

/// Receives messages of one type.
pub(crate) struct MessageReader<M> {
    stream: BufReader<OwnedReadHalf>,
    bytes_max: usize,
    kind: PhantomData<fn() -> M>,
}

/// Sends messages of one type.
pub(crate) struct MessageWriter<M> {
    stream: OwnedWriteHalf,
    buffer: Vec<u8>,
    kind: PhantomData<fn(M)>,
}

/// Two connected streams; the second is for another process.
pub(crate) fn stream_pair() -> io::Result<(UnixStream, OwnedFd)> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    Ok((UnixStream::from_std(ours)?, theirs.into()))
}

/// The two directions of a stream; received messages have at most `bytes_max`.
pub(crate) fn split<R, W>(
    stream: UnixStream,
    bytes_max: usize,
) -> (MessageReader<R>, MessageWriter<W>) {
    let (reader, writer) = stream.into_split();
    let reader = MessageReader { stream: BufReader::new(reader), bytes_max, kind: PhantomData };
    (reader, MessageWriter { stream: writer, buffer: Vec::new(), kind: PhantomData })
}

impl<M: Message + Default> MessageReader<M> {
    /// The next message; `None` when the other side has closed the stream. Not cancel safe.
    pub(crate) async fn next(&mut self) -> io::Result<Option<M>> {
        let bytes = match self.stream.read_u32_le().await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            bytes => bytes? as usize,
        };
        if bytes > self.bytes_max {
            let message = format!("a message of {bytes} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        // Grows with the bytes that arrive, not to the announced length.
        let mut message = Vec::new();
        (&mut self.stream).take(bytes as u64).read_to_end(&mut message).await?;
        if message.len() < bytes {
            return Ok(None);
        }
        M::decode(&*message).map(Some).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
    }
}

impl<M: Message> MessageWriter<M> {
    /// Sends a message. Not cancel safe.
    pub(crate) async fn send(&mut self, message: &M) -> io::Result<()> {
        self.buffer.clear();
        self.buffer.extend_from_slice(&(message.encoded_len() as u32).to_le_bytes());
        message.encode(&mut self.buffer).map_err(io::Error::other)?;
        self.stream.write_all(&self.buffer).await
    }
}

#[cfg(test)]
mod tests {
    use windrow_proto::v1;

    use super::*;

    fn attempt(task: u32) -> v1::AttemptId {
        v1::AttemptId { job: u64::MAX, stage: 1, task, attempt: 1 }
    }

    #[tokio::test]
    async fn messages_arrive_whole_and_in_order() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (_, mut writer) = split::<v1::AttemptId, v1::AttemptId>(ours, 100);
        let (mut reader, _) = split::<v1::AttemptId, v1::AttemptId>(theirs, 100);
        for task in [0, 7, u32::MAX] {
            writer.send(&attempt(task)).await.unwrap();
        }
        drop(writer);
        for task in [0, 7, u32::MAX] {
            assert_eq!(reader.next().await.unwrap(), Some(attempt(task)));
        }
        assert_eq!(reader.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn malformed_messages_are_refused() {
        for (bytes, is_error) in [
            (&[1, 0][..], false),
            (&[9, 0, 0, 0, 8], false),
            (&[2, 0, 0, 0, 0xff, 0xff], true),
            (&[101, 0, 0, 0, 0], true),
        ] {
            let (mut ours, theirs) = UnixStream::pair().unwrap();
            let (mut reader, _) = split::<v1::AttemptId, v1::AttemptId>(theirs, 100);
            ours.write_all(bytes).await.unwrap();
            drop(ours);
            assert_eq!(reader.next().await.is_err(), is_error, "{bytes:?}");
        }
    }
}
