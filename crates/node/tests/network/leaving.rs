//! TCP leaves the cluster through the relay, but never into the host.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use node::relay::{Attempt, Refusal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::cluster::Cluster;

/// An address of the "outside", which this machine may not have: its dials end at a listener of the test's.
const OUTSIDE: &str = "198.51.100.7 443";

type Refusals = Arc<Mutex<Vec<(Attempt, Refusal)>>>;

/// A cluster whose outside is one listener, and what its relay refused.
async fn with_outside(
    change: impl FnOnce(&mut node::relay::Config),
) -> (Cluster, TcpListener, Refusals) {
    let outside = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = outside.local_addr().expect("bound");
    let refusals = Refusals::default();
    let noted = refusals.clone();
    let cluster = Cluster::start_with(|config| {
        config.relay.dial = Arc::new(move |_| Box::pin(TcpStream::connect(address)));
        config.relay.on_refused = Some(Arc::new(move |attempt, refusal| {
            noted
                .lock()
                .expect("no panic")
                .push((*attempt, refusal.clone()));
        }));
        change(&mut config.relay);
    })
    .await;
    (cluster, outside, refusals)
}

/// Echoes until the client has finished, then says goodbye: what arrives after a half-close.
async fn echo_once(outside: &TcpListener) {
    let (mut client, _) = outside.accept().await.expect("a client");
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).await.expect("heard");
    heard.extend_from_slice(b" goodbye");
    client.write_all(&heard).await.expect("sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allowed_server_is_reached_and_half_closes_pass() {
    let (cluster, outside, refusals) = with_outside(|_| {}).await;
    let mut pod = cluster.pod().await;
    let fetch = format!("fetch {OUTSIDE} hello");
    let (answer, ()) = tokio::join!(pod.does(&fetch), echo_once(&outside));
    assert_eq!(answer, "hello goodbye");
    assert_eq!(refusals.lock().expect("no panic").len(), 0);
    let usage = cluster.network.relay().usage(pod.address);
    assert_eq!((usage.connected, usage.refused, usage.failed), (1, 0, 0));
    assert_eq!((usage.sent_bytes, usage.received_bytes), (5, 13));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_its_loopback_and_cloud_metadata_are_refused_with_a_reset() {
    let (cluster, _outside, refusals) = with_outside(|_| {}).await;
    let mut pod = cluster.pod().await;
    let mut targets = vec!["169.254.169.254 80".to_owned(), "0.1.2.3 80".to_owned()];
    // Every address the host has, its loopback aside, which pods have themselves.
    let own: Vec<Ipv4Addr> = nix::ifaddrs::getifaddrs()
        .expect("a list")
        .filter_map(|i| i.address.and_then(|a| a.as_sockaddr_in().map(|a| a.ip())))
        .filter(|ip| !ip.is_loopback())
        .collect();
    targets.extend(own.iter().map(|ip| format!("{ip} 22")));
    for target in &targets {
        let error = pod.tries(&format!("connect {target}")).await.unwrap_err();
        assert!(error.contains("reset"), "{target}: {error}");
    }
    let refusals = refusals.lock().expect("no panic");
    assert_eq!(refusals.len(), targets.len(), "{refusals:?}");
    assert_eq!(refusals[0].1, Refusal::Metadata);
    assert_eq!(refusals[1].1, Refusal::NotUnicast);
    assert!(
        refusals[2..]
            .iter()
            .all(|(_, refusal)| *refusal == Refusal::Host),
        "{refusals:?}"
    );
    assert!(
        refusals
            .iter()
            .all(|(attempt, _)| attempt.pod == pod.address)
    );
    assert_eq!(
        cluster.network.relay().usage(pod.address).refused,
        targets.len() as u64
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn loopback_in_a_pod_is_the_pods_own() {
    let (cluster, _outside, _) = with_outside(|_| {}).await;
    let host = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let port = host.local_addr().expect("bound").port();
    let error = cluster
        .pod()
        .await
        .tries(&format!("connect 127.0.0.1 {port}"))
        .await
        .unwrap_err();
    assert!(error.contains("refused"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relays_own_port_leads_nowhere() {
    let (cluster, _outside, _) = with_outside(|_| {}).await;
    let mut pod = cluster.pod().await;
    let layout = cluster.network.layout();
    let command = format!("connect {} {}", layout.gateway, layout.relay_port);
    let error = pod.tries(&command).await.unwrap_err();
    assert!(error.contains("reset"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_dial_is_a_reset() {
    let cluster = Cluster::start_with(|config| {
        config.relay.dial =
            Arc::new(|_| Box::pin(async { Err(std::io::ErrorKind::ConnectionRefused.into()) }));
    })
    .await;
    let mut pod = cluster.pod().await;
    let error = pod.tries(&format!("connect {OUTSIDE}")).await.unwrap_err();
    assert!(error.contains("reset"), "{error}");
    assert_eq!(cluster.network.relay().usage(pod.address).failed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unfinished_when_the_server_stops_or_the_target_breaks_off_is_reset() {
    let (cluster, outside, _) = with_outside(|_| {}).await;
    let mut pod = cluster.pod().await;
    let fetch = format!("fetch {OUTSIDE} hello");
    for is_target_first in [true, false] {
        let half_an_answer = async {
            let (mut client, _) = outside.accept().await.expect("a client");
            let mut heard = [0; 5];
            client.read_exact(&mut heard).await.expect("heard");
            client.write_all(b"half").await.expect("sent");
            if is_target_first {
                client.set_zero_linger().expect("set");
                return None;
            }
            cluster.stop_serving();
            Some(client)
        };
        // The client is held until the pod has heard of the end.
        let (answer, _client) = tokio::join!(pod.tries(&fetch), half_an_answer);
        let error = answer.unwrap_err();
        assert!(error.contains("reset"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_does_not_answer_is_given_up() {
    let cluster = Cluster::start_with(|config| {
        config.relay.connect_limit = Duration::from_millis(100);
        config.relay.dial = Arc::new(|_| Box::pin(std::future::pending()));
    })
    .await;
    let mut pod = cluster.pod().await;
    let error = pod.tries(&format!("connect {OUTSIDE}")).await.unwrap_err();
    assert!(error.contains("reset"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_refuses_one_pod_and_not_the_other() {
    let (cluster, outside, refusals) = with_outside(|relay| {
        relay.rule = Some(Arc::new(|attempt| match attempt.pod.octets()[3] % 2 {
            0 => Ok(()),
            _ => Err("odd pods stay at home".into()),
        }));
    })
    .await;
    let (mut first, mut second) = (cluster.pod().await, cluster.pod().await);
    assert_eq!(
        (first.address.octets()[3], second.address.octets()[3]),
        (2, 3)
    );
    let fetch = format!("fetch {OUTSIDE} hello");
    let (answer, ()) = tokio::join!(first.does(&fetch), echo_once(&outside));
    assert_eq!(answer, "hello goodbye");
    assert!(second.tries(&fetch).await.unwrap_err().contains("reset"));
    let refusals = refusals.lock().expect("no panic");
    assert_eq!(refusals[0].1.to_string(), "odd pods stay at home");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_has_only_so_many_connections() {
    let (cluster, outside, _) = with_outside(|relay| relay.most_per_pod = 3).await;
    let mut held = Vec::new();
    let mut pod = cluster.pod().await;
    for _ in 0..3 {
        let hold = format!("hold {OUTSIDE}");
        let (_, accepted) = tokio::join!(pod.does(&hold), outside.accept());
        held.push(accepted.expect("a client"));
    }
    assert!(
        pod.tries(&format!("connect {OUTSIDE}"))
            .await
            .unwrap_err()
            .contains("reset")
    );
    // Another pod is not concerned.
    let mut other = cluster.pod().await;
    let fetch = format!("fetch {OUTSIDE} hello");
    let (answer, ()) = tokio::join!(other.does(&fetch), echo_once(&outside));
    assert_eq!(answer, "hello goodbye");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_bytes_come_back_whole() {
    let (cluster, outside, _) = with_outside(|_| {}).await;
    let mut pod = cluster.pod().await;
    let echo = async {
        let (mut client, _) = outside.accept().await.expect("a client");
        client.write_all(b"hello\n").await.expect("sent");
        let (mut reader, mut writer) = client.split();
        tokio::io::copy(&mut reader, &mut writer)
            .await
            .expect("echoed");
    };
    let flood = format!("flood {OUTSIDE} 20000000");
    let (answer, ()) = tokio::join!(pod.does(&flood), echo);
    assert!(answer.starts_with("20000000 bytes"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn udp_that_would_leave_is_refused_at_once() {
    let (cluster, _outside, _) = with_outside(|_| {}).await;
    let mut pod = cluster.pod().await;
    for _ in 0..20 {
        let error = pod.tries("udp 198.51.100.7 123").await.unwrap_err();
        assert!(error.contains("refused"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_cannot_dial_outside_through_the_nodes_network() {
    let (cluster, _outside, _) = with_outside(|_| {}).await;
    let address = "198.51.100.7:443".parse().expect("an address");
    let error = std::io::Error::from(match cluster.network.dial(address).await.unwrap_err() {
        node::net::Error::Holder(error) => error,
        other => panic!("{other}"),
    });
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
}
