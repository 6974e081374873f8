//! Service addresses lead to endpoints.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use node::net::{Protocol, ServiceEntry};
use tokio::io::AsyncWriteExt;

use crate::cluster::{Cluster, service};

#[tokio::test(flavor = "multi_thread")]
async fn a_service_leads_to_its_pod_and_the_pod_sees_the_client() {
    let cluster = Cluster::start().await;
    let (mut client, mut server) = (cluster.pod().await, cluster.pod().await);
    server.does("listen 8080").await;
    cluster
        .network
        .set_services(vec![service(20, &[server.address])])
        .await
        .expect("set");
    let answer = client.does("fetch 10.96.0.20 80 hello").await;
    assert_eq!(
        answer,
        format!("{} sees {}|hello", server.address, client.address)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_go_to_all_endpoints_in_turn() {
    let cluster = Cluster::start().await;
    let mut client = cluster.pod().await;
    let mut servers = Vec::new();
    for _ in 0..3 {
        let mut server = cluster.pod().await;
        server.does("listen 8080").await;
        servers.push(server);
    }
    let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
    cluster
        .network
        .set_services(vec![service(20, &addresses)])
        .await
        .expect("set");
    let mut seen = BTreeMap::<String, usize>::new();
    for _ in 0..30 {
        let answer = client.does("connect 10.96.0.20 80").await;
        *seen
            .entry(answer.split(' ').next().unwrap_or_default().to_owned())
            .or_default() += 1;
    }
    assert_eq!(seen.into_values().collect::<Vec<_>>(), [10, 10, 10]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_reaches_itself_by_its_own_service() {
    let cluster = Cluster::start().await;
    let mut pod = cluster.pod().await;
    pod.does("listen 8080").await;
    cluster
        .network
        .set_services(vec![service(20, &[pod.address])])
        .await
        .expect("set");
    let answer = pod.does("fetch 10.96.0.20 80 me").await;
    assert_eq!(
        answer,
        format!(
            "{} sees {}|me",
            pod.address,
            cluster.network.layout().gateway
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_services_and_those_without_endpoints_are_refused_at_once() {
    let cluster = Cluster::start().await;
    let mut pod = cluster.pod().await;
    cluster
        .network
        .set_services(vec![service(20, &[])])
        .await
        .expect("set");
    for target in ["10.96.0.20 80", "10.96.77.1 443", "10.96.0.10 54"] {
        for _ in 0..20 {
            let error = pod.tries(&format!("connect {target}")).await.unwrap_err();
            assert!(error.contains("refused"), "{target}: {error}");
        }
        let error = pod.tries(&format!("udp {target}")).await.unwrap_err();
        assert!(error.contains("refused"), "{target}: {error}");
    }
    let unknown = SocketAddrV4::new(Ipv4Addr::new(10, 96, 77, 1), 80);
    let error = std::io::Error::other(cluster.network.dial(unknown).await.unwrap_err());
    assert!(
        format!("{:?}", error).contains("ConnectionRefused"),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_endpoints_take_the_next_connection() {
    let cluster = Cluster::start().await;
    let mut pods = Vec::new();
    for _ in 0..3 {
        let mut pod = cluster.pod().await;
        pod.does("listen 8080").await;
        pods.push(pod);
    }
    let addresses: Vec<_> = pods.iter().map(|pod| pod.address).collect();
    for endpoints in [
        &addresses[0..1],
        &addresses[1..2],
        &addresses[1..3],
        &addresses[2..3],
    ] {
        let entries = vec![service(20, endpoints), service(21, &addresses)];
        cluster.network.set_services(entries).await.expect("set");
        for _ in 0..4 {
            let answer = pods[0].does("connect 10.96.0.20 80").await;
            let server = answer
                .split(' ')
                .next()
                .unwrap_or_default()
                .parse()
                .expect("an address");
            assert!(
                endpoints.contains(&server),
                "{server} is none of {endpoints:?}"
            );
        }
    }
    cluster.network.set_services(vec![]).await.expect("set");
    assert!(pods[0].tries("connect 10.96.0.20 80").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn udp_services_work_and_do_not_answer_for_tcp() {
    let cluster = Cluster::start().await;
    let (mut client, mut server) = (cluster.pod().await, cluster.pod().await);
    server.does("answer-udp 8080").await;
    let entry = ServiceEntry {
        protocol: Protocol::Udp,
        ..service(20, &[server.address])
    };
    cluster
        .network
        .set_services(vec![entry])
        .await
        .expect("set");
    let answer = client.does("udp 10.96.0.20 80").await;
    assert_eq!(
        answer,
        format!("{} sees {}", server.address, client.address)
    );
    assert!(
        client
            .tries("connect 10.96.0.20 80")
            .await
            .unwrap_err()
            .contains("refused")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_builtin_pod_listens_and_dials_under_its_own_address() {
    let cluster = Cluster::start().await;
    let network = &cluster.network;
    let mut pod = cluster.pod().await;
    pod.does("listen 8080").await;
    let builtin = network.allocate().expect("free");
    network.add_builtin(builtin).await.expect("added");
    let listener = network
        .listen(SocketAddrV4::new(builtin, 8080))
        .await
        .expect("bound");
    let entries = vec![service(20, &[builtin]), service(21, &[pod.address])];
    network.set_services(entries).await.expect("set");

    let greet = async {
        for _ in 0..3 {
            let (mut client, from) = listener.accept().await.expect("a client");
            client
                .write_all(format!("built-in sees {}\n", from.ip()).as_bytes())
                .await
                .expect("sent");
        }
    };
    let visits = async {
        let by_address = pod.does(&format!("connect {builtin} 8080")).await;
        let by_service = pod.does("connect 10.96.0.20 80").await;
        // The server itself, as the built-in pod, by the pod's own Service.
        let own = SocketAddrV4::new(Ipv4Addr::new(10, 96, 0, 20), 80);
        let own = network.dial_from(builtin, own).await.map(|_| ());
        (by_address, by_service, own)
    };
    let ((), (by_address, by_service, own)) = tokio::join!(greet, visits);
    assert_eq!(by_address, format!("built-in sees {}|", pod.address));
    assert_eq!(by_service, by_address);
    own.expect("a built-in pod reaches itself");

    let other = SocketAddrV4::new(Ipv4Addr::new(10, 96, 0, 21), 80);
    let stream = network.dial_from(builtin, other).await.expect("connected");
    let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(stream));
    let line = lines.next_line().await.expect("a line");
    assert_eq!(line, Some(format!("{} sees {builtin}", pod.address)));

    drop(listener);
    network.remove_builtin(builtin).await.expect("removed");
    assert!(
        pod.tries(&format!("connect {builtin} 8080"))
            .await
            .unwrap_err()
            .contains("refused")
    );
}
