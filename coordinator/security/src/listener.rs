//! Accepts connections, within [limits](crate::limits), and identifies their callers.
//!
//! ```text
//!  accept --> first byte --> handshake --> server --> first call of a member that is admitted
//!             at most FIRST_BYTE_TIME_MAX
//!             at most STRANGER_TIME_MAX in all, in a bounded number (admission, waiting_list)
//! ```

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout, timeout_at};
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::either::Either;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::transport::server::Connected;

use crate::access::Caller;
use crate::admission::{ConnectionAdmission, ConnectionGuard};
use crate::limits::{ConnectionLimits, FIRST_BYTE_TIME_MAX, HANDSHAKE_TIME_MAX, STRANGER_TIME_MAX};
use crate::waiting_list::{Progress, WaitingGuard};
use crate::{Certified, Origin, Refusals, Role, SecurityError, Tls, explain};

/// The pause after a connection could not be accepted.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// First byte of a TLS connection: a handshake record.
const TLS_HANDSHAKE: u8 = 22;

/// Accepts connections until the stream is dropped, with TLS if given.
pub fn listen(listener: TcpListener, tls: Option<Tls>) -> ReceiverStream<io::Result<Connection>> {
    let (ready, connections) = mpsc::channel(1);
    tokio::spawn(accept_all(listener, tls, ready));
    ReceiverStream::new(connections)
}

async fn accept_all(
    listener: TcpListener,
    tls: Option<Tls>,
    ready: mpsc::Sender<io::Result<Connection>>,
) {
    let admission = ConnectionAdmission::new(ConnectionLimits::of_this_process(), tls.is_some());
    let refusals = Refusals::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ready.closed() => return,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // An error of one connection, or too many open files, which may pass.
                refusals.say(|| tracing::warn!(%error, "cannot accept a connection"));
                sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        let guard = admission.arrive(from.ip()).await;
        let (tls, admission, ready, refusals) =
            (tls.clone(), admission.clone(), ready.clone(), refusals.clone());
        tokio::spawn(async move {
            let evicted = guard.evicted();
            let accepting = async {
                let connection =
                    Connection::accept(stream, tls.as_ref(), &admission, guard).await?;
                // If the server has ended, it has logged that.
                let _ = ready.send(Ok(connection)).await;
                Ok(())
            };
            let accepted = tokio::select! {
                accepted = accepting => accepted,
                () = evicted.cancelled() => Err(made_room()),
            };
            if let Err(error) = accepted {
                refusals.say(|| {
                    let from = from.ip();
                    tracing::info!(%from, reason = %explain(&error), "a connection was refused");
                });
            }
        });
    }
}

/// A connection whose caller is identified, as far as the listener asks for it.
pub struct Connection {
    io: Either<TcpStream, Box<TlsStream<TcpStream>>>,
    caller: Caller,
    /// Fires when the connection is to close. None between processes of a job, whose connections
    /// are short.
    shut_out: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// The deadline for the first admitted call; none after that call.
    first_call: Option<Pin<Box<Sleep>>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Connection {
    /// The server's side of a connection that has just been accepted. With a certificate, it waits
    /// among members, not among the connections of its address.
    async fn accept(
        stream: TcpStream,
        tls: Option<&Tls>,
        admission: &ConnectionAdmission,
        mut guard: WaitingGuard<IpAddr>,
    ) -> Result<Self, SecurityError> {
        let deadline = Instant::now() + STRANGER_TIME_MAX;
        stream.set_nodelay(true).map_err(failed)?;
        let first = timeout(FIRST_BYTE_TIME_MAX, first_byte(&stream)).await;
        let first = first.map_err(|_| malformed("the caller sent nothing"))??;
        guard.advance(Progress::Speaking);
        let (io, certified) = match tls {
            None => (Either::Left(stream), None),
            Some(_) if first != TLS_HANDSHAKE => {
                return Err(malformed("the caller does not speak TLS"));
            }
            Some(tls) => {
                let secured = timeout_at(deadline, tls.accept(stream)).await;
                let (stream, certified) = secured.map_err(|_| too_slow())??;
                (Either::Right(Box::new(stream)), certified)
            }
        };
        let guard = match &certified {
            Some(Certified { identity, .. }) if identity.role() == Role::Job => {
                return Err(malformed("a job's credentials are for other processes of the job"));
            }
            Some(Certified { identity, .. }) => admission.arrive_as(identity, guard).await,
            None => ConnectionGuard::Stranger(guard),
        };
        let evicted = guard.evicted();
        let shut_out = Some(Box::pin(evicted.clone().cancelled_owned()));
        let caller = Caller::at(certified, admission.waiting(guard), evicted);
        let first_call = Some(Box::pin(sleep_until(deadline)));
        Ok(Self { io, caller, shut_out, first_call, _permit: None })
    }

    /// The server's side of a connection between processes of one job, with that job's credentials.
    /// It holds its place in the waiting list until its handshake is done.
    ///
    /// # Errors
    /// When the handshake fails or takes too long, or the caller is not of the same job.
    pub async fn accept_same(
        stream: TcpStream,
        tls: Option<&Tls>,
        mut guard: WaitingGuard<IpAddr>,
    ) -> Result<Self, SecurityError> {
        let securing = async {
            first_byte(&stream).await?;
            guard.advance(Progress::Speaking);
            Ok::<_, SecurityError>(match tls {
                None => Either::Left(stream),
                Some(tls) => Either::Right(Box::new(tls.accept_same(stream).await?)),
            })
        };
        let io = timeout(HANDSHAKE_TIME_MAX, securing).await.map_err(|_| too_slow())??;
        // The other end has exactly the same identity.
        let caller = Caller::new(tls.map(Tls::certified));
        Ok(Self { io, caller, shut_out: None, first_call: None, _permit: None })
    }

    /// Keeps the permit for as long as the connection lasts.
    #[must_use]
    pub fn holding(self, permit: OwnedSemaphorePermit) -> Self {
        Self { _permit: Some(permit), ..self }
    }

    /// Ends a connection that is late or shut out. Checked before writes, too: a client that reads
    /// no answers keeps the server from reading.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if self.is_shut_out(context) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        if self.is_late(context) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }

    fn is_shut_out(&mut self, context: &mut Context<'_>) -> bool {
        self.shut_out.as_mut().is_some_and(|shut_out| shut_out.as_mut().poll(context).is_ready())
    }

    /// Whether the first call is overdue.
    fn is_late(&mut self, context: &mut Context<'_>) -> bool {
        let Some(deadline) = &mut self.first_call else { return false };
        if self.caller.was_admitted() {
            self.first_call = None;
            return false;
        }
        deadline.as_mut().poll(context).is_ready()
    }
}

/// Waits for the first byte without consuming it.
async fn first_byte(stream: &TcpStream) -> Result<u8, SecurityError> {
    let mut first = [0];
    match stream.peek(&mut first).await.map_err(failed)? {
        0 => Err(malformed("the caller hung up")),
        _ => Ok(first[0]),
    }
}

fn failed(error: io::Error) -> SecurityError {
    SecurityError::Malformed(error.to_string())
}

fn malformed(text: &str) -> SecurityError {
    SecurityError::Malformed(text.to_string())
}

fn too_slow() -> SecurityError {
    malformed("the handshake took too long")
}

fn made_room() -> SecurityError {
    malformed("it was evicted to make room for other connections")
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.comes_from(|| {
            Origin::of(match &self.io {
                Either::Left(stream) => stream,
                Either::Right(stream) => stream.get_ref().0,
            })
        });
        self.caller.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check(context)?;
        Pin::new(&mut this.io).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check(context)?;
        Pin::new(&mut this.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check(context)?;
        Pin::new(&mut this.io).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check(context)?;
        Pin::new(&mut this.io).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check(context)?;
        Pin::new(&mut this.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_stream::StreamExt;

    use super::*;

    /// A listener with one connection. The client is a blocking socket, so that what the kernel
    /// does takes no time on tokio's paused clock.
    async fn called() -> (std::net::TcpStream, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_nonblocking(true).unwrap();
        (client, listener)
    }

    /// A client that has sent a byte, and the server's side of the connection.
    async fn connected() -> (TcpStream, Connection) {
        let (mut client, listener) = called().await;
        client.write_all(&[1]).unwrap();
        let mut connections = listen(listener, None);
        let mut connection = connections.next().await.unwrap().unwrap();
        assert_eq!(connection.read_u8().await.unwrap(), 1);
        (TcpStream::from_std(client).unwrap(), connection)
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_call_is_closed() {
        let (_client, mut connection) = connected().await;
        let error = connection.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(connection.write_u8(1).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_is_closed_after_the_first_byte_time() {
        let (client, listener) = called().await;
        let mut silent = TcpStream::from_std(client).unwrap();
        let began = Instant::now();
        let _connections = listen(listener, None);
        assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(began.elapsed().as_secs(), FIRST_BYTE_TIME_MAX.as_secs());
    }

    #[tokio::test]
    async fn the_connection_of_a_caller_that_is_shut_out_is_closed() {
        let (mut client, mut connection) = connected().await;
        connection.caller.admit().unwrap();
        let caller = connection.caller.downgrade();
        let shut_out = async { caller.upgrade().unwrap().shut_out() };
        // The read is already pending when the caller is shut out.
        let (read, ()) = tokio::join!(connection.read_u8(), shut_out);
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        drop(connection);
        assert!(caller.upgrade().is_none());
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_connection_with_an_admitted_call_stays_open() {
        let (mut caller, mut connection) = connected().await;
        connection.caller.admit().unwrap();
        tokio::time::pause();
        tokio::time::advance(STRANGER_TIME_MAX * 2).await;
        caller.write_u8(7).await.unwrap();
        assert_eq!(connection.read_u8().await.unwrap(), 7);
    }
}
