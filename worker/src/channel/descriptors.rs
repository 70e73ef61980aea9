//! A socket that carries only descriptors, one with each message.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::cmsg_space;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::io::Interest;
use tokio::net::UnixStream;

use super::messages::stream_pair;

/// A descriptor must travel with at least one byte.
const PAYLOAD: [u8; 1] = [0];

/// The sending end.
pub(crate) struct Descriptors {
    socket: UnixStream,
}

/// Both ends. The second is for another process, which receives with [`receive_descriptor`].
pub(crate) fn descriptor_pair() -> io::Result<(Descriptors, OwnedFd)> {
    let (socket, theirs) = stream_pair()?;
    Ok((Descriptors { socket }, theirs))
}

impl Descriptors {
    /// Sends a copy of `descriptor`; waits while the other side's queue is full. Cancel safe.
    pub(crate) async fn send(&self, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        self.socket.async_io(Interest::WRITABLE, || send(self.socket.as_fd(), descriptor)).await
    }
}

fn send(socket: BorrowedFd<'_>, descriptor: BorrowedFd<'_>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [descriptor];
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(socket, &[IoSlice::new(&PAYLOAD)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Waits for the next descriptor; `None` when the other end is closed. Blocks.
pub(crate) fn receive_descriptor(socket: impl AsFd) -> io::Result<Option<OwnedFd>> {
    let mut payload = PAYLOAD;
    loop {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut buffers = [IoSliceMut::new(&mut payload)];
        let received = match recvmsg(&socket, &mut buffers, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => continue,
            received => received?,
        };
        if received.bytes == 0 {
            return Ok(None);
        }
        let descriptor = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        if descriptor.is_some() {
            return Ok(descriptor);
        }
        // The message came without its descriptor: this process has no free descriptors. The kernel
        // has closed it, and the sender will notice.
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};

    use super::*;

    #[tokio::test]
    async fn descriptors_arrive_in_order_and_then_the_end() {
        let (sender, receiver) = descriptor_pair().unwrap();
        let mut readers = Vec::new();
        for _ in 0..3 {
            let (reader, writer) = io::pipe().unwrap();
            sender.send(writer.as_fd()).await.unwrap();
            readers.push(reader);
        }
        drop(sender);
        let mut count = 0u8;
        while let Some(descriptor) = receive_descriptor(&receiver).unwrap() {
            File::from(descriptor).write_all(&[count]).unwrap();
            count += 1;
        }
        let all = readers.iter_mut().map(|reader| {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).unwrap();
            all
        });
        assert_eq!(all.collect::<Vec<_>>(), [[0], [1], [2]], "each in its own pipe, and closed");
    }

    #[tokio::test]
    async fn sending_to_a_closed_socket_fails() {
        let (sender, receiver) = descriptor_pair().unwrap();
        drop(receiver);
        assert!(sender.send(io::stdin().as_fd()).await.is_err());
    }
}
