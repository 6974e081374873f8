//! What the cluster's names stand for, indexed: every name of the cluster domain and every address of the cluster is
//! decided here at once, also that there is none. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::Ipv4Addr;

use super::message::{Answer, Data, Name, Query, Rcode, Record, kind};
use super::records::{Records, ServiceRecord, ServiceTarget};
use crate::net::{Layout, Protocol};

/// What is to be done with a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Send this.
    Answer(Answer),
    /// Resolve the name outside and send that below this alias.
    Alias { answer: Answer, target: Name },
    /// Not ours: ask the host's resolvers.
    Outside,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Entry {
    addresses: BTreeSet<Ipv4Addr>,
    services: Vec<(u16, String)>,
    alias: Option<String>,
}

/// All names, for one state of the cluster.
#[derive(Clone, Debug)]
pub(crate) struct Zone {
    /// Such as `cluster.local`.
    domain: String,
    layout: Layout,
    entries: HashMap<String, Entry>,
    /// Names that have only names below them, such as `default.svc.cluster.local`.
    branches: BTreeSet<String>,
    reverse: BTreeMap<Ipv4Addr, Vec<String>>,
}

fn dashed(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("{a}-{b}-{c}-{d}")
}

impl Zone {
    /// Indexes the records.
    pub fn new(domain: &str, layout: Layout, records: &Records) -> Self {
        let mut zone = Self {
            domain: domain.trim_matches('.').to_ascii_lowercase(),
            layout,
            entries: HashMap::new(),
            branches: BTreeSet::new(),
            reverse: BTreeMap::new(),
        };
        for service in &records.services {
            zone.add_service(service);
        }
        for pod in &records.pods {
            let name = format!("{}.{}.pod.{}", dashed(pod.ip), pod.namespace, zone.domain);
            zone.add_address(&name, pod.ip);
            // A name by which a Service publishes the pod comes first.
            zone.reverse.entry(pod.ip).or_insert_with(|| vec![name]);
        }
        let names: Vec<_> = zone.entries.keys().cloned().collect();
        for name in names {
            zone.add_branches(&name);
        }
        for part in ["svc", "pod"] {
            zone.branches.insert(format!("{part}.{}", zone.domain));
        }
        zone.branches.insert(zone.domain.clone());
        zone
    }

    fn add_address(&mut self, name: &str, address: Ipv4Addr) {
        self.entries
            .entry(name.to_ascii_lowercase())
            .or_default()
            .addresses
            .insert(address);
    }

    fn add_branches(&mut self, name: &str) {
        let mut rest = name;
        while let Some((_, above)) = rest.split_once('.') {
            if !above.ends_with(&self.domain) || !self.branches.insert(above.to_owned()) {
                break;
            }
            rest = above;
        }
    }

    fn add_service(&mut self, service: &ServiceRecord) {
        let ServiceRecord {
            namespace,
            name,
            target,
            ports,
            endpoints,
        } = service;
        let full = format!("{name}.{namespace}.svc.{}", self.domain).to_ascii_lowercase();
        // It has a name even while it has no endpoints.
        self.entries.entry(full.clone()).or_default();
        let mut targets = Vec::new();
        match target {
            ServiceTarget::ClusterIp(address) => {
                self.add_address(&full, *address);
                self.reverse.entry(*address).or_default().push(full.clone());
                targets.push(full.clone());
            }
            ServiceTarget::Headless => {}
            ServiceTarget::ExternalName(alias) => {
                self.entries.entry(full.clone()).or_default().alias = Some(alias.clone());
                return;
            }
        }
        let is_headless = *target == ServiceTarget::Headless;
        for endpoint in endpoints {
            let label = endpoint
                .hostname
                .clone()
                .unwrap_or_else(|| dashed(endpoint.ip));
            let own = format!("{label}.{full}").to_ascii_lowercase();
            if is_headless {
                self.add_address(&full, endpoint.ip);
                targets.push(own.clone());
            }
            if is_headless || endpoint.hostname.is_some() {
                self.add_address(&own, endpoint.ip);
            }
            if endpoint.hostname.is_some() {
                self.reverse.entry(endpoint.ip).or_default().push(own);
            }
        }
        for port in ports.iter().filter(|port| !port.name.is_empty()) {
            let protocol = match port.protocol {
                Protocol::Tcp => "_tcp",
                Protocol::Udp => "_udp",
            };
            let own = format!("_{}.{protocol}.{full}", port.name).to_ascii_lowercase();
            let entry = self.entries.entry(own).or_default();
            entry
                .services
                .extend(targets.iter().map(|target| (port.port, target.clone())));
        }
    }

    /// Decides a question.
    pub fn decide(&self, query: &Query) -> Decision {
        let Some(name) = query.name.to_text() else {
            // No cluster name is unprintable; what the outside makes of it is the outside's.
            return self.decide_outside(query);
        };
        if name == self.domain || name.ends_with(&format!(".{}", self.domain)) {
            return self.decide_inside(query, &name);
        }
        if let Some(address) = address_of_reverse(&query.name)
            && self.layout.is_inside(address)
        {
            return Decision::Answer(self.reverse_answer(query, address));
        }
        if name == "localhost" || name.ends_with(".localhost") {
            let local = Record {
                owner: None,
                data: Data::A(Ipv4Addr::LOCALHOST),
            };
            let answers = if query.kind == kind::A {
                vec![local]
            } else {
                Vec::new()
            };
            return Decision::Answer(Answer {
                answers,
                ..Answer::code(Rcode::NoError)
            });
        }
        self.decide_outside(query)
    }

    /// Pods have no IPv6, so asking the outside for it would only cost time.
    fn decide_outside(&self, query: &Query) -> Decision {
        if query.kind == kind::AAAA {
            Decision::Answer(Answer::code(Rcode::NoError))
        } else {
            Decision::Outside
        }
    }

    fn decide_inside(&self, query: &Query, name: &str) -> Decision {
        if let Some(address) = self.pod_name(name) {
            let answers = match query.kind {
                kind::A | kind::ANY => vec![Data::A(address)],
                _ => Vec::new(),
            };
            return Decision::Answer(self.found(answers));
        }
        let Some(entry) = self.entries.get(name) else {
            return Decision::Answer(self.without_entry(query, name));
        };
        if let Some(alias) = &entry.alias {
            let target = Name::from_text(alias);
            let answer = self.found(vec![Data::Cname(target.clone())]);
            return match query.kind {
                kind::A => Decision::Alias { answer, target },
                _ => Decision::Answer(answer),
            };
        }
        Decision::Answer(self.entry_answer(query, entry))
    }

    fn entry_answer(&self, query: &Query, entry: &Entry) -> Answer {
        match query.kind {
            kind::A | kind::ANY => {
                let mut addresses: Vec<_> = entry.addresses.iter().copied().collect();
                // Everyone takes the first: let it be another one for each question.
                let turn = usize::from(query.id) % addresses.len().max(1);
                addresses.rotate_left(turn);
                self.found(addresses.into_iter().map(Data::A).collect())
            }
            kind::SRV => {
                let records = entry.services.iter().map(|(port, target)| Data::Srv {
                    port: *port,
                    target: Name::from_text(target),
                });
                let mut answer = self.found(records.collect());
                let targets: BTreeSet<_> = entry.services.iter().map(|(_, t)| t).collect();
                for target in targets {
                    let addresses = self
                        .entries
                        .get(target)
                        .into_iter()
                        .flat_map(|e| &e.addresses);
                    answer.additionals.extend(addresses.map(|address| Record {
                        owner: Some(Name::from_text(target)),
                        data: Data::A(*address),
                    }));
                }
                answer
            }
            _ => self.found(Vec::new()),
        }
    }

    /// `a-b-c-d.<namespace>.pod.<domain>` of a pod that is there.
    fn pod_name(&self, name: &str) -> Option<Ipv4Addr> {
        self.entries
            .get(name)
            .filter(|_| name.ends_with(&format!(".pod.{}", self.domain)))
            .and_then(|entry| entry.addresses.first().copied())
    }

    fn without_entry(&self, query: &Query, name: &str) -> Answer {
        if name == self.domain {
            let zone = Name::from_text(&self.domain);
            return match query.kind {
                kind::SOA => self.found(vec![Data::Soa { zone }]),
                kind::NS => self.found(vec![Data::Ns(Name::from_text(&format!(
                    "ns.dns.{}",
                    self.domain
                )))]),
                _ => self.found(Vec::new()),
            };
        }
        let rcode = if self.branches.contains(name) {
            Rcode::NoError
        } else {
            Rcode::NoSuchName
        };
        Answer {
            rcode,
            ..self.found(Vec::new())
        }
    }

    fn reverse_answer(&self, query: &Query, address: Ipv4Addr) -> Answer {
        match self.reverse.get(&address) {
            Some(names) if matches!(query.kind, kind::PTR | kind::ANY) => self.found(
                names
                    .iter()
                    .map(|name| Data::Ptr(Name::from_text(name)))
                    .collect(),
            ),
            Some(_) => self.found(Vec::new()),
            None => Answer {
                rcode: Rcode::NoSuchName,
                ..self.found(Vec::new())
            },
        }
    }

    /// An answer of ours; an empty one says who says so.
    fn found(&self, data: Vec<Data>) -> Answer {
        let zone = Name::from_text(&self.domain);
        let authorities = if data.is_empty() {
            vec![Record {
                owner: Some(zone.clone()),
                data: Data::Soa { zone },
            }]
        } else {
            Vec::new()
        };
        Answer {
            rcode: Rcode::NoError,
            is_authoritative: true,
            answers: data
                .into_iter()
                .map(|data| Record { owner: None, data })
                .collect(),
            authorities,
            additionals: Vec::new(),
        }
    }
}

/// The address in a name such as `4.3.2.1.in-addr.arpa`.
fn address_of_reverse(name: &Name) -> Option<Ipv4Addr> {
    let [d, c, b, a, in_addr, arpa] = name.labels() else {
        return None;
    };
    if in_addr != b"in-addr" || arpa != b"arpa" {
        return None;
    }
    let number = |label: &Vec<u8>| std::str::from_utf8(label).ok()?.parse::<u8>().ok();
    Some(Ipv4Addr::new(
        number(a)?,
        number(b)?,
        number(c)?,
        number(d)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::super::message::{Parsed, parse, question};
    use super::super::records::{EndpointRecord, PodRecord, PortRecord};
    use super::*;

    fn ip(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 1, 0, last)
    }

    fn service(
        name: &str,
        target: ServiceTarget,
        endpoints: &[(u8, Option<&str>)],
    ) -> ServiceRecord {
        let endpoint = |(last, hostname): &(u8, Option<&str>)| EndpointRecord {
            ip: ip(*last),
            hostname: hostname.map(str::to_owned),
        };
        ServiceRecord {
            namespace: "default".into(),
            name: name.into(),
            target,
            ports: vec![PortRecord {
                name: "http".into(),
                protocol: Protocol::Tcp,
                port: 80,
            }],
            endpoints: endpoints.iter().map(endpoint).collect(),
        }
    }

    fn zone() -> Zone {
        let web = ServiceTarget::ClusterIp(Ipv4Addr::new(10, 96, 0, 20));
        let mirror = ServiceTarget::ExternalName("pypi.org".into());
        let records = Records {
            services: vec![
                service("web", web, &[(2, None)]),
                service(
                    "workers",
                    ServiceTarget::Headless,
                    &[(3, Some("workers-0")), (4, None)],
                ),
                service("empty", ServiceTarget::Headless, &[]),
                service("mirror", mirror, &[]),
            ],
            pods: vec![
                PodRecord {
                    namespace: "default".into(),
                    ip: ip(2),
                },
                PodRecord {
                    namespace: "default".into(),
                    ip: ip(3),
                },
            ],
        };
        Zone::new("cluster.local", Layout::default(), &records)
    }

    fn decide(name: &str, record_kind: u16) -> Decision {
        match parse(&question(name, record_kind)) {
            Parsed::Query(query) => zone().decide(&query),
            other => panic!("{other:?}"),
        }
    }

    fn answer(name: &str, record_kind: u16) -> Answer {
        match decide(name, record_kind) {
            Decision::Answer(answer) => answer,
            other => panic!("{name}: {other:?}"),
        }
    }

    fn addresses(name: &str) -> Vec<u8> {
        let mut last: Vec<_> = answer(name, kind::A)
            .answers
            .iter()
            .map(|record| match record.data {
                Data::A(address) => address.octets()[3],
                ref other => panic!("{other:?}"),
            })
            .collect();
        last.sort_unstable();
        last
    }

    #[test]
    fn a_service_has_its_own_address_and_a_headless_one_those_of_its_pods() {
        assert_eq!(addresses("web.default.svc.cluster.local"), [20]);
        assert_eq!(addresses("Workers.Default.SVC.cluster.local"), [3, 4]);
    }

    #[test]
    fn a_pod_is_named_by_its_hostname_below_its_service() {
        assert_eq!(
            addresses("workers-0.workers.default.svc.cluster.local"),
            [3]
        );
        assert_eq!(addresses("10-1-0-4.workers.default.svc.cluster.local"), [4]);
        assert_eq!(addresses("10-1-0-2.default.pod.cluster.local"), [2]);
    }

    #[test]
    fn names_nobody_has_do_not_exist() {
        for name in [
            "nothing.default.svc.cluster.local",
            "pypi.org.default.svc.cluster.local",
            "pypi.org.svc.cluster.local",
            "pypi.org.cluster.local",
            "10-1-0-9.default.pod.cluster.local",
            "web.other.svc.cluster.local",
        ] {
            assert_eq!(answer(name, kind::A).rcode, Rcode::NoSuchName, "{name}");
            assert_eq!(answer(name, kind::AAAA).rcode, Rcode::NoSuchName, "{name}");
        }
    }

    #[test]
    fn names_without_such_a_record_exist_all_the_same() {
        for (name, record_kind) in [
            ("web.default.svc.cluster.local", kind::AAAA),
            ("workers.default.svc.cluster.local", kind::AAAA),
            ("empty.default.svc.cluster.local", kind::A),
            ("default.svc.cluster.local", kind::A),
            ("svc.cluster.local", kind::A),
            ("_tcp.web.default.svc.cluster.local", kind::A),
            ("cluster.local", kind::A),
        ] {
            let answer = answer(name, record_kind);
            assert_eq!(
                (answer.rcode, answer.answers.len()),
                (Rcode::NoError, 0),
                "{name}"
            );
            assert!(
                matches!(answer.authorities[0].data, Data::Soa { .. }),
                "{name}"
            );
        }
    }

    #[test]
    fn named_ports_have_srv_records_with_the_addresses_beside_them() {
        let one = answer("_http._tcp.web.default.svc.cluster.local", kind::SRV);
        let target = Name::from_text("web.default.svc.cluster.local");
        assert_eq!(
            one.answers[0].data,
            Data::Srv {
                port: 80,
                target: target.clone()
            }
        );
        assert_eq!(one.additionals[0].owner, Some(target));
        let many = answer("_http._tcp.workers.default.svc.cluster.local", kind::SRV);
        assert_eq!((many.answers.len(), many.additionals.len()), (2, 2));
    }

    #[test]
    fn addresses_of_the_cluster_lead_back_to_a_name_or_to_none_at_once() {
        let name = |reverse: &str| match &answer(reverse, kind::PTR).answers[0].data {
            Data::Ptr(name) => name.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            name("20.0.96.10.in-addr.arpa"),
            "web.default.svc.cluster.local"
        );
        assert_eq!(
            name("3.0.1.10.in-addr.arpa"),
            "workers-0.workers.default.svc.cluster.local"
        );
        assert_eq!(
            name("2.0.1.10.in-addr.arpa"),
            "10-1-0-2.default.pod.cluster.local"
        );
        assert_eq!(
            answer("99.0.1.10.in-addr.arpa", kind::PTR).rcode,
            Rcode::NoSuchName
        );
        assert_eq!(decide("8.8.8.8.in-addr.arpa", kind::PTR), Decision::Outside);
    }

    #[test]
    fn an_external_name_is_an_alias_to_be_resolved_outside() {
        let Decision::Alias { answer, target } =
            decide("mirror.default.svc.cluster.local", kind::A)
        else {
            panic!("not an alias")
        };
        assert_eq!(target.to_string(), "pypi.org");
        assert_eq!(answer.answers[0].data, Data::Cname(target));
    }

    #[test]
    fn the_rest_is_asked_outside_but_never_for_ipv6() {
        assert_eq!(decide("pypi.org", kind::A), Decision::Outside);
        assert_eq!(decide("notcluster.local", kind::A), Decision::Outside);
        let ipv6 = answer("pypi.org", kind::AAAA);
        assert_eq!((ipv6.rcode, ipv6.answers.len()), (Rcode::NoError, 0));
        assert_eq!(addresses("localhost"), [1]);
    }

    #[test]
    fn the_first_address_of_a_headless_service_differs_from_question_to_question() {
        let mut bytes = question("workers.default.svc.cluster.local", kind::A);
        let mut first = BTreeSet::new();
        for id in 0..2 {
            bytes[1] = id;
            let Parsed::Query(query) = parse(&bytes) else {
                panic!("a question")
            };
            let Decision::Answer(answer) = zone().decide(&query) else {
                panic!("an answer")
            };
            first.insert(format!("{:?}", answer.answers[0].data));
        }
        assert_eq!(first.len(), 2);
    }
}
