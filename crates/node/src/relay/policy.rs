//! Where pods may connect outside the cluster. The relay dials with the owner's rights, so whatever would let a pod
//! in where only the owner may go is refused here. Pure: what the host calls its own is asked by `relay::host`.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use crate::net::{Cidr, Layout};

/// A pod's wish to connect outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// The pod's address.
    pub pod: Ipv4Addr,
    /// Where it wants to go.
    pub target: SocketAddrV4,
}

/// Why an attempt was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 127.0.0.0/8.
    #[error("loopback addresses are the host's own")]
    Loopback,
    /// 169.254.0.0/16 and the addresses where clouds serve a machine's credentials.
    #[error("link-local and cloud metadata addresses give away the machine's credentials")]
    Metadata,
    /// An address of the host itself.
    #[error("it is an address of the host itself")]
    Host,
    /// Unspecified, multicast, broadcast or reserved, or port 0.
    #[error("it is no address one can connect to")]
    NotUnicast,
    /// Inside the cluster's own ranges.
    #[error("nobody has this cluster address")]
    Cluster,
    /// Blocked by configuration.
    #[error("the node's configuration blocks {0}")]
    Blocked(Cidr),
    /// Refused by a rule of the policy hook.
    #[error("{0}")]
    Rule(String),
}

/// A further rule, asked after the fixed ones: `Err(why)` refuses.
pub type Rule = Arc<dyn Fn(&Attempt) -> Result<(), String> + Send + Sync>;

/// The rules of one node.
#[derive(Clone)]
pub struct Policy {
    /// The cluster's own addresses.
    pub layout: Layout,
    /// Blocks that are refused beside the fixed ones.
    pub blocked: Vec<Cidr>,
    /// A further rule.
    pub rule: Option<Rule>,
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("blocked", &self.blocked)
            .field("has_rule", &self.rule.is_some())
            .finish_non_exhaustive()
    }
}

const fn block(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Cidr {
    Cidr::new(Ipv4Addr::new(a, b, c, d), prefix)
}

/// Where clouds answer a machine about itself outside of 169.254.0.0/16: Azure, Alibaba, Oracle's older one.
const METADATA: [Cidr; 4] = [
    block(169, 254, 0, 0, 16),
    block(168, 63, 129, 16, 32),
    block(100, 100, 100, 200, 32),
    block(192, 0, 0, 192, 32),
];

/// "This network", multicast, and what is reserved (the broadcast address included).
const NOT_UNICAST: [Cidr; 3] = [
    block(0, 0, 0, 0, 8),
    block(224, 0, 0, 0, 4),
    block(240, 0, 0, 0, 4),
];

impl Policy {
    /// Decides an attempt. `is_hosts_own` says whether the host takes the target's address for its own.
    pub fn decide(&self, attempt: &Attempt, is_hosts_own: bool) -> Result<(), Refusal> {
        let target = *attempt.target.ip();
        let in_any = |blocks: &[Cidr]| blocks.iter().any(|block| block.contains(target));
        if target.is_loopback() {
            return Err(Refusal::Loopback);
        }
        if in_any(&METADATA) {
            return Err(Refusal::Metadata);
        }
        if in_any(&NOT_UNICAST) || attempt.target.port() == 0 {
            return Err(Refusal::NotUnicast);
        }
        // Before the host's own: the relay's listener, reached directly, is such an address.
        if self.layout.is_inside(target) {
            return Err(Refusal::Cluster);
        }
        if is_hosts_own {
            return Err(Refusal::Host);
        }
        if let Some(blocked) = self.blocked.iter().find(|block| block.contains(target)) {
            return Err(Refusal::Blocked(*blocked));
        }
        match &self.rule {
            Some(rule) => rule(attempt).map_err(Refusal::Rule),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        Policy {
            layout: Layout::default(),
            blocked: Vec::new(),
            rule: None,
        }
    }

    fn attempt(target: &str) -> Attempt {
        Attempt {
            pod: Ipv4Addr::new(10, 1, 0, 2),
            target: target.parse().expect("an address"),
        }
    }

    #[test]
    fn what_belongs_to_the_host_or_its_cloud_is_refused() {
        for (target, refusal) in [
            ("127.0.0.1:7878", Refusal::Loopback),
            ("127.255.0.9:22", Refusal::Loopback),
            ("169.254.169.254:80", Refusal::Metadata),
            ("169.254.0.1:80", Refusal::Metadata),
            ("168.63.129.16:80", Refusal::Metadata),
            ("100.100.100.200:80", Refusal::Metadata),
            ("0.0.0.0:7443", Refusal::NotUnicast),
            ("0.1.2.3:80", Refusal::NotUnicast),
            ("224.0.0.251:5353", Refusal::NotUnicast),
            ("255.255.255.255:80", Refusal::NotUnicast),
            ("93.184.216.34:0", Refusal::NotUnicast),
            ("10.1.0.1:9999", Refusal::Cluster),
            ("10.96.0.1:443", Refusal::Cluster),
        ] {
            assert_eq!(
                policy().decide(&attempt(target), false),
                Err(refusal),
                "{target}"
            );
        }
        assert_eq!(
            policy().decide(&attempt("192.168.1.7:80"), true),
            Err(Refusal::Host)
        );
    }

    #[test]
    fn everything_else_is_allowed() {
        for target in [
            "93.184.216.34:443",
            "192.168.1.7:80",
            "10.0.0.5:5432",
            "100.64.0.1:80",
        ] {
            assert_eq!(policy().decide(&attempt(target), false), Ok(()), "{target}");
        }
    }

    #[test]
    fn configuration_and_rule_can_refuse_more_but_never_allow_more() {
        let rule: Rule = Arc::new(|attempt| match attempt.target.port() {
            443 => Ok(()),
            _ => Err("only 443".into()),
        });
        let lan = Cidr::new(Ipv4Addr::new(192, 168, 0, 0), 16);
        let policy = Policy {
            blocked: vec![lan],
            rule: Some(rule),
            ..policy()
        };
        let decide = |target: &str| policy.decide(&attempt(target), false);
        assert_eq!(decide("93.184.216.34:443"), Ok(()));
        assert_eq!(
            decide("93.184.216.34:80"),
            Err(Refusal::Rule("only 443".into()))
        );
        assert_eq!(decide("192.168.1.7:443"), Err(Refusal::Blocked(lan)));
        assert_eq!(decide("127.0.0.1:443"), Err(Refusal::Loopback));
    }
}
