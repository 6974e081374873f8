//! The holder outlives the server, is found again, can be replaced, and leaves nothing when it ends.

use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use node::holder::Error as HolderError;
use node::net::{Error, NodeNetwork};

use crate::cluster::{Cluster, Pod, config, program, service, start_in};

/// Every process whose network namespace is `inode`.
fn processes_in(inode: u64) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").expect("/proc is there");
    processes
        .flatten()
        .filter(|entry| {
            let namespace = std::fs::metadata(entry.path().join("ns/net"));
            namespace.is_ok_and(|namespace| namespace.ino() == inode)
        })
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

fn namespace_of(network: &NodeNetwork) -> u64 {
    std::fs::metadata(network.holder().namespace_paths().1)
        .expect("the holder lives")
        .ino()
}

#[test]
fn this_machine_lets_us_have_the_network() {
    if let Err(error) = node::holder::probe(&program()) {
        panic!("{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_finds_the_holder_the_pods_and_the_services() {
    let cluster = Cluster::start().await;
    let (mut a, mut b) = (cluster.pod().await, cluster.pod().await);
    b.does("listen 8080").await;
    cluster
        .network
        .set_services(vec![service(20, &[b.address])])
        .await
        .expect("set");
    let builtin = cluster.network.allocate().expect("free");
    cluster.network.add_builtin(builtin).await.expect("added");
    let namespace = namespace_of(&cluster.network);

    // The first server is not asked for anything any more, as if it had been killed.
    let second = start_in(cluster.folder.path()).await;
    assert!(second.holder().is_adopted());
    assert_eq!(namespace_of(&second), namespace);
    let mut attached = second.attached().await.expect("known");
    attached.sort();
    assert_eq!(attached, [a.address, b.address]);
    assert_ne!(second.allocate().expect("free"), a.address);
    let answer = a.does("connect 10.96.0.20 80").await;
    assert_eq!(answer, format!("{} sees {}|", b.address, a.address));

    // It knows what is there well enough to change it.
    second
        .set_services(vec![service(21, &[b.address])])
        .await
        .expect("set");
    assert!(a.tries("connect 10.96.0.20 80").await.is_err());
    a.does("connect 10.96.0.21 80").await;
    second.detach_pod(b.address).await.expect("detached");
    assert!(a.tries("connect 10.96.0.21 80").await.is_err());
    // The built-in pods of the first server are gone with it, so their addresses are free.
    let error = second
        .listen(std::net::SocketAddrV4::new(builtin, 80))
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Holder(HolderError::Bind { .. })),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_that_ended_while_no_server_looked_are_forgotten() {
    let cluster = Cluster::start().await;
    let (a, b) = (cluster.pod().await, cluster.pod().await);
    let (left, address) = (a.address, b.address);
    b.end().await;
    // Their links go some milliseconds after their namespace.
    let forgotten = async {
        let known = async || {
            start_in(cluster.folder.path())
                .await
                .attached()
                .await
                .expect("known")
        };
        while known().await != [left] {}
    };
    let patience = std::time::Duration::from_secs(20);
    let outcome = tokio::time::timeout(patience, forgotten).await;
    assert!(outcome.is_ok(), "{address} is still attached");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_holder_is_replaced_and_pods_keep_their_network() {
    let cluster = Cluster::start().await;
    let (mut a, mut b) = (cluster.pod().await, cluster.pod().await);
    b.does("listen 8080").await;
    let namespace = namespace_of(&cluster.network);

    let (_, old) = cluster.network.holder().namespace_paths();
    let pid = old
        .components()
        .nth(2)
        .expect("/proc/PID")
        .as_os_str()
        .to_string_lossy()
        .parse();
    let pid = nix::unistd::Pid::from_raw(pid.expect("a number"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("killed");
    while cluster.network.holder().namespace_paths().1 == old {
        tokio::task::yield_now().await;
    }

    assert_eq!(namespace_of(&cluster.network), namespace);
    a.does(&format!("connect {} 8080", b.address)).await;
    // New pods can still be made: the user namespace is the old one too.
    let mut c = cluster.pod().await;
    c.does(&format!("connect {} 8080", b.address)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_holder_and_server_died_a_descriptor_of_a_shim_brings_the_network_back() {
    let folder = tempfile::tempdir().expect("folder");
    let first = start_in(folder.path()).await;
    let (mut a, mut b) = (Pod::start(&first).await, Pod::start(&first).await);
    b.does("listen 8080").await;
    // What a shim does: it keeps a descriptor of the node's network namespace.
    let held = first
        .holder()
        .namespaces()
        .net
        .as_fd()
        .try_clone_to_owned()
        .expect("held");
    let mut shim = tokio::process::Command::new("sleep")
        .arg("600")
        .stdin(held)
        .kill_on_drop(true)
        .spawn()
        .expect("started");
    let namespace = namespace_of(&first);
    first.shutdown().await.expect("ended");
    // As the next server does with each shim it finds.
    let pid = shim.id().expect("it runs");
    let found = node::holder::network_held_by(pid).expect("readable");
    shim.kill().await.expect("killed");
    assert!(found.is_some());

    let rejoined = NodeNetwork::start(node::net::Config {
        rejoin: found,
        ..config(folder.path())
    });
    let second = rejoined.await.expect("rejoined");
    assert!(!second.holder().is_adopted());
    assert_eq!(namespace_of(&second), namespace);
    assert_eq!(second.attached().await.expect("known").len(), 2);
    a.does(&format!("connect {} 8080", b.address)).await;
    let mut c = Pod::start(&second).await;
    c.does(&format!("connect {} 8080", b.address)).await;
    second.shutdown().await.expect("ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_leaves_no_process_no_namespace_and_no_socket() {
    let folder = tempfile::tempdir().expect("folder");
    let network = start_in(folder.path()).await;
    let namespace = namespace_of(&network);
    assert_eq!(processes_in(namespace).len(), 1);
    network.clone().shutdown().await.expect("ended");
    assert_eq!(processes_in(namespace), Vec::<String>::new());
    assert!(!folder.path().join("network/holder.sock").exists());
    // Ending what has ended is no error, and a new start is a fresh one.
    network.clone().shutdown().await.expect("nothing to do");
    network
        .holder()
        .recover()
        .expect("nobody takes the place of one that was told to end");
    assert!(!folder.path().join("network/holder.sock").exists());
    let again = start_in(folder.path()).await;
    assert!(!again.holder().is_adopted());
    again.shutdown().await.expect("ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_other_rules_takes_over_pods_and_services() {
    let cluster = Cluster::start().await;
    let (mut a, mut b) = (cluster.pod().await, cluster.pod().await);
    b.does("listen 8080").await;
    cluster
        .network
        .set_services(vec![service(20, &[b.address])])
        .await
        .expect("set");
    // Another relay port makes other rules, as a later version of ours does.
    let layout = node::net::Layout {
        relay_port: 9998,
        ..Default::default()
    };
    let later = node::net::Config {
        layout,
        ..config(cluster.folder.path())
    };
    let later = NodeNetwork::start(later).await.expect("taken over");
    assert_eq!(later.attached().await.expect("known").len(), 2);
    let answer = a.does("connect 10.96.0.20 80").await;
    assert_eq!(answer, format!("{} sees {}|", b.address, a.address));
    // Only the later rules are left: what leaves goes to a port where nobody listens yet.
    let error = a.tries("connect 198.51.100.7 443").await.unwrap_err();
    assert!(error.contains("refused"), "{error}");
    later.set_services(vec![]).await.expect("set");
    assert!(a.tries("connect 10.96.0.20 80").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_whose_server_was_killed_while_starting_it_is_no_obstacle() {
    let folder = tempfile::tempdir().expect("folder");
    let network = folder.path().join("network");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::create_dir(&network).expect("made");
    std::fs::set_permissions(&network, mode).expect("set");
    // It waits for the first word of its server, which never comes.
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
    let mut orphan = std::process::Command::new(program())
        .arg(node::holder::process::SUBCOMMAND)
        .arg(&network)
        .stdin(std::os::fd::OwnedFd::from(theirs))
        .spawn()
        .expect("started");
    while !network.join("holder.json").exists() {
        std::thread::yield_now();
    }
    let starting = tokio::spawn({
        let folder = folder.path().to_owned();
        async move { start_in(&folder).await }
    });
    drop(ours);
    let started = starting.await.expect("no panic");
    assert!(!started.holder().is_adopted());
    started.shutdown().await.expect("ended");
    assert!(!orphan.wait().expect("ended").success());
}

#[tokio::test(flavor = "multi_thread")]
async fn attaching_what_is_no_network_says_which_step_failed() {
    let cluster = Cluster::start().await;
    let address = cluster.network.allocate().expect("free");
    let file = std::fs::File::open("/dev/null").expect("there");
    let error = cluster
        .network
        .attach_pod(address, file.into())
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains(&format!("make a link for pod {address}")),
        "{error}"
    );
    let outside = "192.0.2.1".parse().expect("an address");
    let error = cluster
        .network
        .attach_process(outside, std::process::id())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NotAPodAddress(_)), "{error}");
    assert_eq!(
        cluster.network.attached().await.expect("known"),
        Vec::<std::net::Ipv4Addr>::new()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_whose_folder_was_deleted_ends_with_its_last_server() {
    let folder = tempfile::tempdir().expect("folder");
    let network = start_in(folder.path()).await;
    let namespace = namespace_of(&network);
    folder.close().expect("deleted");
    // With a server it goes on: pods may be alive.
    let address = std::net::SocketAddrV4::new(network.layout().gateway, 0);
    network.udp(address).await.expect("it still makes sockets");
    drop(network);
    let gone = async {
        while !processes_in(namespace).is_empty() {
            tokio::task::yield_now().await;
        }
    };
    let outcome = tokio::time::timeout(std::time::Duration::from_secs(20), gone).await;
    assert!(outcome.is_ok(), "the holder is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_others_can_open_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("folder");
    let network = folder.path().join("network");
    std::fs::create_dir(&network).expect("made");
    std::fs::set_permissions(&network, std::fs::Permissions::from_mode(0o755)).expect("set");
    let error = NodeNetwork::start(config(folder.path())).await.unwrap_err();
    assert!(
        matches!(error, Error::Holder(HolderError::NotPrivate(_))),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_program_is_named() {
    let folder = tempfile::tempdir().expect("folder");
    let executable = Path::new("/nonexistent/kfctl").to_owned();
    let config = node::net::Config {
        executable,
        ..config(folder.path())
    };
    let error = NodeNetwork::start(config).await.unwrap_err();
    assert!(error.to_string().contains("/nonexistent/kfctl"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_that_start_at_once_share_one_holder() {
    let folder = tempfile::tempdir().expect("folder");
    let (first, second) = tokio::join!(start_in(folder.path()), start_in(folder.path()));
    assert_eq!(namespace_of(&first), namespace_of(&second));
    assert_ne!(first.holder().is_adopted(), second.holder().is_adopted());
    first.shutdown().await.expect("ended");
}
