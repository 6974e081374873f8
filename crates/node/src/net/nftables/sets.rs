//! The sets and maps the rules look up, and their elements as bytes. Keys are rows of 4-byte fields.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::{HEADER, kind};
use crate::net::netlink::{Attributes, Message, Refusal, Socket, attributes, find, flags};
use crate::net::services::Protocol;

const IS_MAP: u32 = 0x8;
/// An attribute holds less than 64 KiB; an element of ours takes at most 52 bytes.
const ELEMENTS_PER_MESSAGE: usize = 1000;

/// A set or map of the ruleset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Set {
    /// Device . address: what each pod may send as.
    Pods,
    /// Address . address, the same twice, of every pod: one that reaches itself through a Service.
    Hairpin,
    /// Address: the node's own, built-in pods included.
    Local,
    /// Address . protocol . port → endpoint, of Services with one endpoint.
    Single,
    /// Address . protocol . port . slot → endpoint, of Services with several.
    Several,
}

impl Set {
    pub const ALL: [Self; 5] = [
        Self::Pods,
        Self::Hairpin,
        Self::Local,
        Self::Single,
        Self::Several,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Pods => "pods",
            Self::Hairpin => "hairpin",
            Self::Local => "local",
            Self::Single => "single",
            Self::Several => "several",
        }
    }

    fn key_length(self) -> u32 {
        match self {
            Self::Local => 4,
            Self::Pods | Self::Hairpin => 8,
            Self::Single => 12,
            Self::Several => 16,
        }
    }

    fn is_map(self) -> bool {
        matches!(self, Self::Single | Self::Several)
    }

    /// The message that adds the set, empty. The types only matter to programs that print rulesets; they are the
    /// numbers `nft` gives to (rows of) addresses, protocols, ports and marks.
    pub fn add(self, table: &str) -> Message {
        const ADDRESS: u32 = 7;
        const PROTOCOL: u32 = 12;
        const PORT: u32 = 13;
        const MARK: u32 = 19;
        const DEVICE: u32 = 18;
        let row = |fields: &[u32]| fields.iter().fold(0, |row, field| row << 6 | field);
        let key = match self {
            Self::Pods => row(&[DEVICE, ADDRESS]),
            Self::Hairpin => row(&[ADDRESS, ADDRESS]),
            Self::Local => ADDRESS,
            Self::Single => row(&[ADDRESS, PROTOCOL, PORT]),
            Self::Several => row(&[ADDRESS, PROTOCOL, PORT, MARK]),
        };
        let mut message = Message::new(kind(9), flags::CREATE, &HEADER)
            .text(1, table)
            .text(2, self.name())
            .number_be(3, if self.is_map() { IS_MAP } else { 0 })
            .number_be(4, key)
            .number_be(5, self.key_length())
            .number_be(10, self as u32 + 1);
        if self.is_map() {
            message = message.number_be(6, row(&[ADDRESS, PORT])).number_be(7, 8);
        }
        message
    }
}

/// An element: its key and, in a map, what it says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Element {
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
}

impl Element {
    pub fn pod(device: u32, address: Ipv4Addr) -> Self {
        Self {
            key: [device.to_ne_bytes(), address.octets()].concat(),
            value: None,
        }
    }

    /// The pod an element of `Set::Pods` is about.
    pub fn as_pod(&self) -> Option<(u32, Ipv4Addr)> {
        let device = u32::from_ne_bytes(self.key.get(0..4)?.try_into().ok()?);
        let octets: [u8; 4] = self.key.get(4..8)?.try_into().ok()?;
        Some((device, octets.into()))
    }

    pub fn hairpin(address: Ipv4Addr) -> Self {
        Self {
            key: [address.octets(), address.octets()].concat(),
            value: None,
        }
    }

    pub fn local(address: Ipv4Addr) -> Self {
        Self {
            key: address.octets().to_vec(),
            value: None,
        }
    }

    /// Where connections to a Service's port go; with a slot, in `Set::Several`.
    pub fn service(
        (address, protocol, port): (Ipv4Addr, Protocol, u16),
        slot: Option<u32>,
        endpoint: SocketAddrV4,
    ) -> Self {
        let mut key = address.octets().to_vec();
        key.extend_from_slice(&[protocol.number(), 0, 0, 0]);
        key.extend_from_slice(&port.to_be_bytes());
        key.extend_from_slice(&[0, 0]);
        if let Some(slot) = slot {
            key.extend_from_slice(&slot.to_ne_bytes());
        }
        let mut value = endpoint.ip().octets().to_vec();
        value.extend_from_slice(&endpoint.port().to_be_bytes());
        value.extend_from_slice(&[0, 0]);
        Self {
            key,
            value: Some(value),
        }
    }

    /// The Service an element of `Set::Single` or `Set::Several` is about.
    pub fn as_service(&self) -> Option<ServiceElement> {
        let value = self.value.as_deref()?;
        let (address, rest) = self.key.split_first_chunk::<4>()?;
        let (protocol, rest) = rest.split_first_chunk::<4>()?;
        let (port, rest) = rest.split_first_chunk::<4>()?;
        let slot = match rest {
            [] => None,
            slot => Some(u32::from_ne_bytes(slot.try_into().ok()?)),
        };
        let (endpoint, endpoint_port) = value.split_first_chunk::<4>()?;
        let number = |bytes: &[u8]| Some(u16::from_be_bytes(*bytes.first_chunk::<2>()?));
        Some(ServiceElement {
            port: (
                (*address).into(),
                Protocol::from_number(protocol[0])?,
                number(port)?,
            ),
            slot,
            endpoint: SocketAddrV4::new((*endpoint).into(), number(endpoint_port)?),
        })
    }

    fn to_attributes(&self, with_value: bool) -> Attributes {
        let mut element = Attributes::new().nest(1, Attributes::new().attribute(1, &self.key));
        if let (true, Some(value)) = (with_value, &self.value) {
            element = element.nest(2, Attributes::new().attribute(1, value));
        }
        element
    }

    fn from_attributes(bytes: &[u8]) -> Option<Self> {
        let key = find(find(bytes, 1)?, 1)?.to_vec();
        let value = find(bytes, 2)
            .and_then(|data| find(data, 1))
            .map(<[u8]>::to_vec);
        Some(Self { key, value })
    }
}

/// What an element of the Service maps says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ServiceElement {
    pub port: (Ipv4Addr, Protocol, u16),
    pub slot: Option<u32>,
    pub endpoint: SocketAddrV4,
}

fn element_messages(
    table: &str,
    set: Set,
    elements: &[Element],
    message: u16,
    message_flags: u16,
    with_value: bool,
) -> Vec<Message> {
    let list = |part: &[Element]| {
        part.iter().fold(Attributes::new(), |list, element| {
            list.nest(1, element.to_attributes(with_value))
        })
    };
    elements
        .chunks(ELEMENTS_PER_MESSAGE)
        .map(|part| {
            Message::new(kind(message), message_flags, &HEADER)
                .text(1, table)
                .text(2, set.name())
                .nest(3, list(part))
        })
        .collect()
}

/// Messages that add elements to a set.
pub(crate) fn add_elements(table: &str, set: Set, elements: &[Element]) -> Vec<Message> {
    element_messages(table, set, elements, 12, flags::CREATE, true)
}

/// Messages that delete elements from a set; each must be there.
pub(crate) fn delete_elements(table: &str, set: Set, elements: &[Element]) -> Vec<Message> {
    element_messages(table, set, elements, 14, 0, false)
}

/// The elements of a set.
pub(crate) fn list_elements(
    socket: &mut Socket,
    table: &str,
    set: Set,
) -> Result<Vec<Element>, Refusal> {
    let question = Message::new(kind(13), 0, &HEADER)
        .text(1, table)
        .text(2, set.name());
    let mut elements = Vec::new();
    for part in socket.dump(question)? {
        let list = part
            .get(HEADER.len()..)
            .and_then(|body| find(body, 3))
            .unwrap_or_default();
        elements.extend(attributes(list).filter_map(|(_, e)| Element::from_attributes(e)));
    }
    Ok(elements)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_read_back_is_the_element_sent() {
        let endpoint = SocketAddrV4::new(Ipv4Addr::new(10, 1, 0, 7), 8080);
        let address = Ipv4Addr::new(10, 96, 0, 20);
        let element = Element::service((address, Protocol::Tcp, 80), Some(59), endpoint);
        assert_eq!(element.key.len(), Set::Several.key_length() as usize);
        let list = Attributes::new().nest(1, element.to_attributes(true));
        let message = Message::new(1, 0, &[]).nest(3, list);
        let body = find(&message.bytes()[16..], 3).expect("the list");
        let read: Vec<_> = attributes(body)
            .filter_map(|(_, e)| Element::from_attributes(e))
            .collect();
        assert_eq!(read, [element]);
    }

    #[test]
    fn a_full_message_of_elements_fits_an_attribute() {
        let endpoint = SocketAddrV4::new(Ipv4Addr::BROADCAST, u16::MAX);
        let element = Element::service((Ipv4Addr::BROADCAST, Protocol::Udp, 1), Some(1), endpoint);
        let size = Attributes::new().nest(1, element.to_attributes(true)).len();
        assert!(
            size * ELEMENTS_PER_MESSAGE < usize::from(u16::MAX) - 4,
            "{size}"
        );
    }

    #[test]
    fn a_pod_element_says_which_device_may_send_as_which_address() {
        let address = Ipv4Addr::new(10, 1, 2, 3);
        assert_eq!(Element::pod(17, address).as_pod(), Some((17, address)));
        assert_eq!(Element::local(address).as_pod(), None);
    }
}
