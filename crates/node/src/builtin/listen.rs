//! What a component serves on: its pod's address, and this machine's own port where the pod has a `hostPort`. Each
//! connection says which of the two it came from, since only the second can be the owner of the machine.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::{TcpListener, TcpStream};

/// Listeners on this machine's own ports, bound before any pod starts. A component takes one and gives it back at its
/// end, so that a restarted component finds it again.
#[derive(Debug, Clone, Default)]
pub struct HostListeners {
    free: Arc<Mutex<HashMap<u16, std::net::TcpListener>>>,
}

impl HostListeners {
    /// These listeners, by the port under which pods name them.
    pub fn new(listeners: HashMap<u16, std::net::TcpListener>) -> Self {
        Self {
            free: Arc::new(Mutex::new(listeners)),
        }
    }

    /// A second handle on the listener of a port; the original stays for the next start.
    pub(super) fn get(&self, port: u16) -> io::Result<Option<TcpListener>> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(listener) = free.get(&port) else {
            return Ok(None);
        };
        let copy = listener.try_clone()?;
        copy.set_nonblocking(true)?;
        TcpListener::from_std(copy).map(Some)
    }
}

/// Who connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The other end.
    pub address: SocketAddr,
    /// The connection came in on this machine's own port, not on the pod network.
    pub is_from_host: bool,
}

/// Yields connections from the pod's address and from the machine's own port.
#[derive(Debug)]
pub struct Listener {
    pub(super) pod: TcpListener,
    pub(super) host: Option<TcpListener>,
}

impl Listener {
    /// The next connection.
    pub async fn accept(&mut self) -> io::Result<(TcpStream, Peer)> {
        let from_host = async {
            match &self.host {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        let (accepted, is_from_host) = tokio::select! {
            accepted = self.pod.accept() => (accepted, false),
            accepted = from_host => (accepted, true),
        };
        let (stream, address) = accepted?;
        stream.set_nodelay(true)?;
        Ok((
            stream,
            Peer {
                address,
                is_from_host,
            },
        ))
    }

    /// The pod's own address.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.pod.local_addr()
    }
}

impl axum::serve::Listener for Listener {
    type Io = TcpStream;
    type Addr = Peer;

    async fn accept(&mut self) -> (TcpStream, Peer) {
        loop {
            match Self::accept(self).await {
                Ok(connection) => return connection,
                // Out of descriptors, or a peer that left again: the next one may do better.
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "accepting a connection failed"
                    );
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Peer> {
        Ok(Peer {
            address: Self::local_addr(self)?,
            is_from_host: false,
        })
    }
}

impl axum::extract::connect_info::Connected<axum::serve::IncomingStream<'_, Listener>> for Peer {
    fn connect_info(stream: axum::serve::IncomingStream<'_, Listener>) -> Self {
        *stream.remote_addr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_says_where_it_came_from_and_a_host_port_outlives_its_listener() {
        let host = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let host_address = host.local_addr().expect("an address");
        let listeners = HostListeners::new([(7878, host)].into());
        for _ in 0..2 {
            let pod = TcpListener::bind("127.0.0.1:0").await.expect("bound");
            let pod_address = pod.local_addr().expect("an address");
            let host = listeners.get(7878).expect("a listener");
            let mut listener = Listener { pod, host };
            for (address, is_from_host) in [(pod_address, false), (host_address, true)] {
                let _client = TcpStream::connect(address).await.expect("connected");
                let (_, peer) = listener.accept().await.expect("accepted");
                assert_eq!(peer.is_from_host, is_from_host);
            }
        }
        assert!(listeners.get(1).expect("no error").is_none());
    }
}
