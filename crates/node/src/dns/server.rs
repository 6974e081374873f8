//! Serves questions over UDP and TCP. Cluster names are answered in the loop that reads them; others are asked
//! outside meanwhile.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::message::{self, Answer, Data, Parsed, Query, Record, Transport, parse};
use super::records::Records;
use super::upstream::Upstream;
use super::zone::{Decision, Zone};
use crate::net::Layout;

/// TCP clients at once; resolvers come by TCP only for long answers.
const MOST_TCP_CLIENTS: usize = 128;
const TCP_IDLE: Duration = Duration::from_secs(10);

/// How names are served.
#[derive(Clone, Debug)]
pub struct Config {
    /// The cluster domain.
    pub domain: String,
    /// Asked for outside names instead of the host's own, if there are any here.
    pub nameservers: Vec<SocketAddr>,
    /// The host's own list of nameservers.
    pub resolver_file: PathBuf,
    /// The host's own table of names.
    pub hosts_file: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            domain: "cluster.local".into(),
            nameservers: Vec::new(),
            resolver_file: "/etc/resolv.conf".into(),
            hosts_file: "/etc/hosts".into(),
        }
    }
}

/// The DNS server of a node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Dns(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    domain: String,
    layout: Layout,
    zone: ArcSwap<Zone>,
    upstream: Upstream,
}

/// An answer that is there, or one to be asked for.
enum Step {
    Done(Vec<u8>),
    Ask(Query, Decision),
    Nothing,
}

impl Dns {
    /// A server that knows no cluster names yet.
    pub fn new(layout: Layout, config: &Config) -> Self {
        let zone = Zone::new(&config.domain, layout.clone(), &Records::default());
        Self(Arc::new(Shared {
            domain: config.domain.clone(),
            layout,
            zone: ArcSwap::from_pointee(zone),
            upstream: Upstream::new(config),
        }))
    }

    /// Replaces all cluster names.
    pub fn set_records(&self, records: &Records) {
        let Shared {
            domain,
            layout,
            zone,
            ..
        } = &*self.0;
        zone.store(Arc::new(Zone::new(domain, layout.clone(), records)));
    }

    fn first_step(&self, bytes: &[u8], transport: Transport) -> Step {
        match parse(bytes) {
            Parsed::Noise => Step::Nothing,
            Parsed::Bad { id, rcode } => Step::Done(message::bad(id, rcode)),
            Parsed::Query(query) => match self.0.zone.load().decide(&query) {
                Decision::Answer(answer) => Step::Done(query.answer(&answer, transport)),
                other => Step::Ask(query, other),
            },
        }
    }

    async fn ask(
        &self,
        query: &Query,
        decision: Decision,
        bytes: &[u8],
        transport: Transport,
    ) -> Vec<u8> {
        let upstream = &self.0.upstream;
        match decision {
            Decision::Outside => upstream.answer(query, bytes, transport).await,
            Decision::Answer(answer) => query.answer(&answer, transport),
            Decision::Alias { mut answer, target } => {
                let addresses = upstream.addresses(&target).await;
                answer
                    .answers
                    .extend(addresses.into_iter().map(|address| Record {
                        owner: Some(target.clone()),
                        data: Data::A(address),
                    }));
                query.answer(
                    &Answer {
                        is_authoritative: false,
                        ..answer
                    },
                    transport,
                )
            }
        }
    }

    /// Serves until `shutdown`.
    pub async fn serve(self, udp: UdpSocket, tcp: TcpListener, shutdown: CancellationToken) {
        let tasks = Tasks {
            tracker: TaskTracker::new(),
            shutdown,
        };
        let serve = async {
            tokio::join!(
                self.serve_udp(Arc::new(udp), &tasks),
                self.serve_tcp(tcp, &tasks)
            );
        };
        tasks.shutdown.run_until_cancelled(serve).await;
        tasks.tracker.close();
        tasks.tracker.wait().await;
    }

    async fn serve_udp(&self, socket: Arc<UdpSocket>, tasks: &Tasks) {
        let mut buffer = vec![0; 4096];
        loop {
            let (length, from) = match socket.recv_from(&mut buffer).await {
                Ok(received) => received,
                Err(error) => {
                    // Such as a port that closed before our answer came: about one client, not about us.
                    tracing::debug!(%error, "receive a DNS question");
                    tokio::task::yield_now().await;
                    continue;
                }
            };
            let bytes = &buffer[..length];
            match self.first_step(bytes, Transport::Udp) {
                Step::Nothing => {}
                Step::Done(answer) => send(&socket, &answer, from).await,
                Step::Ask(query, decision) => {
                    let (this, socket, bytes) = (self.clone(), socket.clone(), bytes.to_vec());
                    tasks.spawn(async move {
                        let answer = this.ask(&query, decision, &bytes, Transport::Udp).await;
                        send(&socket, &answer, from).await;
                    });
                }
            }
        }
    }

    async fn serve_tcp(&self, listener: TcpListener, tasks: &Tasks) {
        let places = Arc::new(Semaphore::new(MOST_TCP_CLIENTS));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((client, _)) => {
                    let this = self.clone();
                    tasks.spawn(async move {
                        if let Err(error) = this.serve_client(client).await {
                            tracing::debug!(%error, "a DNS client by TCP went away");
                        }
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "accept a DNS client by TCP");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn serve_client(&self, mut client: TcpStream) -> io::Result<()> {
        loop {
            let Ok(length) = timeout(TCP_IDLE, client.read_u16()).await else {
                return Ok(());
            };
            let mut bytes = match length {
                Ok(length) => vec![0; usize::from(length)],
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(error),
            };
            timeout(TCP_IDLE, client.read_exact(&mut bytes)).await??;
            let answer = match self.first_step(&bytes, Transport::Tcp) {
                Step::Nothing => return Ok(()),
                Step::Done(answer) => answer,
                Step::Ask(query, decision) => {
                    self.ask(&query, decision, &bytes, Transport::Tcp).await
                }
            };
            let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
            let framed = [&length.to_be_bytes()[..], &answer].concat();
            timeout(TCP_IDLE, client.write_all(&framed)).await??;
        }
    }
}

/// What goes on beside the loops. At shutdown it is dropped, not finished: who asked fails at once when the sockets
/// close.
struct Tasks {
    tracker: TaskTracker,
    shutdown: CancellationToken,
}

impl Tasks {
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let shutdown = self.shutdown.clone();
        self.tracker.spawn(async move {
            shutdown.run_until_cancelled(work).await;
        });
    }
}

async fn send(socket: &UdpSocket, answer: &[u8], to: SocketAddr) {
    if let Err(error) = socket.send_to(answer, to).await {
        tracing::debug!(%error, "send a DNS answer");
    }
}
