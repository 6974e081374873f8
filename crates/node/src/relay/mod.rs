//! TCP that leaves the cluster: accepted in the node's network, dialled from the host's. Refuses whatever would let
//! a pod in where only the owner of the process may go. Name resolution and proxies are others' concern.

mod host;
mod policy;
mod splice;
mod usage;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::future::BoxFuture;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use host::Host;
pub use policy::{Attempt, Policy, Refusal, Rule};
use splice::{Counts, Pipes, carry};
pub use usage::Usage;
use usage::{Counters, Usages};

/// How outside connections are made; replaced in tests, whose machine has no outside.
pub type Dial =
    Arc<dyn Fn(SocketAddrV4) -> BoxFuture<'static, io::Result<TcpStream>> + Send + Sync>;

/// Told of each refused attempt.
pub type OnRefused = Arc<dyn Fn(&Attempt, &Refusal) + Send + Sync>;

/// How the relay behaves.
#[derive(Clone)]
pub struct Config {
    /// Blocks that are refused beside the fixed ones.
    pub blocked: Vec<crate::net::Cidr>,
    /// A further rule, for network policies.
    pub rule: Option<Rule>,
    /// Told of each refusal; must not block.
    pub on_refused: Option<OnRefused>,
    /// How long the target may take to answer. Kernels give up after about two minutes; users before that.
    pub connect_limit: Duration,
    /// How long a connection may move nothing.
    pub idle_limit: Duration,
    /// Open connections of one pod; each costs two descriptors.
    pub most_per_pod: u64,
    /// How to dial.
    pub dial: Dial,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            blocked: Vec::new(),
            rule: None,
            on_refused: None,
            connect_limit: Duration::from_secs(30),
            idle_limit: Duration::from_secs(2 * 60 * 60),
            most_per_pod: 1024,
            dial: Arc::new(|target| Box::pin(TcpStream::connect(target))),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("blocked", &self.blocked)
            .field("connect_limit", &self.connect_limit)
            .field("idle_limit", &self.idle_limit)
            .field("most_per_pod", &self.most_per_pod)
            .finish_non_exhaustive()
    }
}

/// The relay of a node. Cheap to clone.
#[derive(Clone)]
pub struct Relay(Arc<Shared>);

struct Shared {
    policy: Policy,
    config: Config,
    host: Host,
    pipes: Pipes,
    usages: Usages,
    /// Where Services with endpoints outside of the cluster lead.
    outside: ArcSwap<crate::net::Outside>,
    turn: AtomicUsize,
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay")
            .field("config", &self.0.config)
            .finish_non_exhaustive()
    }
}

/// Why an accepted connection was not carried.
#[derive(Debug, thiserror::Error)]
enum NotCarried {
    #[error("refused: {0}")]
    Refused(#[from] Refusal),
    #[error("the pod has {0} connections open, as many as it may")]
    TooMany(u64),
    #[error("learn where the connection was meant to go")]
    NoTarget(#[source] io::Error),
    #[error("connect")]
    Unreachable(#[source] io::Error),
}

impl Relay {
    /// A relay for the cluster with these addresses.
    pub fn new(layout: crate::net::Layout, config: Config) -> Self {
        let policy = Policy {
            layout,
            blocked: config.blocked.clone(),
            rule: config.rule.clone(),
        };
        Self(Arc::new(Shared {
            policy,
            config,
            host: Host::new(),
            pipes: Pipes::default(),
            usages: Usages::default(),
            outside: ArcSwap::default(),
            turn: AtomicUsize::new(0),
        }))
    }

    /// Says where Services with endpoints outside of the cluster lead.
    pub fn set_outside(&self, outside: crate::net::Outside) {
        self.0.outside.store(Arc::new(outside));
    }

    /// What a pod did so far.
    pub fn usage(&self, pod: Ipv4Addr) -> Usage {
        self.0.usages.read(pod)
    }

    /// Forgets a pod that has ended.
    pub fn forget(&self, pod: Ipv4Addr) {
        self.0.usages.forget(pod);
    }

    /// Carries connections from `listener`, which sits where the node's rules send what leaves. Ends at `shutdown`,
    /// and with it all connections.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) {
        let connections = TaskTracker::new();
        while let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok((pod, SocketAddr::V4(from))) => {
                    let (this, shutdown) = (self.clone(), shutdown.clone());
                    connections.spawn(async move {
                        shutdown
                            .run_until_cancelled(this.carry(pod, *from.ip()))
                            .await;
                    });
                }
                Ok((_, SocketAddr::V6(_))) => {}
                Err(error) => {
                    // Out of descriptors, most likely: those in use come back when connections end.
                    tracing::warn!(%error, "the relay cannot accept a connection");
                    let pause = tokio::time::sleep(Duration::from_millis(100));
                    shutdown.run_until_cancelled(pause).await;
                }
            }
        }
        connections.close();
        connections.wait().await;
    }

    async fn carry(&self, mut pod: TcpStream, address: Ipv4Addr) {
        let counters = self.0.usages.of(address);
        let _open = Open::new(&counters);
        unfinished(&pod);
        match self.connect(&pod, address, &counters).await {
            Ok(mut target) => {
                counters.connected.fetch_add(1, Ordering::Relaxed);
                unfinished(&target);
                keep_alive(&pod);
                keep_alive(&target);
                let counts = Counts {
                    sent: &counters.sent,
                    received: &counters.received,
                };
                let limit = self.0.config.idle_limit;
                let carried = carry(&mut pod, &mut target, &self.0.pipes, &counts, limit).await;
                match carried {
                    Ok(()) => {
                        finished(&pod);
                        finished(&target);
                    }
                    Err(error) => {
                        tracing::debug!(pod.ip = %address, %error, "a relayed connection of {address} broke");
                    }
                }
            }
            Err(error) => {
                let count = match &error {
                    NotCarried::Refused(_) | NotCarried::TooMany(_) => &counters.refused,
                    NotCarried::NoTarget(_) | NotCarried::Unreachable(_) => &counters.failed,
                };
                count.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(
                    pod.ip = %address,
                    error = &error as &dyn std::error::Error,
                    "a connection of {address} to the outside was not made"
                );
            }
        }
    }

    async fn connect(
        &self,
        pod: &TcpStream,
        address: Ipv4Addr,
        counters: &Counters,
    ) -> Result<TcpStream, NotCarried> {
        let Shared {
            policy,
            config,
            host,
            outside,
            turn,
            ..
        } = &*self.0;
        let target = original_target(pod).map_err(NotCarried::NoTarget)?;
        let turn = turn.fetch_add(1, Ordering::Relaxed);
        let target = outside.load().endpoint(target, turn).unwrap_or(target);
        let attempt = Attempt {
            pod: address,
            target,
        };
        if counters.open.load(Ordering::Relaxed) > config.most_per_pod {
            return Err(NotCarried::TooMany(config.most_per_pod));
        }
        let refused = |refusal: Refusal| {
            if let Some(on_refused) = &config.on_refused {
                on_refused(&attempt, &refusal);
            }
            NotCarried::Refused(refusal)
        };
        policy
            .decide(&attempt, host.owns(*target.ip()))
            .map_err(refused)?;
        let dialled = timeout(config.connect_limit, (config.dial)(target)).await;
        let stream = dialled
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(NotCarried::Unreachable)?;
        // Both ends on one address: the host got it between question and dial.
        let is_own = stream.local_addr().ok().map(|own| own.ip()) == Some((*target.ip()).into());
        if is_own {
            Err(refused(Refusal::Host))
        } else {
            Ok(stream)
        }
    }
}

/// Counts a connection as open for as long as it lives.
struct Open<'a>(&'a Counters);

impl<'a> Open<'a> {
    fn new(counters: &'a Counters) -> Self {
        counters.open.fetch_add(1, Ordering::Relaxed);
        Self(counters)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where a connection was meant to go before the node's rules sent it here. One that was meant for the relay itself
/// has no such place.
fn original_target(stream: &TcpStream) -> io::Result<SocketAddrV4> {
    let address = nix::sys::socket::getsockopt(stream, sockopt::OriginalDst)?;
    let ip = Ipv4Addr::from_bits(u32::from_be(address.sin_addr.s_addr));
    Ok(SocketAddrV4::new(ip, u16::from_be(address.sin_port)))
}

/// Makes the connection end in a reset whatever ends it: a refused or failed dial (the pod's connect has succeeded
/// already, so nothing else tells it), an error on the other side, our shutdown, even our being killed. Nobody takes
/// what has come so far for all there is.
fn unfinished(stream: &TcpStream) {
    if let Err(error) = stream.set_zero_linger() {
        tracing::debug!(%error, "a relayed connection will not be reset");
    }
}

/// Both sides have finished: what is still on its way is delivered.
fn finished(stream: &TcpStream) {
    let off = libc::linger {
        l_onoff: 0,
        l_linger: 0,
    };
    if let Err(errno) = setsockopt(stream, sockopt::Linger, &off) {
        tracing::debug!(%errno, "a finished relayed connection may be cut short");
    }
}

/// Finds out within some minutes that the other side is gone without a word.
fn keep_alive(stream: &TcpStream) {
    let outcome = setsockopt(stream, sockopt::KeepAlive, &true)
        .and_then(|()| setsockopt(stream, sockopt::TcpKeepIdle, &60))
        .and_then(|()| setsockopt(stream, sockopt::TcpKeepInterval, &30));
    if let Err(errno) = outcome {
        tracing::debug!(%errno, "a relayed connection is not watched for silence");
    }
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a relayed connection may delay small messages");
    }
}
