//! What the Service maps must hold and how to get there from what they hold. Pure: sending is `net::node`'s.

use std::collections::{BTreeMap, BTreeSet};
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

    pub(crate) const fn from_number(number: u8) -> Option<Self> {
        match number {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            _ => None,
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

/// A Service's port.
type Port = (Ipv4Addr, Protocol, u16);

/// A slot of a port, where it has slots, and the endpoint that is in it.
type Said = (Option<u32>, SocketAddrV4);

/// Where the connections to a port go.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Deal {
    /// All to one endpoint.
    Single(SocketAddrV4),
    /// By turns: the endpoint of each slot. The kernel may be found to lack some.
    Several(Vec<Option<SocketAddrV4>>),
}

impl Deal {
    /// Deals endpoints; `None` if there are none.
    fn of(mut endpoints: Vec<SocketAddrV4>) -> Option<Self> {
        endpoints.sort_unstable();
        endpoints.dedup();
        match endpoints.as_slice() {
            [] => None,
            [only] => Some(Self::Single(*only)),
            several => {
                let slots = several.iter().cycle().take(SLOTS as usize);
                Some(Self::Several(slots.copied().map(Some).collect()))
            }
        }
    }

    /// What the map of `set` says about the port, by slot.
    fn said_in(&self, set: Set) -> Vec<Said> {
        match (self, set) {
            (Self::Single(endpoint), Set::Single) => vec![(None, *endpoint)],
            (Self::Several(slots), Set::Several) => {
                let said = |(slot, endpoint): (u32, &Option<_>)| Some((Some(slot), (*endpoint)?));
                (0..).zip(slots).filter_map(said).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// What the two maps hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServiceMaps(BTreeMap<Port, Deal>);

/// The elements to take out and put in, for one of the maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub delete: Vec<Element>,
    pub add: Vec<Element>,
}

impl ServiceMaps {
    /// What the maps must hold for these Services.
    pub fn of(entries: &[ServiceEntry]) -> Self {
        let mut by_port: BTreeMap<Port, Vec<SocketAddrV4>> = BTreeMap::new();
        for entry in entries {
            let port = (entry.cluster_ip, entry.protocol, entry.port);
            by_port.entry(port).or_default().extend(&entry.endpoints);
        }
        let dealt = |(port, endpoints)| Some((port, Deal::of(endpoints)?));
        Self(by_port.into_iter().filter_map(dealt).collect())
    }

    /// What the maps hold according to the kernel. What cannot be read is left out.
    pub fn from_elements(elements: impl IntoIterator<Item = Element>) -> Self {
        let mut ports = BTreeMap::new();
        for element in elements {
            let Some(service) = element.as_service() else {
                continue;
            };
            match service.slot {
                None => {
                    ports.insert(service.port, Deal::Single(service.endpoint));
                }
                Some(slot) => {
                    let deal = ports
                        .entry(service.port)
                        .or_insert_with(|| Deal::Several(vec![None; SLOTS as usize]));
                    if let Deal::Several(slots) = deal
                        && let Some(place) = slots.get_mut(slot as usize)
                    {
                        *place = Some(service.endpoint);
                    }
                }
            }
        }
        Self(ports)
    }

    /// What must change in each map to hold `desired`. A changed element is deleted and added: the kernel has no
    /// replace, and both happen in one transaction.
    pub fn changes_to(&self, desired: &Self) -> [(Set, Change); 2] {
        let mut changes = [Set::Single, Set::Several].map(|set| (set, Change::default()));
        let ports: BTreeSet<_> = self.0.keys().chain(desired.0.keys()).collect();
        for port in ports {
            let (now, then) = (self.0.get(port), desired.0.get(port));
            if now == then {
                continue;
            }
            for (set, change) in &mut changes {
                let said = |deal: Option<&Deal>| deal.map(|d| d.said_in(*set)).unwrap_or_default();
                let (now, then) = (said(now), said(then));
                let lacking = |from: &[Said], other: &[Said]| -> Vec<Element> {
                    let element =
                        |(slot, endpoint): &Said| Element::service(*port, *slot, *endpoint);
                    from.iter()
                        .filter(|said| !other.contains(said))
                        .map(element)
                        .collect()
                };
                change.delete.extend(lacking(&now, &then));
                change.add.extend(lacking(&then, &now));
            }
        }
        changes
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
        let changes = ServiceMaps::default().changes_to(&ServiceMaps::of(&[entry(&[2, 3])]));
        let added = &changes[1].1.add;
        let to_first = |element: &&Element| {
            element
                .as_service()
                .is_some_and(|service| service.endpoint.ip().octets()[3] == 2)
        };
        assert_eq!(
            (added.len(), added.iter().filter(to_first).count()),
            (60, 30)
        );
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
    fn what_is_read_back_from_the_kernel_is_what_was_sent() {
        let maps = ServiceMaps::of(&[
            entry(&[2, 3]),
            ServiceEntry {
                protocol: Protocol::Udp,
                ..entry(&[4])
            },
        ]);
        let sent = ServiceMaps::default().changes_to(&maps);
        let elements = sent.into_iter().flat_map(|(_, change)| change.add);
        assert_eq!(ServiceMaps::from_elements(elements), maps);
    }

    #[test]
    fn a_slot_the_kernel_lacks_is_added_alone() {
        let maps = ServiceMaps::of(&[entry(&[2, 3])]);
        let sent = ServiceMaps::default().changes_to(&maps);
        let elements = sent.into_iter().flat_map(|(_, change)| change.add).skip(1);
        let changes = ServiceMaps::from_elements(elements).changes_to(&maps);
        assert_eq!(total(&changes), (0, 1));
    }

    #[test]
    fn a_service_without_endpoints_is_not_in_any_map() {
        assert_eq!(ServiceMaps::of(&[entry(&[])]), ServiceMaps::default());
    }
}
