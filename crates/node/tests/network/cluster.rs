//! A node's network of a test's own, and pods in it.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use node::dns;
use node::net::{Config, Layout, NodeNetwork, Protocol, ServiceEntry};
use node::relay;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Where the program is that tests re-execute; a copy when the tests run as another user.
pub const PROGRAM_VARIABLE: &str = "NODE_NETWORK_TEST_PROGRAM";

pub fn program() -> PathBuf {
    std::env::var_os(PROGRAM_VARIABLE).map_or_else(
        || env!("CARGO_BIN_EXE_node-network-test").into(),
        PathBuf::from,
    )
}

/// A running network whose holder ends with the test.
pub struct Cluster {
    pub network: NodeNetwork,
    pub folder: TempDir,
    serving: Serving,
}

/// Ends what serves a network with the test.
pub struct Serving {
    pub shutdown: CancellationToken,
    pub task: JoinHandle<()>,
}

impl Serving {
    pub async fn start(network: &NodeNetwork) -> Self {
        let shutdown = CancellationToken::new();
        let serve = network
            .serve(shutdown.clone())
            .await
            .expect("sockets are free");
        Self {
            shutdown,
            task: tokio::spawn(serve),
        }
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.expect("no panic");
    }
}

impl Cluster {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// With changes to the configuration.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut config = config(folder.path());
        change(&mut config);
        let network = start(config).await;
        let serving = Serving::start(&network).await;
        Self {
            network,
            folder,
            serving,
        }
    }

    /// Ends the server's part, as its shutdown does.
    pub fn stop_serving(&self) {
        self.serving.shutdown.cancel();
    }

    /// A pod that is attached and ready.
    pub async fn pod(&self) -> Pod {
        Pod::start(&self.network).await
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.serving.shutdown.cancel();
        // Also after a failed assertion: the holder must not outlive the test.
        let _ = self.network.holder().shutdown();
    }
}

pub fn config(folder: &Path) -> Config {
    Config {
        folder: folder.join("network"),
        executable: program(),
        layout: Layout::default(),
        dns: dns::Config::default(),
        relay: relay::Config::default(),
        rejoin: None,
    }
}

pub async fn start_in(folder: &Path) -> NodeNetwork {
    start(config(folder)).await
}

async fn start(config: Config) -> NodeNetwork {
    match NodeNetwork::start(config).await {
        Ok(network) => network,
        Err(error) => panic!("the node's network cannot be had here: {error}"),
    }
}

/// A process with a network namespace of its own.
pub struct Pod {
    pub address: Ipv4Addr,
    pub process: Child,
    /// How long its own side of the network took.
    pub configured_in: Duration,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Pod {
    pub async fn start(network: &NodeNetwork) -> Self {
        Self::start_with_resolver(network, "").await
    }

    /// A pod that sees the file `resolver` as `/etc/resolv.conf`.
    pub async fn start_with_resolver(network: &NodeNetwork, resolver: &str) -> Self {
        let (user, net) = network.holder().namespace_paths();
        let ids = network.holder().namespaces().ids.uids.count;
        let mut process = Command::new(program())
            .arg("pod")
            .args([&user, &net])
            .args([ids.to_string(), resolver.to_owned()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the pod starts");
        let input = process.stdin.take().expect("piped");
        let output = BufReader::new(process.stdout.take().expect("piped")).lines();
        let address = network.allocate().expect("a free address");
        let mut pod = Self {
            address,
            process,
            configured_in: Duration::ZERO,
            input,
            output,
        };
        assert_eq!(pod.line().await, "entered");
        let pid = pod.process.id().expect("it runs");
        network
            .attach_process(address, pid)
            .await
            .expect("attached");
        pod.write(&format!("{address} {}", network.layout().gateway))
            .await;
        let ready = pod.line().await;
        let micros = ready.strip_prefix("ready ").expect("it is ready").parse();
        pod.configured_in = Duration::from_micros(micros.expect("a number"));
        pod
    }

    async fn line(&mut self) -> String {
        self.output
            .next_line()
            .await
            .expect("readable")
            .expect("the pod lives")
    }

    async fn write(&mut self, line: &str) {
        self.input
            .write_all(format!("{line}\n").as_bytes())
            .await
            .expect("the pod listens");
    }

    /// Has the pod do something that must work.
    pub async fn does(&mut self, command: &str) -> String {
        match self.tries(command).await {
            Ok(answer) => answer,
            Err(error) => panic!("{command}: {error}"),
        }
    }

    /// Has the pod try something.
    pub async fn tries(&mut self, command: &str) -> Result<String, String> {
        self.write(command).await;
        let line = self.line().await;
        match line.split_once(' ') {
            Some(("ok", answer)) => Ok(answer.to_owned()),
            Some(("error", error)) => Err(error.to_owned()),
            _ => panic!("{command}: {line}"),
        }
    }

    pub async fn end(mut self) {
        self.process.kill().await.expect("killed");
    }
}

/// A TCP Service on 10.96.0.`last`:80 with endpoints on port 8080.
pub fn service(last: u8, endpoints: &[Ipv4Addr]) -> ServiceEntry {
    ServiceEntry {
        cluster_ip: Ipv4Addr::new(10, 96, 0, last),
        protocol: Protocol::Tcp,
        port: 80,
        endpoints: endpoints
            .iter()
            .map(|ip| SocketAddrV4::new(*ip, 8080))
            .collect(),
    }
}
