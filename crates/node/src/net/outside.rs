//! Services whose endpoints lie outside of the cluster: the API server of a node that has joined one, or whatever an
//! EndpointSlice written by hand names. The node's rules send each connection to one place only, so these go to the
//! relay, which looks here where to. Pure.

use std::collections::HashMap;
use std::net::SocketAddrV4;

use super::layout::Layout;
use super::services::{Protocol, ServiceEntry};

/// Service ports, by the address that pods dial, with their endpoints outside of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outside(HashMap<SocketAddrV4, Vec<SocketAddrV4>>);

impl Outside {
    /// Takes TCP endpoints outside of the cluster out of `entries` and puts the relay in their place. Whatever else
    /// leads outside stays, and is refused by the node's rules.
    pub fn leave(entries: &mut [ServiceEntry], layout: &Layout) -> Self {
        let relay = SocketAddrV4::new(layout.gateway, layout.relay_port);
        let mut outside = Self::default();
        for entry in entries
            .iter_mut()
            .filter(|entry| entry.protocol == Protocol::Tcp)
        {
            let port = SocketAddrV4::new(entry.cluster_ip, entry.port);
            for endpoint in &mut entry.endpoints {
                if !layout.is_inside(*endpoint.ip()) {
                    let there = std::mem::replace(endpoint, relay);
                    outside.0.entry(port).or_default().push(there);
                }
            }
        }
        outside
    }

    /// Where a connection to `target` goes: to its endpoints in turn, as `turn` grows. None for what is no such port.
    pub fn endpoint(&self, target: SocketAddrV4, turn: usize) -> Option<SocketAddrV4> {
        let endpoints = self.0.get(&target)?;
        endpoints.get(turn % endpoints.len()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(endpoints: &[&str]) -> ServiceEntry {
        ServiceEntry {
            cluster_ip: "10.96.0.1".parse().expect("an address"),
            protocol: Protocol::Tcp,
            port: 443,
            endpoints: endpoints.iter().map(|text| at(text)).collect(),
        }
    }

    fn at(text: &str) -> SocketAddrV4 {
        text.parse().expect("an address with a port")
    }

    #[test]
    fn endpoints_outside_are_reached_through_the_relay_in_turn() {
        let mut entries = [entry(&["192.0.2.7:6443", "192.0.2.8:6443"])];
        let outside = Outside::leave(&mut entries, &Layout::default());
        assert_eq!(entries[0].endpoints, [at("10.1.0.1:9999"); 2]);
        let service = at("10.96.0.1:443");
        assert_eq!(outside.endpoint(service, 0), Some(at("192.0.2.7:6443")));
        assert_eq!(outside.endpoint(service, 1), Some(at("192.0.2.8:6443")));
        assert_eq!(outside.endpoint(service, 2), Some(at("192.0.2.7:6443")));
        assert_eq!(outside.endpoint(at("10.96.0.1:80"), 0), None);
    }

    #[test]
    fn pods_are_reached_directly_also_beside_endpoints_outside() {
        let mut entries = [entry(&["10.1.0.5:8080", "192.0.2.7:80"]), entry(&[])];
        let outside = Outside::leave(&mut entries, &Layout::default());
        assert_eq!(
            entries[0].endpoints,
            [at("10.1.0.5:8080"), at("10.1.0.1:9999")]
        );
        assert_eq!(
            outside.endpoint(at("10.96.0.1:443"), 5),
            Some(at("192.0.2.7:80"))
        );
    }

    #[test]
    fn udp_is_not_relayed() {
        let mut entries = [ServiceEntry {
            protocol: Protocol::Udp,
            ..entry(&["192.0.2.7:53"])
        }];
        let outside = Outside::leave(&mut entries, &Layout::default());
        assert_eq!(outside, Outside::default());
        assert_eq!(entries[0].endpoints, [at("192.0.2.7:53")]);
    }
}
