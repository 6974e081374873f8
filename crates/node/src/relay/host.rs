//! Which addresses the host takes for its own, as its routing says: interface addresses of every kind, the whole
//! loopback block and any locally routed range. Asked anew each time, since addresses come and go.

use std::net::Ipv4Addr;
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;

use crate::net::links;
use crate::net::netlink::Socket;

/// A question to the host's routing.
#[derive(Debug)]
pub(crate) struct Host(Mutex<Option<Socket>>);

impl Host {
    /// Opens the question channel in this process' own network namespace.
    pub fn new() -> Self {
        Self(Mutex::new(Socket::open_route().ok()))
    }

    /// Whether packets to `address` would stay on this machine (or go to all in its net). What cannot be found out
    /// counts as the host's own.
    pub fn owns(&self, address: Ipv4Addr) -> bool {
        let mut socket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if socket.is_none() {
            *socket = Socket::open_route().ok();
        }
        let Some(open) = socket.as_mut() else {
            return is_on_an_interface(address);
        };
        match open.get(links::get_route(address)) {
            Ok(route) => {
                let ordinary = [
                    libc::RTN_UNICAST,
                    libc::RTN_UNREACHABLE,
                    libc::RTN_BLACKHOLE,
                ];
                links::route_type(&route).is_none_or(|kind| !ordinary.contains(&kind))
            }
            // No route: it is not here, and dialling will say so.
            Err(refusal) if is_no_route(refusal.errno) => false,
            Err(refusal) => {
                tracing::warn!(errno = %refusal.errno, "cannot ask the host's routing about {address}");
                *socket = None;
                is_on_an_interface(address)
            }
        }
    }
}

fn is_no_route(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::EACCES | Errno::EINVAL
    )
}

/// The second-best answer, where netlink is closed to us.
fn is_on_an_interface(address: Ipv4Addr) -> bool {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else {
        return true;
    };
    interfaces
        .filter_map(|interface| interface.address)
        .filter_map(|found| found.as_sockaddr_in().map(nix::sys::socket::SockaddrIn::ip))
        .any(|own| own == address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_owns_its_interfaces_and_all_of_loopback() {
        let host = Host::new();
        let own: Vec<Ipv4Addr> = nix::ifaddrs::getifaddrs()
            .expect("a list")
            .filter_map(|i| i.address.and_then(|a| a.as_sockaddr_in().map(|a| a.ip())))
            .collect();
        assert!(own.contains(&Ipv4Addr::LOCALHOST), "{own:?}");
        for address in own {
            assert!(host.owns(address), "{address}");
            assert!(is_on_an_interface(address), "{address}");
        }
        assert!(host.owns(Ipv4Addr::new(127, 88, 7, 6)));
        assert!(!host.owns(Ipv4Addr::new(198, 51, 100, 7)));
    }
}
