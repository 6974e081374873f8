//! Asking the host's resolvers, from the host's network: the hosts file first, then the nameservers as bytes pass
//! by, then (where there are none) the C library. Bounded in time and in questions under way.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::host::HostFiles;
use super::message::{Answer, Data, Name, Query, Rcode, Record, Transport, kind};

/// Resolvers of pods wait five seconds before they ask again.
const PER_SERVER: Duration = Duration::from_secs(2);
const ROUNDS: usize = 2;
const MOST_QUESTIONS: usize = 256;

/// The host's resolvers.
#[derive(Debug)]
pub(crate) struct Upstream {
    /// Asked instead of the host's, if there are any.
    nameservers: Vec<SocketAddr>,
    files: HostFiles,
    under_way: Semaphore,
}

impl Upstream {
    pub fn new(config: &super::Config) -> Self {
        let files = HostFiles::new(config.resolver_file.clone(), config.hosts_file.clone());
        Self {
            nameservers: config.nameservers.clone(),
            files,
            under_way: Semaphore::new(MOST_QUESTIONS),
        }
    }

    fn servers(&self) -> Vec<SocketAddr> {
        if self.nameservers.is_empty() {
            self.files.nameservers().to_vec()
        } else {
            self.nameservers.clone()
        }
    }

    /// Answers a question as the host would; `bytes` is the question as it came.
    pub async fn answer(&self, query: &Query, bytes: &[u8], transport: Transport) -> Vec<u8> {
        let failed = || query.answer(&Answer::code(Rcode::ServerFailure), transport);
        let Ok(_permit) = self.under_way.try_acquire() else {
            tracing::warn!(
                "too many names are being asked for at once; {} is not",
                query.name
            );
            return failed();
        };
        let name = query.name.to_text();
        if let Some(addresses) = name.as_deref().and_then(|name| self.files.addresses(name)) {
            return query.answer(&address_answer(query.kind, &addresses), transport);
        }
        let servers = self.servers();
        if servers.is_empty() {
            let answer = match name {
                Some(name) if query.kind == kind::A => by_c_library(&name).await,
                _ => Answer::code(Rcode::NoError),
            };
            return query.answer(&answer, transport);
        }
        for server in servers.iter().cycle().take(servers.len() * ROUNDS) {
            match timeout(PER_SERVER, ask(*server, bytes, transport)).await {
                Ok(Ok(answer)) => return answer,
                Ok(Err(error)) => {
                    tracing::debug!(%server, %error, "the host's nameserver did not answer about {}", query.name);
                }
                Err(_) => {
                    tracing::debug!(%server, "the host's nameserver is silent about {}", query.name)
                }
            }
        }
        failed()
    }

    /// The addresses of a name, for an alias.
    pub async fn addresses(&self, name: &Name) -> Vec<Ipv4Addr> {
        let Some(name) = name.to_text() else {
            return Vec::new();
        };
        match self.files.addresses(&name) {
            Some(addresses) => addresses,
            None => addresses_of(&by_c_library(&name).await),
        }
    }
}

fn address_answer(record_kind: u16, addresses: &[Ipv4Addr]) -> Answer {
    let is_asked = matches!(record_kind, kind::A | kind::ANY);
    let record = |address: &Ipv4Addr| Record {
        owner: None,
        data: Data::A(*address),
    };
    let answers = if is_asked {
        addresses.iter().map(record).collect()
    } else {
        Vec::new()
    };
    Answer {
        answers,
        ..Answer::code(Rcode::NoError)
    }
}

fn addresses_of(answer: &Answer) -> Vec<Ipv4Addr> {
    let address = |record: &Record| match record.data {
        Data::A(address) => Some(address),
        _ => None,
    };
    answer.answers.iter().filter_map(address).collect()
}

async fn by_c_library(name: &str) -> Answer {
    match timeout(PER_SERVER * 2, tokio::net::lookup_host((name, 0))).await {
        Ok(Ok(found)) => {
            let mut addresses: Vec<Ipv4Addr> = found
                .filter_map(|address| match address.ip() {
                    IpAddr::V4(ip) if !ip.is_loopback() => Some(ip),
                    _ => None,
                })
                .collect();
            addresses.dedup();
            address_answer(kind::A, &addresses)
        }
        // The library does not tell "there is none" from "I could not ask"; the former is far more common.
        Ok(Err(_)) => Answer::code(Rcode::NoSuchName),
        Err(_) => Answer::code(Rcode::ServerFailure),
    }
}

/// Passes a question on under a number of our own, and the answer back under the asker's.
async fn ask(server: SocketAddr, bytes: &[u8], transport: Transport) -> io::Result<Vec<u8>> {
    let own: [u8; 2] = rand::random();
    let mut question = bytes.to_vec();
    let Some(id) = question.get_mut(0..2) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    id.copy_from_slice(&own);
    let mut answer = match transport {
        Transport::Udp => ask_udp(server, &question).await?,
        Transport::Tcp => ask_tcp(server, &question).await?,
    };
    answer[0..2].copy_from_slice(&bytes[0..2]);
    Ok(answer)
}

/// Whether the bytes answer the question: its number, an answer, and the same question again.
fn is_answer(answer: &[u8], question: &[u8]) -> bool {
    const QUESTION: usize = 12;
    let end = question[QUESTION..]
        .iter()
        .position(|byte| *byte == 0)
        .map(|zero| QUESTION + zero + 5);
    let Some(asked) = end.and_then(|end| question.get(QUESTION..end)) else {
        return false;
    };
    answer.len() >= QUESTION
        && answer[0..2] == question[0..2]
        && answer[2] & 0x80 != 0
        && (answer[4..6] == [0, 0]
            || answer
                .get(QUESTION..QUESTION + asked.len())
                .is_some_and(|again| again.eq_ignore_ascii_case(asked)))
}

async fn ask_udp(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    // A fresh socket each time: its port is the second thing a forger has to guess.
    let any: SocketAddr = if server.is_ipv4() {
        ([0; 4], 0).into()
    } else {
        ([0_u16; 8], 0).into()
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if is_answer(&buffer[..length], question) {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

async fn ask_tcp(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    stream
        .write_all(&[&length.to_be_bytes(), question].concat())
        .await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    if is_answer(&answer, question) {
        Ok(answer)
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::question;
    use super::*;

    #[test]
    fn only_an_answer_to_the_same_question_counts() {
        let asked = question("pypi.org", kind::A);
        let mut answer = asked.clone();
        answer[2] |= 0x80;
        assert!(is_answer(&answer, &asked));
        assert!(!is_answer(&asked, &asked), "a question is no answer");
        let mut other = question("evil.org", kind::A);
        other[2] |= 0x80;
        assert!(!is_answer(&other, &asked));
        answer[0] ^= 1;
        assert!(!is_answer(&answer, &asked));
        assert!(!is_answer(&answer[..5], &asked));
    }
}
