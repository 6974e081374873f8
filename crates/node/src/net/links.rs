//! Route netlink in the few words the node's network needs: links, addresses, neighbours and routes, as messages.
//! Building only; sending is the caller's.

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::netlink::{Attributes, Message, find, flags};

/// The loopback device is the first of every network namespace.
pub(crate) const LOOPBACK: u32 = 1;

const VETH_INFO_PEER: u16 = 1;
const IFLA_INET_CONF: u16 = 1;
/// `net.ipv4.conf.*` by number (IPV4_DEVCONF_*).
const FORWARDING: u16 = 1;
const SEND_REDIRECTS: u16 = 6;
const NUD_PERMANENT: u16 = 0x80;
const ONLINK: u32 = 4; // RTNH_F_ONLINK: the next hop need not be reachable by another route

/// A hardware address.
pub(crate) type Mac = [u8; 6];

fn link_header(index: u32, up: bool) -> [u8; 16] {
    let mut header = [0_u8; 16];
    let flags = if up { libc::IFF_UP as u32 } else { 0 };
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&flags.to_ne_bytes());
    header
}

/// A pair of linked devices, one here and one called `peer_name` in another network namespace.
pub(crate) fn add_veth(
    name: &str,
    mac: Mac,
    peer_name: &str,
    peer_mac: Mac,
    peer_namespace: BorrowedFd<'_>,
) -> Message {
    let namespace = peer_namespace.as_raw_fd().to_ne_bytes();
    let peer = Attributes::new()
        .raw(&link_header(0, false))
        .text(libc::IFLA_IFNAME, peer_name)
        .attribute(libc::IFLA_ADDRESS, &peer_mac)
        .attribute(libc::IFLA_NET_NS_FD, &namespace);
    let info = Attributes::new().text(libc::IFLA_INFO_KIND, "veth").nest(
        libc::IFLA_INFO_DATA,
        Attributes::new().nest(VETH_INFO_PEER, peer),
    );
    Message::new(
        libc::RTM_NEWLINK,
        flags::CREATE | flags::EXCL,
        &link_header(0, false),
    )
    .text(libc::IFLA_IFNAME, name)
    .attribute(libc::IFLA_ADDRESS, &mac)
    .nest(libc::IFLA_LINKINFO, info)
}

/// Removes a device, and with it its other end.
pub(crate) fn delete_link(index: u32) -> Message {
    Message::new(libc::RTM_DELLINK, 0, &link_header(index, false))
}

/// Switches a device on.
pub(crate) fn set_up(index: u32) -> Message {
    Message::new(libc::RTM_NEWLINK, 0, &link_header(index, true))
}

/// Switches a device on and lets packets that come in by it be forwarded. Said per device, so that it also works
/// where `/proc/sys` is read-only.
pub(crate) fn set_up_forwarding(index: u32) -> Message {
    let values = Attributes::new()
        .attribute(FORWARDING, &1_u32.to_ne_bytes())
        .attribute(SEND_REDIRECTS, &0_u32.to_ne_bytes());
    let inet = Attributes::new().nest(IFLA_INET_CONF, values);
    let families = Attributes::new().nest(libc::AF_INET as u16, inet);
    set_up(index).nest(libc::IFLA_AF_SPEC, families)
}

/// Asks for a device by name.
pub(crate) fn get_link(name: &str) -> Message {
    Message::new(libc::RTM_GETLINK, 0, &link_header(0, false)).text(libc::IFLA_IFNAME, name)
}

/// Asks for all devices.
pub(crate) fn list_links() -> Message {
    Message::new(libc::RTM_GETLINK, 0, &link_header(0, false))
}

/// The index in a description of a device.
pub(crate) fn link_index(link: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(link.get(4..8)?.try_into().ok()?))
}

fn address_header(index: u32, prefix: u8) -> [u8; 8] {
    let [a, b, c, d] = index.to_ne_bytes();
    [libc::AF_INET as u8, prefix, 0, 0, a, b, c, d]
}

/// Gives a device an address of its own. Doing it twice is no error.
pub(crate) fn add_address(index: u32, address: Ipv4Addr) -> Message {
    Message::new(
        libc::RTM_NEWADDR,
        flags::CREATE | flags::REPLACE,
        &address_header(index, 32),
    )
    .attribute(libc::IFA_LOCAL, &address.octets())
    .attribute(libc::IFA_ADDRESS, &address.octets())
}

/// Takes an address from a device.
pub(crate) fn delete_address(index: u32, address: Ipv4Addr) -> Message {
    Message::new(libc::RTM_DELADDR, 0, &address_header(index, 32))
        .attribute(libc::IFA_LOCAL, &address.octets())
        .attribute(libc::IFA_ADDRESS, &address.octets())
}

/// Asks for all IPv4 addresses.
pub(crate) fn list_addresses() -> Message {
    Message::new(libc::RTM_GETADDR, 0, &address_header(0, 0))
}

/// The device and address in a description of an address.
pub(crate) fn address_of(entry: &[u8]) -> Option<(u32, Ipv4Addr)> {
    let index = u32::from_ne_bytes(entry.get(4..8)?.try_into().ok()?);
    let octets: [u8; 4] = find(entry.get(8..)?, libc::IFA_LOCAL)?.try_into().ok()?;
    Some((index, octets.into()))
}

/// Says once and for all which hardware address `address` has, so that no ARP is needed.
pub(crate) fn add_neighbour(index: u32, address: Ipv4Addr, mac: Mac) -> Message {
    let mut header = [0_u8; 12];
    header[0] = libc::AF_INET as u8;
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..10].copy_from_slice(&NUD_PERMANENT.to_ne_bytes());
    Message::new(libc::RTM_NEWNEIGH, flags::CREATE | flags::REPLACE, &header)
        .attribute(libc::NDA_DST, &address.octets())
        .attribute(libc::NDA_LLADDR, &mac)
}

/// Where packets for a destination go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route {
    /// The destination and its prefix; `None` for all that no other route takes.
    pub to: Option<Ipv4Addr>,
    /// The device.
    pub device: u32,
    /// The next hop, where the destination is not on the device itself.
    pub via: Option<Ipv4Addr>,
    /// The source of what this side sends by itself.
    pub source: Option<Ipv4Addr>,
}

/// Adds or replaces a route.
pub(crate) fn add_route(route: Route) -> Message {
    let scope = if route.via.is_some() {
        libc::RT_SCOPE_UNIVERSE
    } else {
        libc::RT_SCOPE_LINK
    };
    let prefix = if route.to.is_some() { 32 } else { 0 };
    let mut header = [0_u8; 12];
    header[0] = libc::AF_INET as u8;
    header[1] = prefix;
    header[4] = libc::RT_TABLE_MAIN;
    header[5] = libc::RTPROT_STATIC;
    header[6] = scope;
    header[7] = libc::RTN_UNICAST;
    if route.via.is_some() {
        header[8..12].copy_from_slice(&ONLINK.to_ne_bytes());
    }
    let mut message = Message::new(libc::RTM_NEWROUTE, flags::CREATE | flags::REPLACE, &header)
        .number(libc::RTA_OIF, route.device);
    if let Some(to) = route.to {
        message = message.attribute(libc::RTA_DST, &to.octets());
    }
    if let Some(via) = route.via {
        message = message.attribute(libc::RTA_GATEWAY, &via.octets());
    }
    if let Some(source) = route.source {
        message = message.attribute(libc::RTA_PREFSRC, &source.octets());
    }
    message
}

/// Asks which route packets to `address` would take.
pub(crate) fn get_route(address: Ipv4Addr) -> Message {
    let mut header = [0_u8; 12];
    header[0] = libc::AF_INET as u8;
    header[1] = 32;
    Message::new(libc::RTM_GETROUTE, 0, &header).attribute(libc::RTA_DST, &address.octets())
}

/// The type (`RTN_*`) in a description of a route.
pub(crate) fn route_type(route: &[u8]) -> Option<u8> {
    route.get(7).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::netlink::Socket;

    #[test]
    fn the_kernel_calls_loopback_addresses_local() {
        let mut socket = Socket::open_route().expect("route sockets are open to everyone");
        for address in [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 9, 8, 7)] {
            let route = socket
                .get(get_route(address))
                .expect("loopback has a route");
            assert_eq!(route_type(&route), Some(libc::RTN_LOCAL));
        }
    }

    #[test]
    fn listed_addresses_hold_loopback() {
        let mut socket = Socket::open_route().expect("route sockets are open to everyone");
        let entries = socket.dump(list_addresses()).expect("a list");
        let found: Vec<_> = entries.iter().filter_map(|e| address_of(e)).collect();
        assert!(
            found.contains(&(LOOPBACK, Ipv4Addr::LOCALHOST)),
            "{found:?}"
        );
    }
}
