//! What the node's network needs from a kernel, tried out in the calling thread's own network namespace, which is
//! expected to end with the trial.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;

use nix::errno::Errno;

use super::layout::Layout;
use super::netlink::{Refusal, Socket};
use super::nftables::{commit, ruleset};
use super::{links, node};

/// Makes a pair of linked devices.
pub(crate) fn veth() -> Result<(), Errno> {
    let errno = |error: Refusal| error.errno;
    let own = File::open("/proc/self/ns/net").map_err(|e| errno(e.into()))?;
    let mac = node::gateway_mac(Ipv4Addr::LOCALHOST);
    let message = links::add_veth("trial", mac, "trial-peer", mac, own.as_fd());
    let mut socket = Socket::open_route().map_err(|e| errno(e.into()))?;
    socket.request(message).map_err(errno)
}

/// Makes the very rules the node would use.
pub(crate) fn rules() -> Result<(), Errno> {
    let mut socket =
        Socket::open(libc::NETLINK_NETFILTER).map_err(|error| Refusal::from(error).errno)?;
    let rules = ruleset::rules("trial", &Layout::default());
    commit(&mut socket, rules).map_err(|refusal| refusal.errno)
}
