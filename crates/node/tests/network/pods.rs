//! Pods reach each other by address, under their own name only.

use std::net::SocketAddrV4;

use tokio::io::{AsyncBufReadExt, BufReader};

use crate::cluster::Cluster;

#[tokio::test(flavor = "multi_thread")]
async fn two_pods_bind_the_same_port_and_reach_each_other() {
    let cluster = Cluster::start().await;
    let (mut a, mut b) = (cluster.pod().await, cluster.pod().await);
    for pod in [&mut a, &mut b] {
        pod.does("listen 8080").await;
    }
    let from_b = b.does(&format!("fetch {} 8080 hello", a.address)).await;
    assert_eq!(from_b, format!("{} sees {}|hello", a.address, b.address));
    let from_a = a.does(&format!("fetch {} 8080 hello", b.address)).await;
    assert_eq!(from_a, format!("{} sees {}|hello", b.address, a.address));
    assert_eq!(
        a.does("fetch 127.0.0.1 8080 me").await,
        format!("{} sees 127.0.0.1|me", a.address)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_binds_low_ports() {
    let cluster = Cluster::start().await;
    cluster.pod().await.does("listen 80").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_port_and_an_address_nobody_has_are_refused_at_once() {
    let cluster = Cluster::start().await;
    let (mut a, b) = (cluster.pod().await, cluster.pod().await);
    for target in [
        format!("{} 8080", b.address),
        "10.1.200.200 8080".into(),
        "10.1.0.1 22".into(),
    ] {
        for _ in 0..20 {
            let error = a.tries(&format!("connect {target}")).await.unwrap_err();
            assert!(error.contains("refused"), "{target}: {error}");
        }
    }
    let error = a.tries("udp 10.1.200.200 9").await.unwrap_err();
    assert!(error.contains("refused"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_cannot_send_as_another() {
    let cluster = Cluster::start().await;
    let gateway = cluster.network.layout().gateway;
    let socket = cluster
        .network
        .udp(SocketAddrV4::new(gateway, 5000))
        .await
        .expect("bound");
    let (mut thief, victim) = (cluster.pod().await, cluster.pod().await);
    thief
        .does(&format!("spoof {} {gateway} 5000", victim.address))
        .await;
    // Packets of one pod arrive in order: when its honest one is here, the others are not to come.
    thief
        .does(&format!("spoof {} {gateway} 5000", thief.address))
        .await;
    let mut buffer = [0; 64];
    let (_, from) = socket.recv_from(&mut buffer).await.expect("a datagram");
    assert_eq!(from.ip(), thief.address);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_reaches_pods_and_is_seen_as_the_gateway() {
    let cluster = Cluster::start().await;
    let mut pod = cluster.pod().await;
    pod.does("listen 8080").await;
    for _ in 0..100 {
        let address = SocketAddrV4::new(pod.address, 8080);
        let stream = cluster.network.dial(address).await.expect("connected");
        let line = BufReader::new(stream)
            .lines()
            .next_line()
            .await
            .expect("a line");
        assert_eq!(
            line,
            Some(format!(
                "{} sees {}",
                pod.address,
                cluster.network.layout().gateway
            ))
        );
    }
    let refused = cluster
        .network
        .dial(SocketAddrV4::new(pod.address, 8081))
        .await
        .unwrap_err();
    let source = std::error::Error::source(&refused);
    assert!(
        source.is_some_and(|s| s.to_string().contains("refused")),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_detached_pod_is_unreachable_and_its_address_can_be_given_again() {
    let cluster = Cluster::start().await;
    let (mut a, mut b) = (cluster.pod().await, cluster.pod().await);
    b.does("listen 8080").await;
    let command = format!("connect {} 8080", b.address);
    a.does(&command).await;
    cluster
        .network
        .detach_pod(b.address)
        .await
        .expect("detached");
    let error = a.tries(&command).await.unwrap_err();
    assert!(error.contains("refused"), "{error}");
    // Again, and for one that never was: no error.
    cluster
        .network
        .detach_pod(b.address)
        .await
        .expect("detached");
    let unused = cluster.network.allocate().expect("free");
    cluster
        .network
        .detach_pod(unused)
        .await
        .expect("nothing to do");

    // A pod that comes back (its shim attaches again) is reachable under the same address.
    let pid = b.process.id().expect("it runs");
    let address = b.address;
    b.end().await;
    assert!(!std::path::Path::new(&format!("/proc/{pid}/ns/net")).exists());
    cluster.network.release(address);
    cluster.network.reserve(address).expect("free again");
}
