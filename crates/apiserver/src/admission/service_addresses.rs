//! Hands out the cluster addresses and node ports of Services.
//!
//! Taken is what existing Services have, and what was handed out in the last moments to Services
//! that are still on their way to the store.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use objects::{FieldError, Status, meta};
use serde_json::{Value, json};

use super::{Operation, Review};
use crate::kinds::fields::{each, list, spec};
use crate::lookup::Lookup;

/// Far longer than a write takes from here to the store.
const ON_THE_WAY: Duration = Duration::from_secs(10);

/// A range of addresses.
#[derive(Debug, Clone, Copy)]
pub struct Network {
    base: u32,
    prefix: u8,
}

impl Network {
    /// The addresses that share the first `prefix` bits (8 to 30) with `base`.
    pub fn new(base: Ipv4Addr, prefix: u8) -> Self {
        let prefix = prefix.clamp(8, 30);
        let base = u32::from(base) >> (32 - prefix) << (32 - prefix);
        Self { base, prefix }
    }

    fn contains(&self, address: Ipv4Addr) -> bool {
        u32::from(address) >> (32 - self.prefix) == self.base >> (32 - self.prefix)
    }

    /// How many addresses may be handed out: all but the first and the last.
    fn size(&self) -> u32 {
        (1 << (32 - self.prefix)) - 2
    }

    /// Addresses below are for those who name them: the API server is the first, name servers the tenth.
    fn reserved(&self) -> u32 {
        (self.size() / 16).min(256)
    }

    /// The addresses to try, from a random one on, the reserved ones last.
    fn candidates(&self) -> impl Iterator<Item = Ipv4Addr> + use<> {
        let (first, reserved, free) = (
            self.base + 1,
            self.reserved(),
            self.size() - self.reserved(),
        );
        let start: u32 = rand::random_range(0..free);
        let others = (0..free).map(move |offset| reserved + (start + offset) % free);
        others
            .chain(0..reserved)
            .map(move |index| Ipv4Addr::from(first + index))
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.base), self.prefix)
    }
}

/// What was handed out a moment ago, and when.
#[derive(Debug, Default)]
struct Recent {
    addresses: HashMap<Ipv4Addr, Instant>,
    ports: HashMap<u16, Instant>,
}

impl Recent {
    fn forget_old(&mut self) {
        fn forget<T: Eq + Hash>(recent: &mut HashMap<T, Instant>) {
            recent.retain(|_, at| at.elapsed() < ON_THE_WAY);
        }
        forget(&mut self.addresses);
        forget(&mut self.ports);
    }
}

#[derive(Debug)]
pub(super) struct Addresses {
    network: Network,
    ports: (u16, u16),
    recent: Mutex<Recent>,
}

impl Addresses {
    pub(super) fn new(network: Network, ports: (u16, u16)) -> Self {
        Self {
            network,
            ports,
            recent: Mutex::default(),
        }
    }

    pub(super) fn admit(&self, review: &mut Review<'_>, lookup: &dyn Lookup) -> Result<(), Status> {
        let is_write = review.is(Operation::Create, "", "services")
            || review.is(Operation::Update, "", "services");
        if !is_write || review.object["spec"]["type"] == "ExternalName" {
            return Ok(());
        }
        let name = meta::name(review.object).to_owned();
        let others: Vec<Arc<Value>> = lookup
            .list("", "services", "")
            .into_iter()
            .filter(|service| {
                meta::namespace(service) != review.namespace || meta::name(service) != name
            })
            .collect();
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.forget_old();
        let mut errors = Vec::new();
        let address = self
            .address(review, &others, &recent)
            .unwrap_or_else(|error| {
                errors.push(error);
                None
            });
        let ports = self.give_ports(review, &others, &recent, &mut errors);
        if !errors.is_empty() {
            return Err(Status::invalid("", "Service", &name, errors));
        }
        if let (Some(address), Some(spec)) = (address, spec(review.object)) {
            spec.insert("clusterIP".into(), address.to_string().into());
            spec.insert("clusterIPs".into(), json!([address.to_string()]));
        }
        if !review.is_dry_run {
            let now = Instant::now();
            recent
                .addresses
                .extend(address.map(|address| (address, now)));
            recent
                .ports
                .extend(ports.into_iter().map(|port| (port, now)));
        }
        Ok(())
    }

    /// The address a Service is to have, if it has none yet and wants one.
    fn address(
        &self,
        review: &Review<'_>,
        others: &[Arc<Value>],
        recent: &Recent,
    ) -> Result<Option<Ipv4Addr>, FieldError> {
        let wanted = review.object["spec"]["clusterIP"]
            .as_str()
            .unwrap_or_default();
        let had = review.old.map(|old| &old["spec"]["clusterIP"]);
        if wanted == "None" || (!wanted.is_empty() && had.is_some_and(|had| had == wanted)) {
            return Ok(None);
        }
        let taken: HashSet<Ipv4Addr> = others
            .iter()
            .filter_map(|service| service["spec"]["clusterIP"].as_str()?.parse().ok())
            .collect();
        let is_free = |address: &Ipv4Addr| {
            !taken.contains(address) && !recent.addresses.contains_key(address)
        };
        let field = "spec.clusterIPs";
        if wanted.is_empty() {
            return match self.network.candidates().find(is_free) {
                Some(address) => Ok(Some(address)),
                None => Err(FieldError::invalid(
                    field,
                    Value::Null,
                    "failed to allocate a serviceIP: range is full",
                )),
            };
        }
        // What is no address at all is named by validation.
        let Ok(address) = wanted.parse::<Ipv4Addr>() else {
            return Ok(None);
        };
        let detail = if !self.network.contains(address) {
            format!(
                "failed to allocate IP {wanted}: the provided IP ({wanted}) is not in the valid range. The range of valid IPs is {}",
                self.network
            )
        } else if !is_free(&address) {
            format!("failed to allocate IP {wanted}: provided IP is already allocated")
        } else {
            return Ok(Some(address));
        };
        Err(FieldError::invalid(field, json!([wanted]), detail))
    }

    /// Gives each port of a Service that is reached from outside a node port; tells which it gave.
    fn give_ports(
        &self,
        review: &mut Review<'_>,
        others: &[Arc<Value>],
        recent: &Recent,
        errors: &mut Vec<FieldError>,
    ) -> Vec<u16> {
        let mut given = Vec::new();
        let of_service = &review.object["spec"];
        let needs_ports = of_service["type"] == "NodePort"
            || (of_service["type"] == "LoadBalancer"
                && of_service["allocateLoadBalancerNodePorts"] != false);
        if !needs_ports {
            return given;
        }
        let (first, last) = self.ports;
        let own: HashSet<u16> = review.old.map(ports_of).unwrap_or_default();
        let mut taken: HashSet<u16> = others
            .iter()
            .flat_map(|service| ports_of(service))
            .collect();
        taken.extend(recent.ports.keys().filter(|port| !own.contains(port)));
        let named: HashSet<u16> = ports_of(review.object);
        let Some(spec) = spec(review.object) else {
            return given;
        };
        for (index, port) in each(spec, "ports").enumerate() {
            let field = format!("spec.ports[{index}].nodePort");
            let wanted = port
                .get("nodePort")
                .and_then(Value::as_i64)
                .unwrap_or_default();
            if wanted != 0 {
                let number = u16::try_from(wanted).unwrap_or_default();
                if !(first..=last).contains(&number) {
                    let detail = format!(
                        "provided port is not in the valid range. The range of valid ports is {first}-{last}"
                    );
                    errors.push(FieldError::invalid(field, wanted, detail));
                } else if taken.contains(&number) {
                    errors.push(FieldError::invalid(
                        field,
                        wanted,
                        "provided port is already allocated",
                    ));
                } else if !own.contains(&number) {
                    given.push(number);
                }
                continue;
            }
            let count = u32::from(last - first) + 1;
            let start: u32 = rand::random_range(0..count);
            let free = (0..count)
                .filter_map(|offset| {
                    u16::try_from(u32::from(first) + (start + offset) % count).ok()
                })
                .find(|number| {
                    !taken.contains(number) && !named.contains(number) && !own.contains(number)
                });
            let Some(number) = free else {
                errors.push(FieldError::invalid(
                    field,
                    0,
                    "failed to allocate a nodePort: range is full",
                ));
                continue;
            };
            taken.insert(number);
            given.push(number);
            port.insert("nodePort".into(), number.into());
        }
        given
    }
}

fn ports_of(service: &Value) -> HashSet<u16> {
    list(&service["spec"]["ports"])
        .filter_map(|port| u16::try_from(port["nodePort"].as_i64()?).ok())
        .filter(|number| *number != 0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::test_review::Write;
    use super::*;
    use crate::lookup::Fixed;

    fn addresses() -> Addresses {
        Addresses::new(
            Network::new(Ipv4Addr::new(10, 96, 0, 0), 29),
            (30_000, 30_002),
        )
    }

    fn service(name: &str, spec: Value) -> Value {
        json!({"metadata": {"name": name, "namespace": "dev"}, "spec": spec})
    }

    fn create(addresses: &Addresses, others: &Fixed, spec: Value) -> Result<Value, String> {
        let mut write = Write::create("", "services", service("new", spec));
        write
            .pass(|review| addresses.admit(review, others))
            .map_err(|status| status.message)?;
        Ok(write.object["spec"].clone())
    }

    #[test]
    fn every_service_gets_an_address_of_its_own_until_there_is_none_left() {
        let (addresses, none) = (addresses(), Fixed::default());
        let given: HashSet<String> = (0..6)
            .map(|_| {
                create(&addresses, &none, json!({})).unwrap()["clusterIP"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        assert_eq!(given.len(), 6);
        assert!(
            given.contains("10.96.0.1") && given.contains("10.96.0.6"),
            "{given:?}"
        );
        let full = create(&addresses, &none, json!({})).unwrap_err();
        assert!(full.contains("range is full"), "{full}");
    }

    #[test]
    fn an_address_named_by_the_service_must_be_in_range_and_free() {
        let others = Fixed::default().with(
            "",
            "services",
            service("old", json!({"clusterIP": "10.96.0.3"})),
        );
        let addresses = addresses();
        let ask = |ip: &str| create(&addresses, &others, json!({"clusterIP": ip}));
        assert_eq!(
            ask("10.96.0.2").unwrap()["clusterIPs"],
            json!(["10.96.0.2"])
        );
        assert!(
            ask("10.96.0.3")
                .unwrap_err()
                .contains("provided IP is already allocated")
        );
        assert!(
            ask("10.96.0.2")
                .unwrap_err()
                .contains("provided IP is already allocated")
        );
        assert!(
            ask("10.0.0.1")
                .unwrap_err()
                .contains("The range of valid IPs is 10.96.0.0/29")
        );
    }

    #[test]
    fn headless_and_external_services_have_no_address_and_a_trial_takes_none() {
        let (addresses, none) = (addresses(), Fixed::default());
        assert_eq!(
            create(&addresses, &none, json!({"clusterIP": "None"})).unwrap()["clusterIP"],
            "None"
        );
        assert!(
            create(&addresses, &none, json!({"type": "ExternalName"}))
                .unwrap()
                .get("clusterIP")
                .is_none()
        );
        for _ in 0..20 {
            let mut trial = Write::create("", "services", service("new", json!({})));
            trial
                .pass(|review| {
                    review.is_dry_run = true;
                    addresses.admit(review, &none)
                })
                .unwrap();
        }
    }

    #[test]
    fn node_ports_are_given_kept_and_never_shared() {
        let addresses = addresses();
        let others = Fixed::default().with(
            "",
            "services",
            service("old", json!({"ports": [{"nodePort": 30000}]})),
        );
        let outside = |ports: Value| json!({"type": "NodePort", "ports": ports});
        let given = create(
            &addresses,
            &others,
            outside(json!([{"port": 1}, {"port": 2}])),
        )
        .unwrap();
        let numbers: HashSet<i64> = list(&given["ports"])
            .filter_map(|port| port["nodePort"].as_i64())
            .collect();
        assert_eq!(numbers, HashSet::from([30001, 30002]));
        let taken = create(
            &addresses,
            &others,
            outside(json!([{"port": 1, "nodePort": 30000}])),
        )
        .unwrap_err();
        assert!(
            taken.contains("provided port is already allocated"),
            "{taken}"
        );
        let beyond = create(
            &addresses,
            &others,
            outside(json!([{"port": 1, "nodePort": 80}])),
        )
        .unwrap_err();
        assert!(
            beyond.contains("The range of valid ports is 30000-30002"),
            "{beyond}"
        );
        let old = service("new", given);
        let mut update = Write::update("", "services", &old, old.clone());
        update
            .pass(|review| addresses.admit(review, &others))
            .unwrap();
        assert_eq!(update.object, old);
    }
}
