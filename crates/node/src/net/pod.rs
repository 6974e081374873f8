//! The pod's side of its network, called by the shim inside the pod's own network namespace, single-threaded, after
//! the server has put `eth0` there. Opens its own netlink socket; needs no other process.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::error::Error;
use super::links::{self, LOOPBACK, Route};
use super::netlink::{Refusal, Socket};
use super::node::gateway_mac;

/// The name of a pod's device.
pub const DEVICE: &str = "eth0";

/// What a pod's network looks like from inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PodLink {
    /// The pod's address.
    pub address: Ipv4Addr,
    /// The node's own address (`Layout::gateway`).
    pub gateway: Ipv4Addr,
}

/// Something that could not be had and that a pod can live without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning(pub String);

/// Brings up `lo` and `eth0`, gives the pod its address and default route, and lets every user in the pod bind
/// ports below 1024. Returns what did not work but is not needed by most pods.
pub fn configure(link: &PodLink) -> Result<Vec<Warning>, Error> {
    let refused = |step: &str, refusal: Refusal| {
        Error::refused(
            format!("{step} in the network of pod {}", link.address),
            refusal,
        )
    };
    let mut socket = Socket::open_route().map_err(|e| refused("open netlink", e.into()))?;
    let device = socket
        .get(links::get_link(DEVICE))
        .map_err(|e| refused("find eth0", e))?;
    let device = links::link_index(&device).unwrap_or_default();
    let messages = vec![
        links::set_up(LOOPBACK),
        links::add_address(device, link.address),
        links::set_up(device),
        links::add_neighbour(device, link.gateway, gateway_mac(link.address)),
        links::add_route(Route {
            to: None,
            device,
            via: Some(link.gateway),
            source: Some(link.address),
        }),
    ];
    socket
        .requests(messages)
        .map_err(|e| refused("set up lo, eth0 and the default route", e))?;

    wait_for_round_trip(link).map_err(|error| {
        Error::refused(format!("reach the node from pod {}", link.address), error)
    })?;

    let mut warnings = Vec::new();
    let low_ports = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
    if let Err(error) = std::fs::write(low_ports, "0") {
        warnings.push(Warning(format!(
            "users other than root cannot bind ports below 1024 in this pod: write {low_ports}: {error}"
        )));
    }
    Ok(warnings)
}

/// The kernel switches the node's end of a link on some time after both ends are up, and drops what is sent into it
/// until then: the pod's first answer from DNS would be lost and cost it five seconds. So the pod knocks at a closed
/// port of the node until it hears that nobody is there.
fn wait_for_round_trip(link: &PodLink) -> io::Result<()> {
    const CLOSED_PORT: u16 = 9;
    const LIMIT: Duration = Duration::from_secs(5);
    let begun = Instant::now();
    let mut pause = Duration::from_millis(1);
    let socket = UdpSocket::bind((link.address, 0))?;
    socket.connect((link.gateway, CLOSED_PORT))?;
    loop {
        let heard = match socket.send(&[]) {
            Ok(_) => {
                socket.set_read_timeout(Some(pause))?;
                socket.recv(&mut [0])
            }
            Err(error) => Err(error),
        };
        match heard.map_err(|error| error.kind()) {
            Ok(_) | Err(io::ErrorKind::ConnectionRefused) => return Ok(()),
            Err(_) if begun.elapsed() > LIMIT => return Err(Errno::ETIMEDOUT.into()),
            Err(io::ErrorKind::WouldBlock) => {}
            Err(_) => std::thread::sleep(pause),
        }
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}
