//! As much of an HTTP client as a step needs inside its cluster: one request per connection to an address (names are not
//! resolved: the image may have no resolver), sizes always told, no encryption. What is passing is tried again.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// How long a server that does not answer is waited for, as while its pod is replaced.
const PATIENCE: Duration = Duration::from_secs(600);
/// Longest pause between two tries.
const PAUSE: Duration = Duration::from_secs(5);
/// Longest silence of the server; it may be putting a large object together.
const SILENCE: Duration = Duration::from_secs(300);
/// Longest head of an answer, and longest answer that is read for its words.
const HEAD_BYTES: u64 = 64 * 1024;

/// The server and how we show who we are.
pub struct Client {
    address: SocketAddr,
    /// Read anew for each request, since the cluster replaces it.
    token_file: String,
}

/// An answer with a good status.
pub struct Answer {
    /// Its content.
    pub body: io::Take<BufReader<TcpStream>>,
    /// How many bytes that is.
    pub size_bytes: u64,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Problem {
    /// It may pass.
    Passing(String),
    /// The server has said no.
    Refused(String),
}

impl Client {
    /// A client of `http://ADDRESS:PORT`.
    pub fn new(url: &str, token_file: &str) -> Result<Self, String> {
        let address = url
            .strip_prefix("http://")
            .map(|host| host.trim_end_matches('/'))
            .and_then(|host| host.parse().ok())
            .ok_or_else(|| format!("{url:?} is not http://ADDRESS:PORT"))?;
        Ok(Self {
            address,
            token_file: token_file.to_owned(),
        })
    }

    /// Asks, patiently, and hands the answer to `take`, which may be called again after a failure.
    pub fn get<T>(
        &self,
        path: &str,
        mut take: impl FnMut(Answer) -> io::Result<T>,
    ) -> Result<T, String> {
        self.patiently(|| {
            let answer = self.once("GET", path, None)?;
            take(answer).map_err(|problem| Problem::Passing(problem.to_string()))
        })
    }

    /// Sends a file of so many bytes, patiently.
    pub fn put_file(&self, path: &str, file: &std::path::Path) -> Result<(), String> {
        self.patiently(|| {
            let read = |problem: io::Error| Problem::Refused(problem.to_string());
            let content = File::open(file).map_err(read)?;
            let size = content.metadata().map_err(read)?.len();
            self.once("PUT", path, Some((&mut content.take(size), size)))
                .map(drop)
        })
    }

    /// Sends a text, patiently.
    pub fn put(&self, path: &str, content: &[u8]) -> Result<(), String> {
        self.patiently(|| {
            let size = content.len() as u64;
            self.once("PUT", path, Some((&mut &*content, size)))
                .map(drop)
        })
    }

    fn patiently<T>(&self, mut once: impl FnMut() -> Result<T, Problem>) -> Result<T, String> {
        let since = Instant::now();
        let (mut pause, mut is_said) = (Duration::from_millis(200), false);
        loop {
            match once() {
                Ok(answer) => return Ok(answer),
                Err(Problem::Refused(problem)) => return Err(problem),
                Err(Problem::Passing(problem)) => {
                    if since.elapsed() > PATIENCE {
                        return Err(problem);
                    }
                    if !is_said && pause >= PAUSE {
                        is_said = true;
                        eprintln!("launcher: waits for {}: {problem}", self.address);
                    }
                    thread::sleep(pause);
                    pause = (pause * 2).min(PAUSE);
                }
            }
        }
    }

    fn once(
        &self,
        method: &str,
        path: &str,
        content: Option<(&mut dyn Read, u64)>,
    ) -> Result<Answer, Problem> {
        let passing = |problem: io::Error| Problem::Passing(problem.to_string());
        let token = std::fs::read_to_string(&self.token_file)
            .map_err(|problem| Problem::Refused(format!("{}: {problem}", self.token_file)))?;
        let mut stream =
            TcpStream::connect_timeout(&self.address, Duration::from_secs(10)).map_err(passing)?;
        stream.set_read_timeout(Some(SILENCE)).map_err(passing)?;
        stream.set_write_timeout(Some(SILENCE)).map_err(passing)?;
        let length = match &content {
            Some((_, size)) => format!("Content-Length: {size}\r\n"),
            None => String::new(),
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n{length}Connection: close\r\n\r\n",
            self.address,
            token.trim()
        );
        let mut sent = stream.write_all(head.as_bytes());
        if let Some((content, size)) = content
            && sent.is_ok()
        {
            sent = io::copy(content, &mut stream).and_then(|copied| {
                if copied == size {
                    Ok(())
                } else {
                    Err(io::Error::other(
                        "the file became shorter while it was read",
                    ))
                }
            });
        }
        // A server that refuses need not read to the end: what it says is better than that it hung up.
        match (sent, answer(stream)) {
            (Err(problem), Err(Problem::Passing(_)) | Ok(_)) => Err(passing(problem)),
            (_, answer) => answer,
        }
    }
}

fn answer(stream: TcpStream) -> Result<Answer, Problem> {
    let broken = |what: &str| Problem::Passing(what.to_owned());
    let mut head = BufReader::new(stream).take(HEAD_BYTES);
    let line = |head: &mut io::Take<BufReader<TcpStream>>| {
        let mut line = String::new();
        head.read_line(&mut line)
            .map_err(|problem| Problem::Passing(problem.to_string()))?;
        if line.ends_with('\n') {
            Ok(line.trim_end().to_owned())
        } else {
            Err(broken("the server hung up in the middle of its answer"))
        }
    };
    let first = line(&mut head)?;
    let status: u16 = first
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| broken("the server does not speak HTTP"))?;
    let mut size_bytes = None;
    loop {
        let header = line(&mut head)?;
        if header.is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            size_bytes = value.trim().parse().ok();
        }
    }
    let mut body = head.into_inner().take(u64::MAX);
    if (200..300).contains(&status) {
        let size_bytes =
            size_bytes.ok_or_else(|| broken("the server did not say how much it sends"))?;
        body.set_limit(size_bytes);
        return Ok(Answer { body, size_bytes });
    }
    body.set_limit(size_bytes.unwrap_or(HEAD_BYTES).min(HEAD_BYTES));
    let mut text = Vec::new();
    let _ = body.read_to_end(&mut text);
    let words = words(&text).unwrap_or_else(|| format!("the server answered {status}"));
    // What a server that starts, stops or has too much to do says passes.
    if status >= 500 || matches!(status, 408 | 429) {
        Err(Problem::Passing(words))
    } else {
        Err(Problem::Refused(words))
    }
}

/// The message of an error body.
fn words(text: &[u8]) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(text).ok()?;
    let message = body.get("error_message").or_else(|| body.get("message"))?;
    Some(message.as_str()?.to_owned())
}

/// Escapes what may not stand in a query.
pub fn escaped(text: &str) -> String {
    let mut query = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/') {
            query.push(char::from(byte));
        } else {
            query.push_str(&format!("%{byte:02X}"));
        }
    }
    query
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Answers each connection with the next of `answers`, once its head has come; gives the heads.
    fn server(answers: &'static [&'static str]) -> (String, thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let heads = thread::spawn(move || {
            let mut heads = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut head = String::new();
                let mut lines = BufReader::new(stream.try_clone().unwrap());
                while !head.ends_with("\r\n\r\n") {
                    assert!(lines.read_line(&mut head).unwrap() > 0);
                }
                stream.write_all(answer.as_bytes()).unwrap();
                heads.push(head);
            }
            heads
        });
        (url, heads)
    }

    fn client(url: &str, folder: &tempfile::TempDir) -> Client {
        let token = folder.path().join("token");
        std::fs::write(&token, "abc\n").unwrap();
        Client::new(url, token.to_str().unwrap()).unwrap()
    }

    fn text(answer: Answer) -> io::Result<String> {
        let (mut body, mut text) = (answer.body, String::new());
        body.read_to_string(&mut text)?;
        if text.len() as u64 == answer.size_bytes {
            Ok(text)
        } else {
            Err(io::Error::other("it did not come whole"))
        }
    }

    #[test]
    fn what_passes_is_tried_again_until_the_answer_is_whole() {
        let (url, heads) = server(&[
            "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhal",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole",
        ]);
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(client(&url, &folder).get("/x", text).unwrap(), "whole");
        for head in heads.join().unwrap() {
            assert!(head.starts_with("GET /x HTTP/1.1\r\n"), "{head}");
            assert!(head.contains("Authorization: Bearer abc\r\n"), "{head}");
        }
    }

    #[test]
    fn a_refusal_is_told_in_the_servers_words_at_once() {
        let (url, heads) = server(&[
            "HTTP/1.1 403 Forbidden\r\ncontent-length: 37\r\n\r\n{\"message\": \"the step has ended....\"}",
        ]);
        let folder = tempfile::tempdir().unwrap();
        let refusal = client(&url, &folder).put("/x", b"").unwrap_err();
        assert!(refusal.starts_with("the step has ended"), "{refusal}");
        let heads = heads.join().unwrap();
        assert!(heads[0].contains("Content-Length: 0\r\n"), "{heads:?}");
    }

    #[test]
    fn only_a_plain_address_is_a_server() {
        for url in [
            "https://10.0.0.1:8888",
            "http://ml-pipeline:8888",
            "10.0.0.1:8888",
        ] {
            assert!(Client::new(url, "/token").is_err(), "{url}");
        }
        assert_eq!(escaped("a b/ü%"), "a%20b/%C3%BC%25");
    }
}
