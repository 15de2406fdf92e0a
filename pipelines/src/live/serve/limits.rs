//! A listener that takes only so many connections, and ends those on which nothing happens.

use super::lock;
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// After an error of `accept`, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// What a listener lets happen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Most {
    /// Connections that are open at once; further ones wait.
    pub(super) connections: usize,
    /// Of those, from one address of the network; further ones are closed, so that nobody can take
    /// all. Loopback has no such limit: a web server before this one is everybody.
    pub(super) of_one_peer: usize,
    /// From the first byte of a request until an answer begins, between two pieces of an answer, and
    /// between two requests.
    pub(super) patience: Duration,
}

/// See the module's text.
pub(super) struct Limited {
    listener: TcpListener,
    room: Arc<Semaphore>,
    peers: Arc<Peers>,
    most: Most,
}

impl Limited {
    pub(super) fn new(listener: TcpListener, most: Most) -> Self {
        Self {
            listener,
            room: Arc::new(Semaphore::new(most.connections)),
            peers: Arc::default(),
            most,
        }
    }

    /// The next connection, once there is room for one.
    pub(super) async fn accept(&self) -> Connection {
        loop {
            // Never closed: an error cannot happen, and would only mean to try again.
            let Ok(place) = Arc::clone(&self.room).acquire_owned().await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let Ok((stream, peer)) = self.listener.accept().await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let Some(guest) = Peers::admit(&self.peers, peer.ip(), self.most.of_one_peer) else {
                continue;
            };
            // Small answers should not wait for each other.
            let _ = stream.set_nodelay(true);
            return Connection::new(stream, self.most.patience, (place, guest));
        }
    }
}

/// How many connections each address of the network has.
#[derive(Debug, Default)]
struct Peers(Mutex<HashMap<IpAddr, usize>>);

/// One connection of an address, until it is dropped.
struct Guest {
    peers: Arc<Peers>,
    /// `None` is loopback, which nobody counts.
    address: Option<IpAddr>,
}

impl Peers {
    fn admit(peers: &Arc<Self>, peer: IpAddr, most: usize) -> Option<Guest> {
        let address = counted(peer);
        if let Some(address) = address {
            let mut all = lock(&peers.0);
            let count = all.entry(address).or_default();
            if *count >= most {
                return None;
            }
            *count += 1;
        }
        Some(Guest {
            peers: Arc::clone(peers),
            address,
        })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let Some(address) = self.address else {
            return;
        };
        let mut all = lock(&self.peers.0);
        if let Some(count) = all.get_mut(&address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                all.remove(&address);
            }
        }
    }
}

/// What connections are counted by: of IPv6 the network, for whoever has one address there has all.
fn counted(peer: IpAddr) -> Option<IpAddr> {
    let peer = peer.to_canonical();
    match peer {
        _ if peer.is_loopback() => None,
        IpAddr::V4(_) => Some(peer),
        IpAddr::V6(address) => {
            let network = address.to_bits() & !u128::from(u64::MAX);
            Some(Ipv6Addr::from_bits(network).into())
        }
    }
}

/// A connection with a deadline. Bytes of a request do not move it, else one byte a minute would
/// hold a connection for ever; the first byte of a request and each piece of an answer do.
pub(super) struct Connection {
    stream: TcpStream,
    deadline: Pin<Box<Sleep>>,
    patience: Duration,
    /// A request is being read or worked on.
    asked: bool,
    _place: (OwnedSemaphorePermit, Guest),
}

impl Connection {
    fn new(stream: TcpStream, patience: Duration, place: (OwnedSemaphorePermit, Guest)) -> Self {
        Self {
            stream,
            deadline: Box::pin(tokio::time::sleep(patience)),
            patience,
            asked: true,
            _place: place,
        }
    }

    fn postpone(&mut self) {
        let until = Instant::now() + self.patience;
        self.deadline.as_mut().reset(until);
    }

    fn late<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        self.deadline
            .as_mut()
            .poll(cx)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    fn wrote(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match result {
            Poll::Pending => self.late(cx),
            ready => {
                self.asked = false;
                self.postpone();
                ready
            }
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(cx, buffer) {
            Poll::Pending => self.late(cx),
            ready => {
                if !self.asked {
                    self.asked = true;
                    self.postpone();
                    return ready;
                }
                match self.late(cx) {
                    Poll::Pending => ready,
                    late => late,
                }
            }
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.wrote(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(peers: &Arc<Peers>, peer: &str) -> Option<Guest> {
        Peers::admit(peers, peer.parse().unwrap(), 2)
    }

    #[test]
    fn one_address_does_not_take_all_the_room() {
        let peers = Arc::default();
        let first = admit(&peers, "192.0.2.1");
        let second = admit(&peers, "192.0.2.1");
        assert!(first.is_some() && second.is_some());
        assert!(admit(&peers, "192.0.2.1").is_none());
        // The same address as IPv6 sockets write it.
        assert!(admit(&peers, "::ffff:192.0.2.1").is_none());
        assert!(admit(&peers, "192.0.2.2").is_some());
        drop(first);
        assert!(admit(&peers, "192.0.2.1").is_some());
        drop(second);
        assert!(lock(&peers.0).is_empty());
    }

    #[test]
    fn a_network_of_ipv6_is_one_address_and_loopback_is_everybody() {
        let peers = Arc::default();
        let _two = (admit(&peers, "2001:db8::1"), admit(&peers, "2001:db8::2"));
        assert!(admit(&peers, "2001:db8::3").is_none());
        assert!(admit(&peers, "2001:db8:0:1::3").is_some());
        let many: Vec<_> = (0..9)
            .map(|_| (admit(&peers, "127.0.0.1"), admit(&peers, "::1")))
            .collect();
        assert!(many.iter().all(|(a, b)| a.is_some() && b.is_some()));
    }
}
