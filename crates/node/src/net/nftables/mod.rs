//! nftables in the few words the node's network needs, as netlink messages. The constants mirror Linux'
//! `uapi/linux/netfilter/nf_tables.h`; `ruleset` says what rules we want, `sets` what they look up.

mod expression;
pub(crate) mod ruleset;
pub(crate) mod sets;

pub(crate) use expression::Expressions;

use super::netlink::{Attributes, LARGEST_SEND, Message, Refusal, Socket, find, flags};

const SUBSYSTEM: u16 = 10; // NFNL_SUBSYS_NFTABLES
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const FAMILY_IPV4: u8 = 2;

fn kind(message: u16) -> u16 {
    SUBSYSTEM << 8 | message
}

/// `struct nfgenmsg` for IPv4.
const HEADER: [u8; 4] = [FAMILY_IPV4, 0, 0, 0];

fn batch_edge(message: u16) -> Message {
    // The resource id names the subsystem, in network byte order.
    let [high, low] = SUBSYSTEM.to_be_bytes();
    Message::new(message, 0, &[0, 0, high, low])
}

/// Sends messages as one transaction.
pub(crate) fn commit(socket: &mut Socket, messages: Vec<Message>) -> Result<(), Refusal> {
    socket.transaction(batch_edge(BATCH_BEGIN), messages, batch_edge(BATCH_END))
}

/// Sends messages in as few transactions as the socket's buffer allows. A single message is never split, so what
/// must change together belongs into neighbouring messages of a small batch.
pub(crate) fn commit_in_parts(socket: &mut Socket, messages: Vec<Message>) -> Result<(), Refusal> {
    let mut part = Vec::new();
    let mut size = 0;
    for message in messages {
        if size + message.len() > LARGEST_SEND && !part.is_empty() {
            commit(socket, std::mem::take(&mut part))?;
            size = 0;
        }
        size += message.len();
        part.push(message);
    }
    commit(socket, part)
}

/// Adds a table.
pub(crate) fn add_table(name: &str) -> Message {
    Message::new(kind(0), flags::CREATE, &HEADER).text(1, name)
}

/// Deletes a table with all that is in it.
pub(crate) fn delete_table(name: &str) -> Message {
    Message::new(kind(2), 0, &HEADER).text(1, name)
}

/// The names of all tables.
pub(crate) fn list_tables(socket: &mut Socket) -> Result<Vec<String>, Refusal> {
    let tables = socket.dump(Message::new(kind(1), 0, &HEADER))?;
    let name = |table: &Vec<u8>| {
        let text = find(table.get(HEADER.len()..)?, 1)?;
        Some(
            String::from_utf8_lossy(text)
                .trim_end_matches('\0')
                .to_owned(),
        )
    };
    Ok(tables.iter().filter_map(name).collect())
}

/// Where in a packet's way a chain is asked, in the kernel's numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hook {
    Prerouting = 0,
    Forward = 2,
    Output = 3,
    Postrouting = 4,
}

/// Adds a chain that the kernel asks at `hook`; lower `priority` first. `kind_name` is `filter` or `nat`.
pub(crate) fn add_chain(
    table: &str,
    name: &str,
    kind_name: &str,
    hook: Hook,
    priority: i32,
) -> Message {
    let hook = Attributes::new()
        .number_be(1, hook as u32)
        .attribute(2, &priority.to_be_bytes());
    Message::new(kind(3), flags::CREATE, &HEADER)
        .text(1, table)
        .text(3, name)
        .nest(4, hook)
        .text(7, kind_name)
}

/// Appends a rule to a chain.
pub(crate) fn add_rule(table: &str, chain: &str, expressions: Expressions) -> Message {
    Message::new(kind(6), flags::CREATE | flags::APPEND, &HEADER)
        .text(1, table)
        .text(2, chain)
        .nest(4, expressions.into_attributes())
}
