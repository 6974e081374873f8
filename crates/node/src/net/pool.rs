//! Which pod addresses are taken. Goes round the block before it gives an address again, so that late packets and
//! cached names of a pod that is gone do not reach its successor.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::layout::Layout;

/// The pod addresses of a layout.
#[derive(Debug)]
pub(crate) struct Pool {
    layout: Layout,
    taken: BTreeSet<Ipv4Addr>,
    next: u64,
}

impl Pool {
    pub fn new(layout: Layout) -> Self {
        Self {
            layout,
            taken: BTreeSet::new(),
            next: 0,
        }
    }

    fn is_usable(&self, address: Ipv4Addr) -> bool {
        let pods = self.layout.pods;
        pods.contains(address)
            && address != pods.first
            && Some(address) != pods.nth(pods.size() - 1)
            && address != self.layout.gateway
            && address != self.layout.proxy
    }

    /// Takes a free address; `None` if there is none left.
    pub fn allocate(&mut self) -> Option<Ipv4Addr> {
        let size = self.layout.pods.size();
        for step in 0..size {
            let index = (self.next + step) % size;
            let address = self.layout.pods.nth(index)?;
            if self.is_usable(address) && self.taken.insert(address) {
                self.next = index + 1;
                return Some(address);
            }
        }
        None
    }

    /// Marks an address as taken; false if it is not one for pods.
    pub fn reserve(&mut self, address: Ipv4Addr) -> bool {
        if !self.is_usable(address) {
            return false;
        }
        self.taken.insert(address);
        let index = u64::from(address.to_bits() - self.layout.pods.first.to_bits());
        self.next = self.next.max(index + 1);
        true
    }

    /// Gives an address back.
    pub fn release(&mut self, address: Ipv4Addr) {
        self.taken.remove(&address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Cidr;

    fn small() -> Pool {
        let pods = Cidr::new(Ipv4Addr::new(10, 1, 0, 0), 29);
        Pool::new(Layout {
            pods,
            ..Layout::default()
        })
    }

    #[test]
    fn pods_never_get_the_nodes_own_addresses_nor_the_ends_of_the_block() {
        let mut pool = small();
        let given = |pool: &mut Pool| -> Vec<u8> {
            let free = std::iter::from_fn(|| pool.allocate());
            free.map(|a| a.octets()[3]).collect()
        };
        assert_eq!(given(&mut pool), [2, 3, 4, 5, 6]);
        let mut pool = small();
        pool.layout.proxy = Ipv4Addr::new(10, 1, 0, 4);
        assert_eq!(given(&mut pool), [2, 3, 5, 6]);
    }

    #[test]
    fn a_released_address_is_the_last_to_be_given_again() {
        let mut pool = small();
        let first = pool.allocate().expect("free");
        pool.release(first);
        let next: Vec<_> = std::iter::from_fn(|| pool.allocate()).collect();
        assert_eq!(next.last(), Some(&first));
        assert_eq!(next.len(), 5);
    }

    #[test]
    fn a_reserved_address_is_not_given() {
        let mut pool = small();
        assert!(pool.reserve(Ipv4Addr::new(10, 1, 0, 2)));
        assert_eq!(pool.allocate(), Some(Ipv4Addr::new(10, 1, 0, 3)));
        assert!(!pool.reserve(Ipv4Addr::new(10, 1, 0, 1)));
        assert!(!pool.reserve(Ipv4Addr::new(10, 2, 0, 2)));
    }
}
