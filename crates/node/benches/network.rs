//! Figures of the node's network on this machine: `cargo bench -p node --bench network`. What is measured is the
//! kernel's work and ours beside it, so a development build (`--profile dev`) tells nearly the same.

#[path = "../tests/network/cluster.rs"]
#[expect(dead_code, reason = "tests use more of it")]
mod cluster;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use node::net::ServiceEntry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use cluster::{Cluster, service};

const PUSHED: usize = 2_000_000_000;
const CONNECTS: usize = 2000;

#[tokio::main]
async fn main() {
    // `cargo test --all-targets` runs benches without this.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let (sink, greeter) = outside().await;
    let cluster = Cluster::start_with(|config| {
        config.relay.dial = Arc::new(move |target| {
            Box::pin(TcpStream::connect(if target.port() == 9 {
                sink
            } else {
                greeter
            }))
        });
    })
    .await;
    services(&cluster).await;
    pods(&cluster).await;
    paths(&cluster).await;
}

fn report(what: &str, figure: impl std::fmt::Display) {
    println!("{what:<58} {figure}");
}

fn percentiles(mut taken: Vec<Duration>) -> String {
    taken.sort_unstable();
    let at = |part: usize| taken[(taken.len() - 1) * part / 100].as_micros();
    format!("p50 {} us, p90 {} us", at(50), at(90))
}

/// A sink and a greeter in the host's network.
async fn outside() -> (std::net::SocketAddr, std::net::SocketAddr) {
    let sink = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let greeter = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let addresses = (
        sink.local_addr().expect("bound"),
        greeter.local_addr().expect("bound"),
    );
    let sink = sink.into_std().expect("a socket");
    sink.set_nonblocking(false).expect("set");
    // A thread of its own: it stands for another program.
    std::thread::spawn(move || {
        let mut buffer = vec![0; 256 * 1024];
        for mut client in sink.incoming().flatten() {
            use std::io::{Read, Write};
            while client.read(&mut buffer).is_ok_and(|length| length > 0) {}
            client.write_all(&[1]).expect("sent");
        }
    });
    tokio::spawn(async move {
        while let Ok((mut client, _)) = greeter.accept().await {
            client.write_all(b"hello\n").await.expect("sent");
        }
    });
    addresses
}

fn many(count: u32, endpoints: u8) -> Vec<ServiceEntry> {
    let address = |last| Ipv4Addr::new(10, 1, 99, last);
    let endpoints: Vec<_> = (1..=endpoints).map(address).collect();
    (0..count)
        .map(|index| ServiceEntry {
            cluster_ip: Ipv4Addr::from_bits(Ipv4Addr::new(10, 96, 8, 0).to_bits() + index),
            ..service(1, &endpoints)
        })
        .collect()
}

async fn services(cluster: &Cluster) {
    for (what, endpoints) in [("one endpoint", 1), ("three endpoints", 3)] {
        let entries = many(500, endpoints);
        let begun = Instant::now();
        cluster
            .network
            .set_services(entries.clone())
            .await
            .expect("set");
        report(
            &format!("500 Services of {what} added"),
            format!("{:?}", begun.elapsed()),
        );
        let mut taken = Vec::new();
        for round in 0..50_u8 {
            let mut changed = entries.clone();
            changed[7].endpoints[0] = SocketAddrV4::new(Ipv4Addr::new(10, 1, 98, round), 8080);
            let begun = Instant::now();
            cluster.network.set_services(changed).await.expect("set");
            taken.push(begun.elapsed());
        }
        report(
            &format!("one of 500 Services of {what} changed"),
            percentiles(taken),
        );
        let begun = Instant::now();
        cluster.network.set_services(Vec::new()).await.expect("set");
        report(
            &format!("500 Services of {what} removed"),
            format!("{:?}", begun.elapsed()),
        );
    }
}

async fn pods(cluster: &Cluster) {
    let mut taken = Vec::new();
    let mut kept = Vec::new();
    for _ in 0..50 {
        let begun = Instant::now();
        kept.push(cluster.pod().await);
        taken.push(begun.elapsed());
    }
    report(
        "a process with its own network, attached and ready",
        percentiles(taken),
    );
    let configured = kept.iter().map(|pod| pod.configured_in).collect();
    report(
        "of that, the pod's side (address, route, first answer)",
        percentiles(configured),
    );
    let mut taken = Vec::new();
    for pod in &kept {
        let pid = pod.process.id().expect("it runs");
        cluster
            .network
            .detach_pod(pod.address)
            .await
            .expect("detached");
        let begun = Instant::now();
        cluster
            .network
            .attach_process(pod.address, pid)
            .await
            .expect("attached");
        taken.push(begun.elapsed());
    }
    report(
        "of that, the node's side (link, route, rules)",
        percentiles(taken),
    );
    for pod in kept {
        cluster
            .network
            .detach_pod(pod.address)
            .await
            .expect("detached");
        pod.end().await;
    }
}

async fn paths(cluster: &Cluster) {
    let (mut client, mut server) = (cluster.pod().await, cluster.pod().await);
    server.does("listen 8080").await;
    server.does("sink 8081").await;
    let sink = SocketAddrV4::new(server.address, 8081);
    let mut push = service(21, &[]);
    push.endpoints = vec![sink];
    let entries = vec![service(20, &[server.address]), push];
    cluster.network.set_services(entries).await.expect("set");

    for (what, greeter, sink) in [
        (
            "pod to pod",
            format!("{} 8080", server.address),
            format!("{} 8081", server.address),
        ),
        (
            "pod to Service",
            "10.96.0.20 80".into(),
            "10.96.0.21 80".into(),
        ),
        (
            "pod to outside through the relay",
            "198.51.100.7 80".into(),
            "198.51.100.7 9".into(),
        ),
    ] {
        let latency = client.does(&format!("latency {greeter} {CONNECTS}")).await;
        report(&format!("connect + 1 byte, {what}"), latency);
        let micros: f64 = client
            .does(&format!("push {sink} {PUSHED}"))
            .await
            .parse()
            .expect("a number");
        let gigabits = PUSHED as f64 * 8.0 / micros / 1000.0;
        report(
            &format!("throughput, {what}"),
            format!("{gigabits:.1} Gbit/s"),
        );
    }
    let mut taken = Vec::new();
    for _ in 0..CONNECTS {
        let begun = Instant::now();
        let address = SocketAddrV4::new(server.address, 8080);
        let mut stream = cluster.network.dial(address).await.expect("connected");
        stream.read_u8().await.expect("a byte");
        taken.push(begun.elapsed());
    }
    report("connect + 1 byte, server to pod", percentiles(taken));
    report("a question to DNS", client.does("ask 5000").await);
}
