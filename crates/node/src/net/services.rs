//! What the Service maps must hold and how to get there from what they hold. Pure: sending is `net::node`'s.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use super::nftables::sets::{Element, Set};

/// Endpoints of a Service with several are dealt onto this many slots, and connections take the slots in turn.
/// 60 divides evenly by 2 to 6; with more endpoints some get a slot more than others, beyond 60 some get none.
pub(crate) const SLOTS: u32 = 60;

/// Transport of a Service port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// The number in the IP header.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

/// One port of one Service and where its connections go. Entries without endpoints are refused at once, like
/// addresses nobody has. Two entries for the same port are one with the endpoints of both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceEntry {
    /// The Service's own address.
    pub cluster_ip: Ipv4Addr,
    /// Transport.
    pub protocol: Protocol,
    /// The Service's port.
    pub port: u16,
    /// Ready endpoints with the port they listen on.
    pub endpoints: Vec<SocketAddrV4>,
}

/// What the two maps hold: key bytes to value bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServiceMaps {
    single: BTreeMap<Vec<u8>, Vec<u8>>,
    several: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// The elements to take out and put in, for one of the maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub delete: Vec<Element>,
    pub add: Vec<Element>,
}

impl ServiceMaps {
    /// What the maps must hold for these Services.
    pub fn of(entries: &[ServiceEntry]) -> Self {
        let mut by_port: BTreeMap<_, Vec<SocketAddrV4>> = BTreeMap::new();
        for entry in entries {
            let endpoints = by_port
                .entry((entry.cluster_ip, entry.protocol, entry.port))
                .or_default();
            endpoints.extend(&entry.endpoints);
        }
        let mut maps = Self::default();
        for ((address, protocol, port), mut endpoints) in by_port {
            endpoints.sort_unstable();
            endpoints.dedup();
            match endpoints.as_slice() {
                [] => {}
                [endpoint] => {
                    maps.insert(Element::service(address, protocol, port, None, *endpoint));
                }
                endpoints => {
                    for (slot, endpoint) in (0..SLOTS).zip(endpoints.iter().cycle()) {
                        let slot = Some(slot);
                        maps.insert(Element::service(address, protocol, port, slot, *endpoint));
                    }
                }
            }
        }
        maps
    }

    /// What the maps hold according to the kernel.
    pub fn from_elements(elements: impl IntoIterator<Item = Element>) -> Self {
        let mut maps = Self::default();
        for element in elements {
            maps.insert(element);
        }
        maps
    }

    fn insert(&mut self, element: Element) {
        const SINGLE_KEY: usize = 12;
        let map = if element.key.len() == SINGLE_KEY {
            &mut self.single
        } else {
            &mut self.several
        };
        map.insert(element.key, element.value.unwrap_or_default());
    }

    /// What must change in each map to hold `desired`. A changed element is deleted and added: the kernel has no
    /// replace, and both happen in one transaction.
    pub fn changes_to(&self, desired: &Self) -> [(Set, Change); 2] {
        [
            (Set::Single, change(&self.single, &desired.single)),
            (Set::Several, change(&self.several, &desired.several)),
        ]
    }
}

fn change(now: &BTreeMap<Vec<u8>, Vec<u8>>, desired: &BTreeMap<Vec<u8>, Vec<u8>>) -> Change {
    let missing = |from: &BTreeMap<Vec<u8>, Vec<u8>>, key: &Vec<u8>, value: &Vec<u8>| {
        from.get(key) != Some(value)
    };
    let elements = |of: &BTreeMap<Vec<u8>, Vec<u8>>, other: &BTreeMap<Vec<u8>, Vec<u8>>| {
        of.iter()
            .filter(|(key, value)| missing(other, key, value))
            .map(|(key, value)| Element {
                key: key.clone(),
                value: Some(value.clone()),
            })
            .collect()
    };
    Change {
        delete: elements(now, desired),
        add: elements(desired, now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(endpoints: &[u8]) -> ServiceEntry {
        ServiceEntry {
            cluster_ip: Ipv4Addr::new(10, 96, 0, 20),
            protocol: Protocol::Tcp,
            port: 80,
            endpoints: endpoints
                .iter()
                .map(|last| SocketAddrV4::new(Ipv4Addr::new(10, 1, 0, *last), 8080))
                .collect(),
        }
    }

    fn total(changes: &[(Set, Change); 2]) -> (usize, usize) {
        changes
            .iter()
            .fold((0, 0), |(deleted, added), (_, change)| {
                (deleted + change.delete.len(), added + change.add.len())
            })
    }

    #[test]
    fn a_service_with_one_endpoint_takes_one_element() {
        let changes = ServiceMaps::default().changes_to(&ServiceMaps::of(&[entry(&[2])]));
        assert_eq!(total(&changes), (0, 1));
    }

    #[test]
    fn two_endpoints_share_the_slots_evenly() {
        let maps = ServiceMaps::of(&[entry(&[2, 3])]);
        let first = maps.several.values().filter(|value| value[3] == 2).count();
        assert_eq!((maps.several.len(), first), (60, 30));
    }

    #[test]
    fn an_unchanged_map_needs_no_change() {
        let maps = ServiceMaps::of(&[entry(&[2, 3]), entry(&[3, 2])]);
        assert_eq!(
            total(&maps.changes_to(&ServiceMaps::of(&[entry(&[3, 2])]))),
            (0, 0)
        );
    }

    #[test]
    fn a_replaced_endpoint_is_deleted_and_added() {
        let changes = ServiceMaps::of(&[entry(&[2])]).changes_to(&ServiceMaps::of(&[entry(&[4])]));
        assert_eq!(total(&changes), (1, 1));
        assert_eq!(changes[0].1.delete[0].key, changes[0].1.add[0].key);
    }

    #[test]
    fn a_second_endpoint_moves_the_service_to_the_other_map() {
        let changes =
            ServiceMaps::of(&[entry(&[2])]).changes_to(&ServiceMaps::of(&[entry(&[2, 4])]));
        assert_eq!(changes[0].1.delete.len(), 1);
        assert_eq!(changes[1].1.add.len(), 60);
    }

    #[test]
    fn a_service_without_endpoints_is_not_in_any_map() {
        assert_eq!(ServiceMaps::of(&[entry(&[])]), ServiceMaps::default());
    }
}
