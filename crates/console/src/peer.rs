//! Who is at the other end of a loopback connection: the kernel knows the uid of the socket's owner.
//! Connections that this very process holds at both ends (a relay, a port-forward) never count as a person.

use std::net::SocketAddr;

/// How a request came in; put into the request's extensions by whoever accepts connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The other end.
    pub peer: SocketAddr,
    /// It came in on the machine's own loopback port, not over the pod network.
    pub is_from_host: bool,
}

/// One row of `/proc/net/tcp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Socket {
    uid: u32,
    inode: u64,
}

impl Connection {
    /// Whether the other end belongs to the user that owns this process, and is not this process itself.
    pub fn is_owner(&self) -> bool {
        if !self.is_from_host || !self.peer.ip().is_loopback() {
            return false;
        }
        let SocketAddr::V4(_) = self.peer else {
            return false;
        };
        let Ok(table) = std::fs::read_to_string("/proc/net/tcp") else {
            return false;
        };
        let Some(socket) = find(&table, self.peer) else {
            return false;
        };
        // SAFETY: geteuid reads a number of this process and cannot fail.
        let own = unsafe { libc::geteuid() };
        socket.uid == own && !is_ours(socket.inode)
    }
}

/// The row whose local end is `address`.
fn find(table: &str, address: SocketAddr) -> Option<Socket> {
    let wanted = hexadecimal(address)?;
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        if fields.next()? != wanted {
            return None;
        }
        // remote, state, queues, timer, retransmits; then the uid, a timeout, the inode.
        let uid = fields.nth(5)?.parse().ok()?;
        let inode = fields.nth(1)?.parse().ok()?;
        Some(Socket { uid, inode })
    })
}

/// `127.0.0.1:80` as the kernel prints it: the address in host byte order, then the port.
fn hexadecimal(address: SocketAddr) -> Option<String> {
    let SocketAddr::V4(address) = address else {
        return None;
    };
    let number = u32::from_ne_bytes(address.ip().octets());
    Some(format!("{number:08X}:{:04X}", address.port()))
}

/// Whether one of this process's own descriptors is the socket.
fn is_ours(inode: u64) -> bool {
    let name = format!("socket:[{inode}]");
    std::fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .any(|entry| {
            std::fs::read_link(entry.path()).is_ok_and(|target| target.to_str() == Some(&name))
        })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::process::{Command, Stdio};

    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   0: 0100007F:1EC6 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 11 1 0 20 4 30 10 -1\n   1: 0100007F:D431 0100007F:1EC6 01 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0 20 4 30 10 -1\n";

    #[test]
    fn the_row_of_the_other_end_is_found_by_its_local_address() {
        let peer = "127.0.0.1:54321".parse().expect("an address");
        assert_eq!(
            find(TABLE, peer),
            Some(Socket {
                uid: 1000,
                inode: 4711
            })
        );
        assert_eq!(
            find(TABLE, "127.0.0.1:1".parse().expect("an address")),
            None
        );
    }

    #[test]
    fn another_process_of_the_same_user_is_the_owner_and_this_process_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback can be bound");
        let address = listener.local_addr().expect("it is bound");
        let _own = std::net::TcpStream::connect(address).expect("it listens");
        let (_, peer) = listener.accept().expect("it connected");
        assert!(
            !Connection {
                peer,
                is_from_host: true
            }
            .is_owner()
        );

        let script = format!(
            "exec 3<>/dev/tcp/127.0.0.1/{}; echo; sleep 60",
            address.port()
        );
        let mut other = Command::new("bash")
            .args(["-c", &script])
            .stdout(Stdio::null())
            .spawn()
            .expect("bash exists");
        let (_, peer) = listener.accept().expect("it connects");
        assert!(
            Connection {
                peer,
                is_from_host: true
            }
            .is_owner()
        );
        assert!(
            !Connection {
                peer,
                is_from_host: false
            }
            .is_owner()
        );
        other.kill().expect("it is ours");
        other.wait().expect("it is ours");
    }

    #[test]
    fn an_address_beyond_loopback_is_never_the_owner() {
        let peer = "10.1.0.7:4000".parse().expect("an address");
        assert!(
            !Connection {
                peer,
                is_from_host: true
            }
            .is_owner()
        );
    }
}
