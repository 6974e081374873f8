//! How the host itself resolves names: its nameservers and its hosts file, read again when they change. Reading
//! only; asking is `upstream`'s.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

const DNS_PORT: u16 = 53;

/// Nameservers of a `resolv.conf`.
fn nameservers(text: &str) -> Vec<SocketAddr> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let address = (words.next() == Some("nameserver")).then(|| words.next())??;
            // A zone of a link-local address cannot be parsed here; such servers are rare and skipped.
            Some(SocketAddr::new(address.parse::<IpAddr>().ok()?, DNS_PORT))
        })
        .collect()
}

/// IPv4 addresses by name of a hosts file. Loopback ones are left out: in a pod they would be the pod itself.
fn hosts(text: &str) -> HashMap<String, Vec<Ipv4Addr>> {
    let mut found: HashMap<String, Vec<Ipv4Addr>> = HashMap::new();
    for line in text.lines() {
        let mut words = line
            .split('#')
            .next()
            .unwrap_or_default()
            .split_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse::<Ipv4Addr>) else {
            continue;
        };
        if address.is_loopback() {
            continue;
        }
        for name in words {
            found
                .entry(name.trim_end_matches('.').to_ascii_lowercase())
                .or_default()
                .push(address);
        }
    }
    found
}

/// A file's meaning, read again when the file has changed.
#[derive(Debug)]
struct Watched<T> {
    path: PathBuf,
    parse: fn(&str) -> T,
    state: Mutex<(Option<SystemTime>, Arc<T>)>,
}

impl<T> Watched<T> {
    fn new(path: PathBuf, parse: fn(&str) -> T) -> Self {
        let state = Mutex::new((None, Arc::new(parse(""))));
        Self { path, parse, state }
    }

    fn get(&self) -> Arc<T> {
        let changed = std::fs::metadata(&self.path)
            .and_then(|found| found.modified())
            .ok();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.0 != changed {
            let text = std::fs::read_to_string(&self.path).unwrap_or_default();
            *state = (changed, Arc::new((self.parse)(&text)));
        }
        state.1.clone()
    }
}

/// The host's files about names.
#[derive(Debug)]
pub(crate) struct HostFiles {
    resolver: Watched<Vec<SocketAddr>>,
    hosts: Watched<HashMap<String, Vec<Ipv4Addr>>>,
}

impl HostFiles {
    pub fn new(resolver: PathBuf, hosts_file: PathBuf) -> Self {
        Self {
            resolver: Watched::new(resolver, nameservers),
            hosts: Watched::new(hosts_file, hosts),
        }
    }

    pub fn nameservers(&self) -> Arc<Vec<SocketAddr>> {
        self.resolver.get()
    }

    pub fn addresses(&self, name: &str) -> Option<Vec<Ipv4Addr>> {
        self.hosts.get().get(name).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nameservers_are_read_in_order_and_nonsense_is_passed_over() {
        let text = "# comment\nsearch example\nnameserver 127.0.0.53\nnameserver fe80::1%eth0\nnameserver 2001:db8::1\n";
        let expected: Vec<SocketAddr> = vec![
            "127.0.0.53:53".parse().expect("v4"),
            "[2001:db8::1]:53".parse().expect("v6"),
        ];
        assert_eq!(nameservers(text), expected);
    }

    #[test]
    fn hosts_give_addresses_but_not_the_hosts_own_loopback() {
        let found = hosts("127.0.0.1 localhost\n192.0.2.7 Mirror.example mirror # ours\n::1 six\n");
        assert_eq!(
            found.get("mirror.example"),
            Some(&vec![Ipv4Addr::new(192, 0, 2, 7)])
        );
        assert_eq!(
            found.get("mirror"),
            Some(&vec![Ipv4Addr::new(192, 0, 2, 7)])
        );
        assert_eq!(found.get("localhost"), None);
    }

    #[test]
    fn a_changed_file_is_read_again() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("resolv.conf");
        let files = HostFiles::new(path.clone(), folder.path().join("hosts"));
        assert!(files.nameservers().is_empty());
        std::fs::write(&path, "nameserver 192.0.2.1\n").expect("written");
        assert_eq!(files.nameservers().len(), 1);
        std::fs::write(&path, "").expect("written");
        let later = SystemTime::now() + std::time::Duration::from_secs(5);
        std::fs::File::options()
            .append(true)
            .open(&path)
            .and_then(|file| file.set_modified(later))
            .expect("set");
        assert!(files.nameservers().is_empty());
    }
}
