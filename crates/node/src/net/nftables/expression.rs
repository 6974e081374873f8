//! The expressions a rule is made of. Values travel through 4-byte registers, numbered here from 0.

use std::net::Ipv4Addr;

use crate::net::layout::Cidr;
use crate::net::netlink::Attributes;

const FIRST_REGISTER: u32 = 8; // NFT_REG32_00
const VERDICT: u32 = 0; // NFT_REG_VERDICT
const DROP: u32 = 0;
const ACCEPT: u32 = 1;
const META_INPUT: u32 = 4;
const META_OUTPUT: u32 = 5;
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
const IPV4: u32 = 2;

/// A 4-byte register.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Register(pub u8);

impl Register {
    fn number(self) -> u32 {
        FIRST_REGISTER + u32::from(self.0)
    }
}

/// How a packet is refused.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reject {
    /// As a closed port answers a TCP connection.
    TcpReset,
    /// As a closed port answers anything else.
    PortUnreachable,
}

/// The expressions of one rule, in order. A step that compares ends the rule for packets that differ.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expressions(Attributes);

impl Expressions {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn into_attributes(self) -> Attributes {
        self.0
    }

    fn push(self, name: &str, data: Attributes) -> Self {
        const LIST_ELEMENT: u16 = 1;
        let expression = Attributes::new().text(1, name).nest(2, data);
        Self(self.0.nest(LIST_ELEMENT, expression))
    }

    /// Loads the index of the device a packet came in by.
    pub fn load_input_device(self, to: Register) -> Self {
        self.push(
            "meta",
            Attributes::new()
                .number_be(2, META_INPUT)
                .number_be(1, to.number()),
        )
    }

    /// Loads the index of the device a packet goes out by.
    pub fn load_output_device(self, to: Register) -> Self {
        self.push(
            "meta",
            Attributes::new()
                .number_be(2, META_OUTPUT)
                .number_be(1, to.number()),
        )
    }

    fn load(self, to: Register, base: u32, offset: u32, length: u32) -> Self {
        let data = Attributes::new()
            .number_be(1, to.number())
            .number_be(2, base)
            .number_be(3, offset)
            .number_be(4, length);
        self.push("payload", data)
    }

    /// Loads the source address.
    pub fn load_source(self, to: Register) -> Self {
        self.load(to, NETWORK_HEADER, 12, 4)
    }

    /// Loads the destination address.
    pub fn load_destination(self, to: Register) -> Self {
        self.load(to, NETWORK_HEADER, 16, 4)
    }

    /// Loads the number of the transport protocol.
    pub fn load_protocol(self, to: Register) -> Self {
        self.load(to, NETWORK_HEADER, 9, 1)
    }

    /// Loads the destination port.
    pub fn load_destination_port(self, to: Register) -> Self {
        self.load(to, TRANSPORT_HEADER, 2, 2)
    }

    /// Loads the source port.
    pub fn load_source_port(self, to: Register) -> Self {
        self.load(to, TRANSPORT_HEADER, 0, 2)
    }

    /// Loads a number that goes round from 0 to `modulus - 1`, one step per packet that gets here.
    pub fn load_counter(self, to: Register, modulus: u32) -> Self {
        const INCREMENTAL: u32 = 0;
        let data = Attributes::new()
            .number_be(1, to.number())
            .number_be(2, modulus)
            .number_be(3, INCREMENTAL);
        self.push("numgen", data)
    }

    /// Loads fixed bytes.
    pub fn load_value(self, to: Register, value: &[u8]) -> Self {
        let data = Attributes::new()
            .number_be(1, to.number())
            .nest(2, Attributes::new().attribute(1, value));
        self.push("immediate", data)
    }

    fn compare(self, register: Register, operation: u32, value: &[u8]) -> Self {
        let data = Attributes::new()
            .number_be(1, register.number())
            .number_be(2, operation)
            .nest(3, Attributes::new().attribute(1, value));
        self.push("cmp", data)
    }

    /// Goes on only if the register holds `value`.
    pub fn equals(self, register: Register, value: &[u8]) -> Self {
        self.compare(register, 0, value)
    }

    /// Goes on only if the register holds anything but `value`.
    pub fn differs(self, register: Register, value: &[u8]) -> Self {
        self.compare(register, 1, value)
    }

    fn masked(self, from: Register, to: Register, mask: Ipv4Addr) -> Self {
        let data = Attributes::new()
            .number_be(1, from.number())
            .number_be(2, to.number())
            .number_be(3, 4)
            .nest(4, Attributes::new().attribute(1, &mask.octets()))
            .nest(5, Attributes::new().attribute(1, &[0; 4]));
        self.push("bitwise", data)
    }

    /// Goes on only if the address in `register` lies in `block`. Uses register 15.
    pub fn within(self, register: Register, block: Cidr) -> Self {
        let scratch = Register(15);
        self.masked(register, scratch, block.mask())
            .equals(scratch, &block.first.octets())
    }

    /// Goes on only if the address in `register` lies outside `block`. Uses register 15.
    pub fn outside(self, register: Register, block: Cidr) -> Self {
        let scratch = Register(15);
        self.masked(register, scratch, block.mask())
            .differs(scratch, &block.first.octets())
    }

    /// Goes on only if the registers from `key` are (or with `present` false: are not) in a set.
    pub fn in_set(self, set: &str, key: Register, present: bool) -> Self {
        const INVERTED: u32 = 1;
        let mut data = Attributes::new().text(1, set).number_be(2, key.number());
        if !present {
            data = data.number_be(5, INVERTED);
        }
        self.push("lookup", data)
    }

    /// Looks the registers from `key` up in a map and loads what it says; ends the rule if there is nothing.
    pub fn look_up(self, map: &str, key: Register, to: Register) -> Self {
        let data = Attributes::new()
            .text(1, map)
            .number_be(2, key.number())
            .number_be(3, to.number());
        self.push("lookup", data)
    }

    fn nat(self, kind: u32, address: Register, port: Option<Register>) -> Self {
        let mut data = Attributes::new()
            .number_be(1, kind)
            .number_be(2, IPV4)
            .number_be(3, address.number());
        if let Some(port) = port {
            data = data.number_be(5, port.number());
        }
        self.push("nat", data)
    }

    /// Sends the connection to the address and port in the registers.
    pub fn redirect_to(self, address: Register, port: Register) -> Self {
        self.nat(1, address, Some(port))
    }

    /// Makes the connection come from the address in the register.
    pub fn come_from(self, address: Register) -> Self {
        self.nat(0, address, None)
    }

    /// Refuses the packet so that its sender knows at once.
    pub fn reject(self, how: Reject) -> Self {
        const PORT_UNREACHABLE: u8 = 3;
        let data = match how {
            Reject::TcpReset => Attributes::new().number_be(1, 1),
            Reject::PortUnreachable => Attributes::new()
                .number_be(1, 0)
                .attribute(2, &[PORT_UNREACHABLE]),
        };
        self.push("reject", data)
    }

    /// Keeps the packet out of connection tracking, and so of address translation. Goes on.
    pub fn not_tracked(self) -> Self {
        self.push("notrack", Attributes::new())
    }

    fn verdict(self, code: u32) -> Self {
        let verdict = Attributes::new().number_be(1, code);
        let data = Attributes::new()
            .number_be(1, VERDICT)
            .nest(2, Attributes::new().nest(2, verdict));
        self.push("immediate", data)
    }

    /// Lets the packet pass this chain.
    pub fn accept(self) -> Self {
        self.verdict(ACCEPT)
    }

    /// Drops the packet without a word.
    pub fn drop(self) -> Self {
        self.verdict(DROP)
    }
}
