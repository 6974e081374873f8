//! Pods resolve names through the node.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;

use node::dns::{EndpointRecord, PodRecord, PortRecord, Records, ServiceRecord, ServiceTarget};
use node::net::Protocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;

use crate::cluster::{Cluster, Pod, Serving, service, start_in};

fn record(
    name: &str,
    target: ServiceTarget,
    endpoints: &[(Ipv4Addr, Option<&str>)],
) -> ServiceRecord {
    ServiceRecord {
        namespace: "default".into(),
        name: name.into(),
        target,
        ports: vec![PortRecord {
            name: "http".into(),
            protocol: Protocol::Tcp,
            port: 80,
        }],
        endpoints: endpoints
            .iter()
            .map(|(ip, hostname)| EndpointRecord {
                ip: *ip,
                hostname: hostname.map(str::to_owned),
            })
            .collect(),
    }
}

/// A pod whose `/etc/resolv.conf` is the one the kubelet would give it.
async fn pod_with_names(cluster: &Cluster) -> Pod {
    let path: PathBuf = cluster.folder.path().join("resolv.conf");
    let text = "nameserver 10.96.0.10\n\
                search default.svc.cluster.local svc.cluster.local cluster.local\n\
                options ndots:5\n";
    std::fs::write(&path, text).expect("written");
    Pod::start_with_resolver(&cluster.network, path.to_str().expect("plain")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn services_pods_and_outside_names_are_found_by_the_c_library() {
    let cluster = Cluster::start_with(|config| {
        let hosts = config.folder.with_file_name("hosts");
        std::fs::write(&hosts, "192.0.2.7 mirror.example\n").expect("written");
        config.dns.hosts_file = hosts;
    })
    .await;
    let mut server = cluster.pod().await;
    server.does("listen 8080").await;
    let mut pod = pod_with_names(&cluster).await;
    cluster
        .network
        .set_services(vec![service(20, &[server.address])])
        .await
        .expect("set");
    let web = ServiceTarget::ClusterIp(Ipv4Addr::new(10, 96, 0, 20));
    let members = [(server.address, Some("member-0")), (pod.address, None)];
    cluster.network.set_records(&Records {
        services: vec![
            record("web", web, &[(server.address, None)]),
            record("members", ServiceTarget::Headless, &members),
            record(
                "mirror",
                ServiceTarget::ExternalName("mirror.example".into()),
                &[],
            ),
        ],
        pods: vec![PodRecord {
            namespace: "default".into(),
            ip: server.address,
        }],
    });

    for name in [
        "web",
        "web.default",
        "web.default.svc",
        "web.default.svc.cluster.local",
        "WEB",
    ] {
        assert_eq!(
            pod.does(&format!("resolve {name}")).await,
            "10.96.0.20",
            "{name}"
        );
    }
    let address = server.address.to_string();
    assert_eq!(pod.does("resolve member-0.members").await, address);
    let dashed = address.replace('.', "-");
    assert_eq!(
        pod.does(&format!("resolve {dashed}.default.pod.cluster.local"))
            .await,
        address
    );
    let mut both: Vec<_> = pod
        .does("resolve members")
        .await
        .split(',')
        .map(str::to_owned)
        .collect();
    both.sort();
    let mut expected = vec![address, pod.address.to_string()];
    expected.sort();
    assert_eq!(both, expected);
    assert_eq!(pod.does("resolve mirror.example").await, "192.0.2.7");
    assert_eq!(pod.does("resolve mirror").await, "192.0.2.7");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_nobody_has_fail_at_once() {
    let cluster = Cluster::start().await;
    let mut pod = pod_with_names(&cluster).await;
    for name in [
        "nothing.default.svc.cluster.local",
        "nothing.svc.cluster.local.",
    ] {
        let error = pod.tries(&format!("resolve {name}")).await.unwrap_err();
        let after = milliseconds(&error);
        assert!(after < 1000, "{name}: {error}");
    }
}

/// `… after N ms …`
fn milliseconds(error: &str) -> u64 {
    let words: Vec<_> = error.split(' ').collect();
    let at = words
        .iter()
        .position(|word| *word == "after")
        .expect("says how long it took");
    words[at + 1].parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_server_questions_fail_at_once_and_with_the_next_one_they_work() {
    let folder = tempfile::tempdir().expect("folder");
    let first = start_in(folder.path()).await;
    let serving = Serving::start(&first).await;
    let resolver = folder.path().join("resolv.conf");
    std::fs::write(&resolver, "nameserver 10.96.0.10\n").expect("written");
    let mut pod = Pod::start_with_resolver(&first, resolver.to_str().expect("plain")).await;
    assert_eq!(pod.does("resolve x.localhost").await, "127.0.0.1");
    serving.stop().await;
    let error = pod
        .tries("resolve web.default.svc.cluster.local")
        .await
        .unwrap_err();
    assert!(milliseconds(&error) < 1000, "{error}");

    let second = start_in(folder.path()).await;
    let serving = Serving::start(&second).await;
    let web = ServiceTarget::ClusterIp(Ipv4Addr::new(10, 96, 0, 20));
    let records = Records {
        services: vec![record("web", web, &[])],
        pods: vec![],
    };
    second.set_records(&records);
    assert_eq!(
        pod.does("resolve web.default.svc.cluster.local").await,
        "10.96.0.20"
    );
    serving.stop().await;
    second.shutdown().await.expect("ended");
}

/// A question for the A record of a name.
fn question(name: &str) -> Vec<u8> {
    let mut bytes = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.extend_from_slice(&[0, 0, 1, 0, 1]);
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn other_names_are_asked_of_the_hosts_nameserver_and_its_silent_one_is_passed_over() {
    let silent = UdpSocket::bind("127.0.0.53:0").await.expect("bound");
    let outside = UdpSocket::bind("127.0.0.1:0").await.expect("bound");
    // Nameservers are always on port 53, which an ordinary user cannot bind: ask the server's own parts instead.
    let nameservers = [silent.local_addr(), outside.local_addr()].map(|a| a.expect("bound"));
    let (answering, asked) = tokio::sync::oneshot::channel();
    let answer = tokio::spawn(async move {
        let mut buffer = [0; 512];
        let (length, from) = outside.recv_from(&mut buffer).await.expect("a question");
        let mut answer = buffer[..length].to_vec();
        answer[2] |= 0x80;
        answer[7] = 1;
        answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 9]);
        outside.send_to(&answer, from).await.expect("sent");
        answering.send(buffer[..2].to_vec()).expect("heard");
    });
    let cluster = Cluster::start_with(|config| {
        config.dns.nameservers = nameservers.to_vec();
    })
    .await;
    let dns = SocketAddr::from((cluster.network.layout().dns, 53));
    let gateway = cluster.network.layout().gateway;
    let client = cluster
        .network
        .udp(SocketAddrV4::new(gateway, 0))
        .await
        .expect("bound");
    client
        .send_to(&question("pypi.org"), dns)
        .await
        .expect("sent");
    let mut buffer = [0; 512];
    let length = client.recv(&mut buffer).await.expect("an answer");
    assert_eq!(buffer[..2], [0xab, 0xcd]);
    assert_eq!(buffer[length - 4..length], [192, 0, 2, 9]);
    assert_ne!(
        asked.await.expect("asked"),
        [0xab, 0xcd],
        "the number is the server's own"
    );
    answer.await.expect("no panic");
    let mut heard = [0; 512];
    silent
        .recv(&mut heard)
        .await
        .expect("the first nameserver was asked first");
}

#[tokio::test(flavor = "multi_thread")]
async fn long_answers_come_by_tcp() {
    let cluster = Cluster::start().await;
    let ips: Vec<_> = (1..=100)
        .map(|last| (Ipv4Addr::new(10, 1, 7, last), None))
        .collect();
    let services = vec![record("many", ServiceTarget::Headless, &ips)];
    cluster.network.set_records(&Records {
        services,
        pods: vec![],
    });
    let question = question("many.default.svc.cluster.local");
    let dns = SocketAddrV4::new(cluster.network.layout().dns, 53);

    let gateway = SocketAddrV4::new(cluster.network.layout().gateway, 0);
    let udp = cluster.network.udp(gateway).await.expect("bound");
    udp.send_to(&question, SocketAddr::from(dns))
        .await
        .expect("sent");
    let mut short = [0; 4096];
    udp.recv(&mut short).await.expect("an answer");
    assert_eq!((short[2] & 2, short[7]), (2, 0), "cut and empty");

    let mut tcp = cluster.network.dial(dns).await.expect("connected");
    for _ in 0..2 {
        let framed = [&(question.len() as u16).to_be_bytes()[..], &question].concat();
        tcp.write_all(&framed).await.expect("sent");
        let length = tcp.read_u16().await.expect("an answer");
        let mut answer = vec![0; usize::from(length)];
        tcp.read_exact(&mut answer).await.expect("an answer");
        assert_eq!((answer[2] & 2, answer[7]), (0, 100), "whole");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_does_not_stop_the_server() {
    let cluster = Cluster::start().await;
    let gateway = SocketAddrV4::new(cluster.network.layout().gateway, 0);
    let dns = SocketAddrV4::new(cluster.network.layout().dns, 53);
    let udp = cluster.network.udp(gateway).await.expect("bound");
    let good = question("x.localhost");
    for cut in 0..good.len() {
        udp.send_to(&good[..cut], SocketAddr::from(dns))
            .await
            .expect("sent");
        udp.send_to(&vec![0xff; cut * 20], SocketAddr::from(dns))
            .await
            .expect("sent");
    }
    udp.send_to(&good, SocketAddr::from(dns))
        .await
        .expect("sent");
    let mut buffer = [0; 512];
    loop {
        let length = udp.recv(&mut buffer).await.expect("an answer");
        if buffer[..2] == [0xab, 0xcd] && buffer[3] & 15 == 0 {
            assert_eq!(buffer[length - 4..length], [127, 0, 0, 1]);
            break;
        }
    }
    let mut tcp = cluster.network.dial(dns).await.expect("connected");
    tcp.write_all(&[0, 3, 1, 2, 3]).await.expect("sent");
    assert_eq!(tcp.read(&mut buffer).await.expect("closed"), 0);
}
