//! How long a pod takes from nothing to its command being executed, its images and volumes aside: 50 starts one after
//! another, with and without the pod network, and how long its parts take. `cargo bench -p node --bench pods`; run it as
//! root and as an ordinary user.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use node::net::{self, NodeNetwork};
use node::shim::{self, ContainerSpec, ExecSpec, HostIds, NodeNamespaces, PodSpec};

const STARTS: usize = 50;

fn main() {
    // `cargo test --all-targets` runs benches without this.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let data = tempfile::tempdir().expect("a temporary folder");
        let image = data.path().join("image");
        std::fs::create_dir_all(image.join("bin")).expect("create");
        // SAFETY: plain system call.
        println!("as user {}", unsafe { libc::geteuid() });
        measure(
            "host's programs",
            data.path(),
            None,
            serde_json::json!({"hostReadOnly": {}}),
            serde_json::json!({}),
        )
        .await;
        measure(
            "with a memory limit",
            data.path(),
            None,
            serde_json::json!({"hostReadOnly": {}}),
            serde_json::json!({"memoryBytes": 1 << 30}),
        )
        .await;
        let network = NodeNetwork::start(net::Config {
            folder: data.path().join("network"),
            executable: program(),
            layout: net::Layout::default(),
            dns: node::dns::Config::default(),
            relay: node::relay::Config::default(),
            rejoin: None,
        })
        .await
        .expect("the network starts");
        measure(
            "and the pod network",
            data.path(),
            Some(&network),
            serde_json::json!({"hostReadOnly": {}}),
            serde_json::json!({}),
        )
        .await;
        measure(
            "an image's folder",
            data.path(),
            Some(&network),
            serde_json::json!({"folder": {"path": image}}),
            serde_json::json!({}),
        )
        .await;
        network.shutdown().await.expect("the network ends");
    });
}

fn program() -> PathBuf {
    std::env::var_os("FERROFLOW_TEST_PROGRAM").map_or_else(
        || PathBuf::from(env!("CARGO_BIN_EXE_node-shim-test")),
        PathBuf::from,
    )
}

async fn measure(
    name: &str,
    data: &Path,
    network: Option<&NodeNetwork>,
    root: serde_json::Value,
    limits: serde_json::Value,
) {
    let (mut pods, mut containers, mut execs, mut all) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for number in 0..STARTS {
        let dir = data.join(format!(
            "pods/{}-{number}",
            name.replace(|c: char| !c.is_alphanumeric(), "-")
        ));
        let mut spec: PodSpec = serde_json::from_value(serde_json::json!({
            "uid": uuid::Uuid::new_v4(), "namespace": "bench", "name": "pod", "hostname": "pod", "dir": dir,
        }))
        .expect("a valid pod");
        // An image needs a program of its own; without one the try itself is what takes the time.
        let command: &[&str] = if root_has_programs(&root) {
            &["/bin/cat"]
        } else {
            &["/none"]
        };
        let container: ContainerSpec = serde_json::from_value(serde_json::json!({
            "name": "main", "root": root, "command": command, "limits": limits, "stdin": true,
            "log": {"path": dir.join("main/0.log")},
        }))
        .expect("a valid container");
        spec.node = network.map(|network| {
            let (user, net) = network.holder().namespace_paths();
            NodeNamespaces { user, net }
        });
        if let Some(network) = network {
            let ids = network.holder().namespaces().ids.uids;
            spec.host_ids = HostIds {
                first: ids.outside,
                count: ids.count,
            };
        }
        let began = Instant::now();
        let pod = shim::start(&program(), &spec)
            .await
            .expect("the pod starts");
        let address = match network {
            Some(network) => {
                let address = network.allocate().expect("an address");
                network
                    .attach_process(address, pod.namespace_pid().expect("a pid") as u32)
                    .await
                    .expect("attached");
                pod.configure_network(address, network.layout().gateway)
                    .await
                    .expect("configured");
                Some(address)
            }
            None => None,
        };
        let made = Instant::now();
        let record = pod
            .start_container(container)
            .await
            .expect("the container starts");
        let ended = Instant::now();
        assert_eq!(
            record.exit_code.is_none(),
            root_has_programs(&root),
            "{record:?}"
        );
        pods.push(made - began);
        containers.push(ended - made);
        all.push(ended - began);
        if root_has_programs(&root) {
            let asked = Instant::now();
            let exec = pod
                .exec(ExecSpec::new("main", ["/bin/true"]))
                .await
                .expect("exec");
            exec.exit.wait().await.expect("ends");
            execs.push(asked.elapsed());
        }
        pod.shutdown().await.expect("ends");
        if let (Some(network), Some(address)) = (network, address) {
            network.detach_pod(address).await.expect("detached");
            network.release(address);
        }
        shim::remove(&dir).expect("removed");
    }
    println!("{name}:");
    for (part, times) in [
        ("pod", pods),
        ("container", containers),
        ("both", all),
        ("exec of true", execs),
    ] {
        if !times.is_empty() {
            println!(
                "  {part:<13} p50 {:>6.2} ms  p90 {:>6.2} ms",
                at(&times, 50),
                at(&times, 90)
            );
        }
    }
}

fn root_has_programs(root: &serde_json::Value) -> bool {
    root.get("hostReadOnly").is_some()
}

fn at(times: &[Duration], percent: usize) -> f64 {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[times.len() * percent / 100].as_secs_f64() * 1000.0
}
