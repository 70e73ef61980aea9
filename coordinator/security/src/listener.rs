//! Accepts connections, within [limits](crate::limits), and finds out who has called.
//!
//! ```text
//!  kernel's queue --> accept --> handshake, HANDSHAKES_MAX at once --> server --> first call that is admitted
//!                                 at most HANDSHAKE_TIME_MAX                      at most FIRST_CALL_TIME_MAX
//! ```

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::either::Either;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::transport::server::Connected;

use crate::access::Caller;
use crate::limits::{CONNECTIONS_MAX, FIRST_CALL_TIME_MAX, HANDSHAKE_TIME_MAX, HANDSHAKES_MAX};
use crate::{Origin, SecurityError, Tls, explain};

/// First byte of a TLS connection: a handshake record.
const TLS_HANDSHAKE: u8 = 22;

/// Accepts connections until the stream is dropped, with TLS if there is any.
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
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = accept_one(&listener, &handshakes) => accepted,
            () = ready.closed() => return,
        };
        let Some((stream, handshake)) = accepted else { continue };
        let Ok(permit) = Arc::clone(&connections).try_acquire_owned() else {
            tracing::warn!("{CONNECTIONS_MAX} connections are open; another one was closed");
            continue;
        };
        let (tls, ready) = (tls.clone(), ready.clone());
        tokio::spawn(async move {
            match Connection::accept(stream, tls.as_ref()).await {
                Ok(connection) => {
                    let _ =
                        ready.send(Ok(Connection { _permit: Some(permit), ..connection })).await;
                }
                Err(error) => tracing::info!(reason = %explain(&error), "a connection was refused"),
            }
            drop(handshake);
        });
    }
}

async fn accept_one(
    listener: &TcpListener,
    handshakes: &Arc<Semaphore>,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let handshake = Arc::clone(handshakes).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, handshake)),
        Err(error) => {
            // Of one connection, or too many open files: then another moment may be better.
            tracing::warn!(%error, "cannot accept a connection");
            sleep(std::time::Duration::from_millis(100)).await;
            None
        }
    }
}

/// A connection whose caller is known, as far as it is to be.
pub struct Connection {
    io: Either<TcpStream, Box<TlsStream<TcpStream>>>,
    caller: Caller,
    /// When the caller is not wanted any more. None among the processes of a job, which only come
    /// and go.
    shut_out: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// Until the first call is admitted: when it is too late for one.
    first_call: Option<Pin<Box<Sleep>>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Connection {
    /// The server's side of a connection.
    ///
    /// # Errors
    /// When the handshake fails or takes too long.
    pub async fn accept(stream: TcpStream, tls: Option<&Tls>) -> Result<Self, SecurityError> {
        let failed = |error: io::Error| SecurityError::Malformed(error.to_string());
        stream.set_nodelay(true).map_err(failed)?;
        let secured = async {
            let Some(tls) = tls else { return Ok((Either::Left(stream), None)) };
            let mut first = [0];
            if stream.peek(&mut first).await.map_err(failed)? == 1 && first != [TLS_HANDSHAKE] {
                return Err(SecurityError::Malformed("the caller does not speak TLS".to_string()));
            }
            let (stream, caller) = tls.accept(stream).await?;
            Ok((Either::Right(Box::new(stream)), caller))
        };
        let secured = timeout(HANDSHAKE_TIME_MAX, secured).await;
        let (io, certified) = secured.map_err(|_| too_slow())??;
        let first_call = Some(Box::pin(sleep(FIRST_CALL_TIME_MAX)));
        let caller = Caller::new(certified);
        let shut_out = Some(Box::pin(caller.shutting_out().cancelled_owned()));
        Ok(Self { io, caller, shut_out, first_call, _permit: None })
    }

    /// The server's side of a connection between processes of one job, whose credentials these are.
    ///
    /// # Errors
    /// When the handshake fails or takes too long, or the caller is not of that job.
    pub async fn accept_same(stream: TcpStream, tls: Option<&Tls>) -> Result<Self, SecurityError> {
        let io = match tls {
            None => Either::Left(stream),
            Some(tls) => {
                let secured = timeout(HANDSHAKE_TIME_MAX, tls.accept_same(stream)).await;
                Either::Right(Box::new(secured.map_err(|_| too_slow())??))
            }
        };
        let caller = Caller::default();
        Ok(Self { io, caller, shut_out: None, first_call: None, _permit: None })
    }

    fn is_shut_out(&mut self, context: &mut Context<'_>) -> bool {
        self.shut_out.as_mut().is_some_and(|shut_out| shut_out.as_mut().poll(context).is_ready())
    }

    /// Whether the time for the first call is over.
    fn is_late(&mut self, context: &mut Context<'_>) -> bool {
        let Some(deadline) = &mut self.first_call else { return false };
        if self.caller.was_admitted() {
            self.first_call = None;
            return false;
        }
        deadline.as_mut().poll(context).is_ready()
    }
}

fn too_slow() -> SecurityError {
    SecurityError::Malformed("the handshake took too long".to_string())
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
        if this.is_shut_out(context) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if this.is_late(context) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut this.io).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_stream::StreamExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_call_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut connections = listen(listener, None);
        let _silent = TcpStream::connect(address).await.unwrap();
        let mut connection = connections.next().await.unwrap().unwrap();
        let error = connection.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_caller_that_is_shut_out_has_no_connection_any_more() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut connections = listen(listener, None);
        let mut client = TcpStream::connect(address).await.unwrap();
        let mut connection = connections.next().await.unwrap().unwrap();
        connection.caller.admit();
        let caller = connection.caller.downgrade();
        let shut_out = async { caller.upgrade().unwrap().shut_out() };
        // It waits already when that happens.
        let (read, ()) = tokio::join!(connection.read_u8(), shut_out);
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        drop(connection);
        assert!(caller.upgrade().is_none());
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_connection_with_a_call_stays() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut connections = listen(listener, None);
        let mut caller = TcpStream::connect(address).await.unwrap();
        let mut connection = connections.next().await.unwrap().unwrap();
        connection.caller.admit();
        tokio::time::pause();
        tokio::time::advance(FIRST_CALL_TIME_MAX * 2).await;
        caller.write_u8(7).await.unwrap();
        assert_eq!(connection.read_u8().await.unwrap(), 7);
    }
}
