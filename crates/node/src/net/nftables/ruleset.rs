//! The rules of the node's network, as one list of messages. Connections to Services go to an endpoint, what
//! leaves the cluster goes to the relay or is refused, and a pod sends with its own address only.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::Ipv4Addr;

use super::expression::{Register, Reject};
use super::sets::Set;
use super::{Expressions, Hook, add_chain, add_rule, add_table};
use crate::net::layout::{Cidr, Layout};
use crate::net::links::LOOPBACK;
use crate::net::netlink::Message;
use crate::net::services::{Protocol, SLOTS};

/// Tables of ours start with this, whatever version of the rules they hold.
pub(crate) const PREFIX: &str = "ferroflow-";

const LOOPBACK_BLOCK: Cidr = Cidr::new(Ipv4Addr::new(127, 0, 0, 0), 8);
const RAW: i32 = -300;
const DESTINATION: i32 = -100;
const FILTER: i32 = 0;
const SOURCE: i32 = 100;

/// The table's name: it changes with the rules, so that a table of this name needs no change.
pub(crate) fn table_name(layout: &Layout) -> String {
    let mut hasher = DefaultHasher::new();
    for message in rules("", layout) {
        message.bytes().hash(&mut hasher);
    }
    format!("{PREFIX}{:016x}", hasher.finish())
}

/// The messages that make the table, its sets (empty), chains and rules.
pub(crate) fn rules(table: &str, layout: &Layout) -> Vec<Message> {
    let mut messages = vec![add_table(table)];
    messages.extend(Set::ALL.iter().map(|set| set.add(table)));

    messages.push(add_chain(table, "guard", "filter", Hook::Prerouting, RAW));
    messages.extend(guard().map(|rule| add_rule(table, "guard", rule)));
    messages.push(add_rule(
        table,
        "guard",
        names_untracked(layout, Direction::Question),
    ));
    messages.push(add_chain(table, "own-raw", "filter", Hook::Output, RAW));
    messages.push(add_rule(
        table,
        "own-raw",
        names_untracked(layout, Direction::Answer),
    ));

    messages.push(add_chain(
        table,
        "incoming",
        "nat",
        Hook::Prerouting,
        DESTINATION,
    ));
    messages.extend(services().map(|rule| add_rule(table, "incoming", rule)));
    messages.push(add_rule(table, "incoming", leave_by_relay(layout)));

    messages.push(add_chain(table, "own", "nat", Hook::Output, DESTINATION));
    messages.extend(services().map(|rule| add_rule(table, "own", rule)));

    messages.push(add_chain(table, "source", "nat", Hook::Postrouting, SOURCE));
    messages.push(add_rule(table, "source", hairpin(layout)));

    messages.push(add_chain(table, "forward", "filter", Hook::Forward, FILTER));
    messages.extend(refuse_unknown().map(|rule| add_rule(table, "forward", rule)));

    messages.push(add_chain(
        table,
        "own-filter",
        "filter",
        Hook::Output,
        FILTER,
    ));
    messages.extend(refuse_own_unknown().map(|rule| add_rule(table, "own-filter", rule)));
    messages
}

const R0: Register = Register(0);
const R1: Register = Register(1);
const R2: Register = Register(2);
const R3: Register = Register(3);

/// A pod sends as itself, and never to the node's 127.0.0.0/8 (`route_localnet` may be inherited from the host).
fn guard() -> impl Iterator<Item = Expressions> {
    let own = Expressions::new()
        .load_input_device(R0)
        .equals(R0, &LOOPBACK.to_ne_bytes())
        .accept();
    let foreign_source = Expressions::new()
        .load_input_device(R0)
        .load_source(R1)
        .in_set(Set::Pods.name(), R0, false)
        .drop();
    let to_loopback = Expressions::new()
        .load_destination(R0)
        .within(R0, LOOPBACK_BLOCK)
        .drop();
    [own, foreign_source, to_loopback].into_iter()
}

#[derive(Clone, Copy)]
enum Direction {
    Question,
    Answer,
}

/// Questions about names and their answers are not tracked as connections: each would stay in the kernel's table for
/// half a minute, and the table is the host's, shared and of fixed size.
fn names_untracked(layout: &Layout, direction: Direction) -> Expressions {
    const DNS_PORT: u16 = 53;
    let udp = Expressions::new()
        .load_protocol(R0)
        .equals(R0, &[Protocol::Udp.number()]);
    let own = &layout.dns.octets();
    match direction {
        Direction::Question => udp
            .load_destination(R0)
            .equals(R0, own)
            .load_destination_port(R0),
        Direction::Answer => udp.load_source(R0).equals(R0, own).load_source_port(R0),
    }
    .equals(R0, &DNS_PORT.to_be_bytes())
    .not_tracked()
}

/// Connections to a Service go to an endpoint: the one there is, or the next of several in turn.
fn services() -> impl Iterator<Item = Expressions> {
    let key = || {
        Expressions::new()
            .load_destination(R0)
            .load_protocol(R1)
            .load_destination_port(R2)
    };
    let single = key()
        .look_up(Set::Single.name(), R0, R0)
        .redirect_to(R0, R1);
    let several = key()
        .load_counter(R3, SLOTS)
        .look_up(Set::Several.name(), R0, R0)
        .redirect_to(R0, R1);
    [single, several].into_iter()
}

/// TCP to anywhere else goes to the relay, which still learns where it was meant to go.
fn leave_by_relay(layout: &Layout) -> Expressions {
    Expressions::new()
        .load_protocol(R0)
        .equals(R0, &[Protocol::Tcp.number()])
        .load_destination(R0)
        .outside(R0, layout.pods)
        .outside(R0, layout.services)
        .load_value(R0, &layout.gateway.octets())
        .load_value(R1, &layout.relay_port.to_be_bytes())
        .redirect_to(R0, R1)
}

/// A pod that reached itself through a Service must not see its own address as the client's, or it would answer
/// itself past the node.
fn hairpin(layout: &Layout) -> Expressions {
    Expressions::new()
        .load_source(R0)
        .load_destination(R1)
        .in_set(Set::Hairpin.name(), R0, true)
        .load_value(R0, &layout.gateway.octets())
        .come_from(R0)
}

fn refuse(matching: impl Fn() -> Expressions) -> [Expressions; 2] {
    let tcp = matching()
        .load_protocol(R0)
        .equals(R0, &[Protocol::Tcp.number()])
        .reject(Reject::TcpReset);
    [tcp, matching().reject(Reject::PortUnreachable)]
}

/// The default route leads to loopback, so what goes there has no destination: an unknown Service or pod, or UDP
/// that would leave the cluster.
fn refuse_unknown() -> impl Iterator<Item = Expressions> {
    refuse(|| {
        Expressions::new()
            .load_output_device(R0)
            .equals(R0, &LOOPBACK.to_ne_bytes())
    })
    .into_iter()
}

/// The same for what the server sends itself; here loopback also leads to the node's own addresses. What was meant
/// for a Service still counts as leaving by loopback here, so pods are told by their addresses.
fn refuse_own_unknown() -> impl Iterator<Item = Expressions> {
    let to_links = Expressions::new()
        .load_output_device(R0)
        .differs(R0, &LOOPBACK.to_ne_bytes())
        .accept();
    let to_pods = Expressions::new()
        .load_destination(R0)
        .load_destination(R1)
        .in_set(Set::Hairpin.name(), R0, true)
        .accept();
    let to_loopback = Expressions::new()
        .load_destination(R0)
        .within(R0, LOOPBACK_BLOCK)
        .accept();
    let to_own = Expressions::new()
        .load_destination(R0)
        .in_set(Set::Local.name(), R0, true)
        .accept();
    [to_links, to_pods, to_loopback, to_own]
        .into_iter()
        .chain(refuse(Expressions::new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_name_changes_with_the_rules_and_only_then() {
        let layout = Layout::default();
        let other = Layout {
            relay_port: 1,
            ..layout.clone()
        };
        assert_eq!(table_name(&layout), table_name(&layout.clone()));
        assert_ne!(table_name(&layout), table_name(&other));
    }
}
