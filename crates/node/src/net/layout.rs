//! Which addresses the node's network uses. Everything else takes them from here, so a clash with a user's own
//! network is cured in one place.

use std::net::Ipv4Addr;

/// A block of IPv4 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    /// First address of the block.
    pub first: Ipv4Addr,
    /// Leading bits that all addresses of the block share, 0 to 32.
    pub prefix: u8,
}

impl Cidr {
    /// The block of `prefix` leading bits that holds `address`.
    pub const fn new(address: Ipv4Addr, prefix: u8) -> Self {
        let first = Ipv4Addr::from_bits(address.to_bits() & mask_of(prefix));
        Self { first, prefix }
    }

    /// The block as a mask: leading ones.
    pub const fn mask(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(mask_of(self.prefix))
    }

    /// Whether `address` lies in the block.
    pub const fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask_of(self.prefix) == self.first.to_bits()
    }

    /// How many addresses the block has.
    pub const fn size(self) -> u64 {
        1 << (32 - self.prefix)
    }

    /// The address at `index` from the first, if the block reaches that far.
    pub fn nth(self, index: u64) -> Option<Ipv4Addr> {
        (index < self.size()).then(|| Ipv4Addr::from_bits(self.first.to_bits() + index as u32))
    }
}

const fn mask_of(prefix: u8) -> u32 {
    if prefix == 0 {
        0
    } else {
        u32::MAX << (32 - prefix)
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

/// The addresses and ports of the node's network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Pod addresses are taken from here; the node's own `gateway` lies in it too.
    pub pods: Cidr,
    /// Service addresses are taken from here, by the API server.
    pub services: Cidr,
    /// The node's own address: pods' default route, source of probes and other connections that users can shape.
    pub gateway: Ipv4Addr,
    /// From here the API server's proxy dials, and nobody else: who is dialled may believe what it says about users.
    pub proxy: Ipv4Addr,
    /// Address of the cluster's DNS server, port 53.
    pub dns: Ipv4Addr,
    /// Port on `gateway` where TCP that leaves the cluster is sent.
    pub relay_port: u16,
    /// Port on `gateway` where the API server listens: the endpoint of the `kubernetes` Service.
    pub api_port: u16,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            pods: Cidr::new(Ipv4Addr::new(10, 1, 0, 0), 16),
            services: Cidr::new(Ipv4Addr::new(10, 96, 0, 0), 16),
            gateway: Ipv4Addr::new(10, 1, 0, 1),
            proxy: Ipv4Addr::new(10, 1, 255, 254),
            dns: Ipv4Addr::new(10, 96, 0, 10),
            relay_port: 9999,
            api_port: 6443,
        }
    }
}

impl Layout {
    /// Whether `address` belongs to the cluster: a pod, a Service or the node itself.
    pub fn is_inside(&self, address: Ipv4Addr) -> bool {
        self.pods.contains(address) || self.services.contains(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_holds_its_first_and_last_address_and_no_neighbour() {
        let block = Cidr::new(Ipv4Addr::new(10, 96, 3, 4), 16);
        assert_eq!(block.to_string(), "10.96.0.0/16");
        assert!(block.contains(Ipv4Addr::new(10, 96, 0, 0)));
        assert!(block.contains(Ipv4Addr::new(10, 96, 255, 255)));
        assert!(!block.contains(Ipv4Addr::new(10, 97, 0, 0)));
        assert!(!block.contains(Ipv4Addr::new(10, 95, 255, 255)));
        assert_eq!(block.nth(65_535), Some(Ipv4Addr::new(10, 96, 255, 255)));
        assert_eq!(block.nth(65_536), None);
    }

    #[test]
    fn the_whole_internet_is_a_block_too() {
        let all = Cidr::new(Ipv4Addr::new(1, 2, 3, 4), 0);
        assert!(all.contains(Ipv4Addr::BROADCAST));
        assert_eq!(all.size(), 1 << 32);
    }
}
