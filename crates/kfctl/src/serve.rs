//! The whole platform on one machine, in the order in which it starts: API, workloads, node, what is installed.
//! It stops in the opposite order, pods first.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, anyhow, bail};
use apiserver::backend::{Backend, Stream};
use apiserver::{ApiServer, authn::User};
use node::{Dialer, Node, builtin, shim::Isolation};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Durability, GpuFallback, MemoryFallback};
use crate::control::{self, Control};
use crate::instance::{DataFolder, Record};
use crate::readiness::Board;
use crate::{components, ending, installation, node_config, version};

/// Port of the API server inside the node's network, behind the Service `kubernetes`.
const API_PORT_FOR_PODS: u16 = 6443;
/// Port under which manifests name the console on the host, whatever it really is.
const CONSOLE_HOST_PORT: u16 = 7878;

/// What `up` decided.
pub struct Options {
    /// All settings.
    pub config: Config,
    /// The data folder, locked by the caller.
    pub data: DataFolder,
    /// Install nothing.
    pub bare: bool,
}

/// Parts that are shown, in order.
pub const PARTS: [&str; 3] = ["api server", "controllers", "node"];

/// Runs the platform until `stop` is cancelled.
pub async fn run(options: Options, board: Board, stop: CancellationToken) -> Result<()> {
    let Options { config, data, bare } = options;
    let api_listener = listen(config.api.port, "the Kubernetes API", "--api-port")?;
    let console_listener = listen(config.console.port, "the console", "--port")?;
    let record = Record {
        pid: std::process::id(),
        api_port: api_listener.local_addr()?.port(),
        console_port: console_listener.local_addr()?.port(),
        version: version::FERROFLOW.to_owned(),
        started: jiff::Timestamp::now()
            .strftime("%Y-%m-%dT%H:%M:%SZ")
            .to_string(),
    };
    let closed = CancellationToken::new();
    let control = Arc::new(Control {
        board: board.clone(),
        stop: stop.clone(),
    });
    let control = control::serve(&data, control, closed.clone())?;
    data.write_record(&record)?;

    board.starting("api server", "opening the database");
    let dialer: Arc<OnceLock<Dialer>> = Arc::default();
    let isolation = isolation(&config, &data).await?;
    let server = open_api(&config, &data, isolation, dialer.clone()).await?;
    let url = format!("https://127.0.0.1:{}", record.api_port);
    write_secret(&data.kubeconfig(), &server.kubeconfig(&url)?)?;
    let mut api = tokio::spawn(serve_api(server.clone(), api_listener, closed.clone()));
    board.ready("api server", url);

    board.starting("controllers", "starting");
    let controllers_stop = CancellationToken::new();
    let controllers = spawn_controllers(&config, &data, &server, controllers_stop.clone());
    board.ready("controllers", "");

    board.starting("node", "making the pod network");
    let node = start_node(&config, &data, &server, isolation, console_listener).await?;
    let _ = dialer.set(node.dialer());
    server
        .backend()
        .register_kubelet(node.name(), kubelet_service(&node));
    let pods_api = serve_pods(&server, &node, closed.clone()).await?;
    board.ready("node", node.name().to_owned());

    let outcome = tokio::select! {
        outcome = run_until_stopped(&server, &board, bare, &stop, record.console_port) => outcome,
        ended = controllers => Err(anyhow!("the controllers ended by themselves: {ended:?}")),
        () = server.ended() => Err(cannot_store(&data)),
        ended = &mut api => Err(anyhow!("the API server's listener ended by itself: {ended:?}")),
    };
    match &outcome {
        Ok(()) => tracing::info!("stopping"),
        Err(error) => tracing::error!(error = format!("{error:#}"), "stopping"),
    }
    drain(&node, &server).await;
    node.stop(true).await.context("stop the node")?;
    controllers_stop.cancel();
    closed.cancel();
    server.close().await;
    for task in [Some(api), pods_api].into_iter().flatten() {
        task.abort();
    }
    control.abort();
    outcome
}

/// Whatever else works, a platform that forgets what it is told must end.
fn cannot_store(data: &DataFolder) -> anyhow::Error {
    anyhow!(
        "the API server can store nothing any more, so the platform ends; the cause is in {}; \
         steps that were interrupted resume at the next kfctl up",
        data.log().display()
    )
}

/// Ends the pods, and says in the log which of them take their time. A store that is gone cannot hear that pods
/// ended, so they are left to their shims and found again at the next start.
async fn drain(node: &Node, server: &ApiServer) {
    let client = server.admin_client();
    let tell = async {
        let mut said = Vec::new();
        loop {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            let ending = ending::pods(&client).await.unwrap_or_default();
            if ending != said && !ending.is_empty() {
                eprintln!("{}", ending::words(&ending));
                said = ending;
            }
        }
    };
    tokio::select! {
        () = node.drain() => {}
        () = server.ended() => {}
        never = tell => never,
    }
}

async fn run_until_stopped(
    server: &ApiServer,
    board: &Board,
    bare: bool,
    stop: &CancellationToken,
    console_port: u16,
) -> Result<()> {
    // Slightly before the node began: pods that started with it count.
    let since = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(1);
    let install = async {
        if !bare {
            let installer = server.client(&server.issue(User::installer()));
            installation::install(
                &installer,
                &server.admin_client(),
                board,
                console_port,
                since,
            )
            .await?;
        }
        board.finish();
        anyhow::Ok(())
    };
    tokio::select! {
        installed = install => installed?,
        () = stop.cancelled() => return Ok(()),
    }
    stop.cancelled().await;
    Ok(())
}

/// Binds first, so that a taken port is said before anything starts.
fn listen(port: u16, what: &str, flag: &str) -> Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            anyhow!("port {port}, wanted for {what}, is taken by another program; stop that one, or choose another port with {flag}")
        }
        std::io::ErrorKind::PermissionDenied => {
            anyhow!("port {port}, wanted for {what}, is not yours to use; choose one above 1023 with {flag}")
        }
        _ => anyhow::Error::new(error).context(format!("listen on port {port} for {what}")),
    })
}

/// Sandboxes where the machine allows them; plain processes only where the owner said so.
async fn isolation(config: &Config, data: &DataFolder) -> Result<Isolation> {
    match node_config::probe(data).await {
        Ok(()) => Ok(Isolation::Sandbox),
        Err(refusal) if config.node.allow_host_processes => {
            tracing::warn!(
                refusal = format!("{refusal:#}"),
                "pods run as plain processes of this machine"
            );
            Ok(Isolation::HostProcess)
        }
        Err(refusal) => bail!("{refusal:#}; or run pods unconfined with --allow-host-processes"),
    }
}

async fn open_api(
    config: &Config,
    data: &DataFolder,
    isolation: Isolation,
    dialer: Arc<OnceLock<Dialer>>,
) -> Result<ApiServer> {
    let gateway = node::net::Layout::default().gateway;
    let advertise = match isolation {
        Isolation::Sandbox => SocketAddr::from((gateway, API_PORT_FOR_PODS)),
        Isolation::HostProcess => SocketAddr::from((Ipv4Addr::LOCALHOST, config.api.port)),
    };
    let backend = Backend::new(Arc::new(move |namespace: &str, host: &str, port| {
        let (dialer, namespace, host) = (dialer.clone(), namespace.to_owned(), host.to_owned());
        Box::pin(async move {
            let dialer = dialer
                .get()
                .ok_or_else(|| std::io::Error::other("the node is not up yet"))?;
            let stream = dialer.dial(&namespace, &host, port).await?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }));
    let durability = match config.api.durability {
        Durability::Normal => apiserver::store::Durability::Normal,
        Durability::Full => apiserver::store::Durability::Full,
    };
    let settings = apiserver::Config {
        durability,
        backend,
        advertise,
        ..apiserver::Config::at(data.path())
    };
    ApiServer::open(settings)
        .await
        .context("open the API server")
}

async fn serve_api(server: ApiServer, listener: TcpListener, closed: CancellationToken) {
    if let Err(error) = server.serve(listener, closed).await {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "the API server ended"
        );
    }
}

/// Pods reach the API server inside the node's network.
async fn serve_pods(
    server: &ApiServer,
    node: &Node,
    closed: CancellationToken,
) -> Result<Option<tokio::task::JoinHandle<()>>> {
    let Some(network) = node.network() else {
        return Ok(None);
    };
    let address = std::net::SocketAddrV4::new(network.layout().gateway, API_PORT_FOR_PODS);
    let listener = network
        .listen(address)
        .await
        .context("listen for pods that call the API server")?
        .into_std()?;
    Ok(Some(tokio::spawn(serve_api(
        server.clone(),
        listener,
        closed,
    ))))
}

fn spawn_controllers(
    config: &Config,
    data: &DataFolder,
    server: &ApiServer,
    stop: CancellationToken,
) -> tokio::task::JoinHandle<Result<(), workloads::Error>> {
    let settings = workloads::Config {
        gpu_fallback: config.node.gpu_fallback == GpuFallback::Cpu,
        memory_fallback: config.node.memory_fallback == MemoryFallback::Clamp,
        volumes_dir: Some(data.path().join("volumes")),
        root_ca: Some(server.keys().ca_certificate().to_owned()),
    };
    let server = server.clone();
    let clients = move |name: &str| {
        let user = match name {
            "kube-controller-manager" => User::controller_manager(),
            "kube-scheduler" => User::scheduler(),
            account => User::service_account("kube-system", account),
        };
        server.client(&server.issue(user))
    };
    tokio::spawn(workloads::run(clients, settings, stop))
}

async fn start_node(
    config: &Config,
    data: &DataFolder,
    server: &ApiServer,
    isolation: Isolation,
    console: TcpListener,
) -> Result<Node> {
    let mut settings = node_config::of(config, data)?;
    settings.isolation = isolation;
    // The node does what kube-proxy does too, as itself.
    let client = server.client(&server.issue(User::node(&settings.name)));
    let factory = server.clone();
    let dependencies = node::Dependencies {
        proxy_client: client.clone(),
        client,
        client_factory: Arc::new(move |token| factory.client(token)),
        components: components::table(),
        host_listeners: builtin::HostListeners::new(HashMap::from([(CONSOLE_HOST_PORT, console)])),
    };
    Node::start(settings, dependencies)
        .await
        .context("start the node")
}

fn kubelet_service(node: &Node) -> apiserver::backend::KubeletService {
    use tower::ServiceExt;
    let router = node.http();
    tower::util::BoxCloneSyncService::new(router.into_service().map_err(|never| match never {}))
}

/// Writes a file that only its owner can read.
fn write_secret(path: &PathBuf, text: &str) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let temporary = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .with_context(|| format!("write {}", temporary.display()))?;
    file.write_all(text.as_bytes())?;
    std::fs::rename(&temporary, path).with_context(|| format!("write {}", path.display()))
}
