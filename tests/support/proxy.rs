//! A TCP proxy that can stall, slow down, reset and refuse connections, in each direction.
//!
//! It never loses or changes a byte of a live connection, as TCP would not. A network cut that
//! heals is a stall that ends; one that does not ends with [`Proxy::reset`].

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A direction of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client.
    ToServer,
    /// To the client.
    ToClient,
}

/// Forwards connections until it is dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    server: SocketAddr,
    rules: Mutex<Rules>,
    changed: Condvar,
}

#[derive(Default)]
struct Rules {
    to_server: Flow,
    to_client: Flow,
    refusing: bool,
    closed: bool,
    connections: Vec<Connection>,
    accepted: usize,
    forwarded_to_client: u64,
}

/// What happens to bytes in one direction.
#[derive(Clone, Copy, Default)]
struct Flow {
    stalled: bool,
    /// Bytes that may pass before it stalls.
    bytes_left: Option<u64>,
    /// How long each chunk of up to [`PIECE`] bytes is delayed.
    delay: Duration,
    bytes_per_second: Option<u32>,
}

struct Connection {
    client: TcpStream,
    server: TcpStream,
}

/// Bytes forwarded at once.
const PIECE: usize = 16 * 1024;

impl Proxy {
    /// A proxy on a free port of this machine. It connects to `server` anew for each client.
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared =
            Arc::new(Shared { server, rules: Mutex::default(), changed: Condvar::default() });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accepting.accept(&listener));
        Self { address, shared }
    }

    /// The same, for a URL such as `http://127.0.0.1:7171`.
    pub fn to_url(url: &str) -> Self {
        Self::to(url.trim_start_matches("http://").parse().unwrap())
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many connections it has accepted so far, including refused ones.
    pub fn accepted(&self) -> usize {
        self.shared.rules().accepted
    }

    /// How many bytes have gone to clients.
    pub fn forwarded_to_client(&self) -> u64 {
        self.shared.rules().forwarded_to_client
    }

    /// Holds back all bytes in this direction, including those on their way, until [`Proxy::heal`].
    pub fn stall(&self, direction: Direction) {
        self.change(|rules| rules.flow(direction).stalled = true);
    }

    /// The same, once about this many more bytes have passed.
    pub fn stall_after(&self, direction: Direction, bytes: u64) {
        self.change(|rules| rules.flow(direction).bytes_left = Some(bytes));
    }

    /// Delays each chunk.
    pub fn delay(&self, direction: Direction, delay: Duration) {
        self.change(|rules| rules.flow(direction).delay = delay);
    }

    /// Limits the rate of each connection.
    pub fn throttle(&self, direction: Direction, bytes_per_second: u32) {
        self.change(|rules| rules.flow(direction).bytes_per_second = Some(bytes_per_second));
    }

    /// Closes new connections at once.
    pub fn refuse(&self) {
        self.change(|rules| rules.refusing = true);
    }

    /// Resets all open connections, whatever they carry. New ones are accepted.
    pub fn reset(&self) {
        self.change(Rules::end_connections);
    }

    /// Undoes all other faults: from now on, bytes pass.
    pub fn heal(&self) {
        self.change(|rules| {
            rules.to_server = Flow::default();
            rules.to_client = Flow::default();
            rules.refusing = false;
        });
    }

    fn change(&self, change: impl FnOnce(&mut Rules)) {
        change(&mut self.shared.rules());
        self.shared.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.change(|rules| {
            rules.closed = true;
            rules.end_connections();
        });
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
    }
}

impl Rules {
    fn flow(&mut self, direction: Direction) -> &mut Flow {
        match direction {
            Direction::ToServer => &mut self.to_server,
            Direction::ToClient => &mut self.to_client,
        }
    }

    fn end_connections(&mut self) {
        for connection in self.connections.drain(..) {
            let _ = connection.client.shutdown(Shutdown::Both);
            let _ = connection.server.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming() {
            let Ok(client) = client else { continue };
            let mut rules = self.rules();
            if rules.closed {
                return;
            }
            rules.accepted += 1;
            // Connecting on this machine is quick, so the lock may be held meanwhile.
            let server = (!rules.refusing).then(|| TcpStream::connect(self.server));
            let Some(Ok(server)) = server else { continue };
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            let (from_client, from_server) = (copy(&client), copy(&server));
            self.pump(Direction::ToServer, from_client, copy(&server));
            self.pump(Direction::ToClient, from_server, copy(&client));
            rules.connections.push(Connection { client, server });
        }
    }

    /// Forwards in a thread of its own until one side ends.
    fn pump(self: &Arc<Self>, direction: Direction, mut from: TcpStream, mut to: TcpStream) {
        let shared = Arc::clone(self);
        thread::spawn(move || {
            let mut piece = [0; PIECE];
            while let Ok(length @ 1..) = from.read(&mut piece) {
                shared.hold_back(direction, length);
                if to.write_all(&piece[..length]).is_err() {
                    break;
                }
                if direction == Direction::ToClient {
                    shared.rules().forwarded_to_client += length as u64;
                }
            }
            // The end of a stream is delayed, too.
            shared.hold_back(direction, 0);
            let _ = to.shutdown(Shutdown::Write);
        });
    }

    /// Returns when a chunk of `length` bytes may pass.
    fn hold_back(&self, direction: Direction, length: usize) {
        let start = Instant::now();
        let mut rules = self.rules();
        while !rules.closed {
            let flow = rules.flow(direction);
            let pace = flow.bytes_per_second.map_or(Duration::ZERO, |rate| {
                Duration::from_secs_f64(length as f64 / f64::from(rate.max(1)))
            });
            let left = (flow.delay + pace).saturating_sub(start.elapsed());
            let is_stalled =
                flow.stalled || flow.bytes_left.is_some_and(|bytes| bytes < length as u64);
            rules = if is_stalled {
                self.changed.wait(rules).unwrap_or_else(PoisonError::into_inner)
            } else if left.is_zero() {
                flow.bytes_left = flow.bytes_left.map(|bytes| bytes - length as u64);
                return;
            } else {
                self.changed.wait_timeout(rules, left).unwrap_or_else(PoisonError::into_inner).0
            };
        }
    }
}

fn copy(stream: &TcpStream) -> TcpStream {
    stream.try_clone().unwrap()
}
