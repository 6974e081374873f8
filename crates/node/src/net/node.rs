//! The node's side of the network, through netlink sockets that the holder made in the node's namespace. Owns what
//! is attached; after a restart it is read back from the kernel, which is the only record.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use rand::RngExt;

use super::error::Error;
use super::layout::Layout;
use super::links::{self, LOOPBACK, Mac, Route};
use super::netlink::{Message, Refusal, Socket};
use super::nftables::ruleset::{self, PREFIX};
use super::nftables::sets::{Element, Set, add_elements, delete_elements, list_elements};
use super::nftables::{commit, commit_in_parts, delete_table, list_tables};
use super::pod;
use super::services::{ServiceEntry, ServiceMaps};

/// Hardware address of the node's end of a pod's link.
pub(crate) fn gateway_mac(pod: Ipv4Addr) -> Mac {
    let [a, b, c, d] = pod.octets();
    [0x0a, 0xfe, a, b, c, d]
}

/// Hardware address of the pod's end.
fn pod_mac(pod: Ipv4Addr) -> Mac {
    let [a, b, c, d] = pod.octets();
    [0x0a, 0xfd, a, b, c, d]
}

/// Removes the node's end of a pod's link, and with it the other end and the route. The kernel answers only when nobody
/// can still be using it, which takes it some milliseconds.
pub(crate) fn remove_link(route: &mut Socket, address: Ipv4Addr, device: u32) -> Result<(), Error> {
    match route.request(links::delete_link(device)) {
        Err(refusal) if refusal.errno != Errno::ENODEV => Err(Error::refused(
            format!("remove the link of pod {address}"),
            refusal,
        )),
        _ => Ok(()),
    }
}

/// The node's network as this process has set it up.
#[derive(Debug)]
pub(crate) struct Node {
    layout: Layout,
    table: String,
    route: Socket,
    filter: Socket,
    /// Pods in namespaces of their own, with the index of the node's end of their link.
    attached: BTreeMap<Ipv4Addr, u32>,
    /// Pods that run in the server; their addresses are on the node's `lo`.
    builtin: Vec<Ipv4Addr>,
    services: ServiceMaps,
}

impl Node {
    /// Sets the network up, or finds it as an earlier server left it.
    pub fn set_up(layout: Layout, route: Socket, filter: Socket) -> Result<Self, Error> {
        let mut node = Self {
            table: ruleset::table_name(&layout),
            layout,
            route,
            filter,
            attached: BTreeMap::new(),
            builtin: Vec::new(),
            services: ServiceMaps::default(),
        };
        node.add_own_addresses()?;
        node.add_rules()?;
        node.forget_vanished()?;
        // Not for a pod, but an address of the node's own that no pod has, just as theirs are.
        node.add_builtin(node.layout.proxy)?;
        Ok(node)
    }

    /// Addresses of pods that are attached, in order.
    pub fn attached(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.attached.keys().copied()
    }

    fn add_own_addresses(&mut self) -> Result<(), Error> {
        let Layout { gateway, dns, .. } = self.layout;
        let messages = vec![
            links::set_up(LOOPBACK),
            links::add_address(LOOPBACK, gateway),
            links::add_address(LOOPBACK, dns),
            links::add_route(Route {
                to: None,
                device: LOOPBACK,
                via: None,
                source: Some(gateway),
            }),
        ];
        self.route
            .requests(messages)
            .map_err(|e| Error::refused("give the node's network its own addresses", e))
    }

    /// Makes our table, or takes over the one that is there. A table of another version of the rules is replaced by
    /// ours in one transaction, with what its sets held.
    fn add_rules(&mut self) -> Result<(), Error> {
        let refused = |e| Error::refused("set up the rules of the node's network", e);
        let tables = list_tables(&mut self.filter).map_err(refused)?;
        let ours: Vec<_> = tables
            .into_iter()
            .filter(|name| name.starts_with(PREFIX))
            .collect();
        let is_current = ours.contains(&self.table);

        let source = if is_current {
            Some(&self.table)
        } else {
            ours.first()
        };
        let mut pods = Vec::new();
        if let Some(source) = source {
            pods = list_elements(&mut self.filter, source, Set::Pods).map_err(refused)?;
            let mut services = Vec::new();
            for set in [Set::Single, Set::Several] {
                services.extend(list_elements(&mut self.filter, source, set).map_err(refused)?);
            }
            self.services = ServiceMaps::from_elements(services);
        }
        self.attached = pods
            .iter()
            .filter_map(Element::as_pod)
            .map(|(device, address)| (address, device))
            .collect();

        if !is_current {
            let mut messages = ruleset::rules(&self.table, &self.layout);
            let hairpins: Vec<_> = self.attached.keys().map(|a| Element::hairpin(*a)).collect();
            messages.extend(add_elements(&self.table, Set::Pods, &pods));
            messages.extend(add_elements(&self.table, Set::Hairpin, &hairpins));
            let own = [self.layout.gateway, self.layout.dns].map(Element::local);
            messages.extend(add_elements(&self.table, Set::Local, &own));
            for old in &ours {
                messages.push(delete_table(old));
            }
            commit(&mut self.filter, messages).map_err(refused)?;
            let carried = std::mem::take(&mut self.services);
            self.apply_services(carried)?;
        }
        self.forget_builtin()
    }

    /// Built-in pods ended with the server that ran them: their addresses go.
    fn forget_builtin(&mut self) -> Result<(), Error> {
        let keep = [Ipv4Addr::LOCALHOST, self.layout.gateway, self.layout.dns];
        let entries = self
            .route
            .dump(links::list_addresses())
            .map_err(|e| Error::refused("list the node's own addresses", e))?;
        let stale: Vec<_> = entries
            .iter()
            .filter_map(|entry| links::address_of(entry))
            .filter(|(device, address)| *device == LOOPBACK && !keep.contains(address))
            .map(|(_, address)| address)
            .collect();
        for address in stale {
            self.builtin.push(address);
            self.remove_builtin(address)?;
        }
        Ok(())
    }

    /// Pods whose namespace went while no server looked have no link any more.
    fn forget_vanished(&mut self) -> Result<(), Error> {
        let present: Vec<_> = self
            .route
            .dump(links::list_links())
            .map_err(|e| Error::refused("list the node's links", e))?
            .iter()
            .filter_map(|link| links::link_index(link))
            .collect();
        let gone: Vec<_> = self
            .attached
            .iter()
            .filter(|(_, device)| !present.contains(device))
            .map(|(address, _)| *address)
            .collect();
        gone.into_iter()
            .try_for_each(|address| self.detach(address))
    }

    /// Makes a link into a pod's network namespace, where it is called `eth0`, and routes the pod's address there.
    /// Attaching a pod again gives it a new link.
    pub fn attach(&mut self, address: Ipv4Addr, pod: BorrowedFd<'_>) -> Result<(), Error> {
        self.detach(address)?;
        let refused = |what: &str, e| Error::refused(format!("{what} for pod {address}"), e);
        // The kernel removes a link some milliseconds after its namespace: a name made of the address would clash.
        let name = format!("ff{:012x}", rand::rng().random::<u64>() & 0xffff_ffff_ffff);
        let veth = links::add_veth(
            &name,
            gateway_mac(address),
            pod::DEVICE,
            pod_mac(address),
            pod,
        );
        self.route
            .request(veth)
            .map_err(|e| refused("make a link", e))?;
        let link = self
            .route
            .get(links::get_link(&name))
            .map_err(|e| refused("find the link", e))?;
        let device = links::link_index(&link)
            .ok_or_else(|| refused("find the link", Refusal::from(Errno::EPROTO)))?;

        let outcome = self.join(address, device);
        if outcome.is_ok() {
            self.attached.insert(address, device);
        } else if let Err(refusal) = self.route.request(links::delete_link(device)) {
            tracing::warn!(pod.ip = %address, errno = %refusal.errno, "half-made link of pod {address} stays");
        }
        outcome
    }

    fn join(&mut self, address: Ipv4Addr, device: u32) -> Result<(), Error> {
        let messages = vec![
            links::set_up_forwarding(device),
            links::add_neighbour(device, address, pod_mac(address)),
            links::add_route(Route {
                to: Some(address),
                device,
                via: None,
                source: Some(self.layout.gateway),
            }),
        ];
        self.route
            .requests(messages)
            .map_err(|e| Error::refused(format!("route pod {address}"), e))?;
        let mut elements = add_elements(&self.table, Set::Pods, &[Element::pod(device, address)]);
        elements.extend(add_elements(
            &self.table,
            Set::Hairpin,
            &[Element::hairpin(address)],
        ));
        self.change_sets(format!("let pod {address} send"), elements)
    }

    /// Takes a pod off the network. A pod that is not attached is no error.
    fn detach(&mut self, address: Ipv4Addr) -> Result<(), Error> {
        match self.forget(address)? {
            Some(device) => remove_link(&mut self.route, address, device),
            None => Ok(()),
        }
    }

    /// Lets a pod send no more; answers which link is now to be removed, if it had one.
    pub fn forget(&mut self, address: Ipv4Addr) -> Result<Option<u32>, Error> {
        let Some(device) = self.attached.get(&address).copied() else {
            return Ok(None);
        };
        let mut elements =
            delete_elements(&self.table, Set::Pods, &[Element::pod(device, address)]);
        elements.extend(delete_elements(
            &self.table,
            Set::Hairpin,
            &[Element::hairpin(address)],
        ));
        self.change_sets(format!("forget pod {address}"), elements)?;
        self.attached.remove(&address);
        Ok(Some(device))
    }

    /// Gives a pod that runs in the server its address, on the node's `lo`.
    pub fn add_builtin(&mut self, address: Ipv4Addr) -> Result<(), Error> {
        if self.builtin.contains(&address) {
            return Ok(());
        }
        self.route
            .request(links::add_address(LOOPBACK, address))
            .map_err(|e| Error::refused(format!("add address {address} to the node"), e))?;
        let elements = add_elements(&self.table, Set::Local, &[Element::local(address)]);
        self.change_sets(format!("let the node answer as {address}"), elements)?;
        self.builtin.push(address);
        Ok(())
    }

    /// Takes the address of a built-in pod away. One that is not there is no error.
    pub fn remove_builtin(&mut self, address: Ipv4Addr) -> Result<(), Error> {
        if !self.builtin.contains(&address) {
            return Ok(());
        }
        match self.route.request(links::delete_address(LOOPBACK, address)) {
            Ok(()) => {}
            Err(refusal) if refusal.errno == Errno::EADDRNOTAVAIL => {}
            Err(refusal) => {
                let step = format!("remove address {address} from the node");
                return Err(Error::refused(step, refusal));
            }
        }
        let elements = delete_elements(&self.table, Set::Local, &[Element::local(address)]);
        match commit(&mut self.filter, elements) {
            Ok(()) => {}
            Err(refusal) if refusal.errno == Errno::ENOENT => {}
            Err(refusal) => return Err(Error::refused(format!("forget {address}"), refusal)),
        }
        self.builtin.retain(|other| *other != address);
        Ok(())
    }

    /// Makes the Service maps say what `entries` say; only differences are sent.
    pub fn set_services(&mut self, entries: &[ServiceEntry]) -> Result<(), Error> {
        self.apply_services(ServiceMaps::of(entries))
    }

    fn apply_services(&mut self, desired: ServiceMaps) -> Result<(), Error> {
        let changes = self.services.changes_to(&desired);
        let mut messages = Vec::new();
        // All deletions first: a Service that moves between the maps must never be in both.
        for (set, change) in &changes {
            messages.extend(delete_elements(&self.table, *set, &change.delete));
        }
        for (set, change) in &changes {
            messages.extend(add_elements(&self.table, *set, &change.add));
        }
        match commit_in_parts(&mut self.filter, messages) {
            Ok(()) => {
                self.services = desired;
                Ok(())
            }
            Err(refusal) => {
                // Part of it may be in place: ask what is, so that the next call starts from the truth.
                self.read_services()?;
                Err(Error::refused("change the Services' endpoints", refusal))
            }
        }
    }

    fn read_services(&mut self) -> Result<(), Error> {
        let mut elements = Vec::new();
        for set in [Set::Single, Set::Several] {
            let listed = list_elements(&mut self.filter, &self.table, set)
                .map_err(|e| Error::refused("read the Services' endpoints back", e))?;
            elements.extend(listed);
        }
        self.services = ServiceMaps::from_elements(elements);
        Ok(())
    }

    fn change_sets(&mut self, step: String, messages: Vec<Message>) -> Result<(), Error> {
        commit(&mut self.filter, messages).map_err(|e| Error::refused(step, e))
    }
}
