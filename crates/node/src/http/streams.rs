//! A process over SPDY: each of its streams is one of the connection's, named by the header `streamType`.

use std::time::Duration;

use serde_json::Value;
use spdy::{Connection, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::channels;
use super::process::{Input, Output, Process};
use super::query::Wanted;

/// The newest version; the same as the one before, whose streams already end one by one.
pub(super) const V5: &str = channels::V5;
/// The first that says how a process ended as an object.
pub(super) const V4: &str = channels::V4;
/// The first with a stream for the terminal's size.
pub(super) const V3: &str = "v3.channel.k8s.io";
/// The first in which streams are accepted one by one.
pub(super) const V2: &str = "v2.channel.k8s.io";
/// The oldest.
pub(super) const V1: &str = "channel.k8s.io";
/// All versions; a client that names none speaks the oldest.
pub(super) const VERSIONS: &[&str] = &[V5, V4, V3, V2, V1, ""];

/// How long a client has to open all streams that its request promised.
const OPENING: Duration = Duration::from_secs(30);
/// Most of a terminal's size that is read before it is understood.
const MAX_SIZE_BYTES: usize = 4 << 10;

/// The streams that a client opened.
#[derive(Default)]
struct Opened {
    error: Option<Stream>,
    stdin: Option<Stream>,
    stdout: Option<Stream>,
    stderr: Option<Stream>,
    resize: Option<Stream>,
}

impl Opened {
    async fn all(connection: &mut Connection, wanted: &Wanted, has_resize: bool) -> Option<Self> {
        let mut opened = Self::default();
        while !opened.is_complete(wanted, has_resize) {
            let stream = connection.accept().await?;
            let place = match stream.headers().get("streamType") {
                Some("error") => &mut opened.error,
                Some("stdin") if wanted.stdin => &mut opened.stdin,
                Some("stdout") if wanted.stdout => &mut opened.stdout,
                Some("stderr") if wanted.stderr => &mut opened.stderr,
                Some("resize") if has_resize => &mut opened.resize,
                // Dropped, and so reset.
                _ => continue,
            };
            stream.reply();
            *place = Some(stream);
        }
        Some(opened)
    }

    fn is_complete(&self, wanted: &Wanted, has_resize: bool) -> bool {
        self.error.is_some()
            && self.stdin.is_some() == wanted.stdin
            && self.stdout.is_some() == wanted.stdout
            && self.stderr.is_some() == wanted.stderr
            && self.resize.is_some() == has_resize
    }
}

/// Waits for the streams, starts a process and carries bytes both ways until its outputs have ended, then says how it
/// did.
pub(super) async fn serve(
    mut connection: Connection,
    wanted: Wanted,
    version: &'static str,
    start: impl Future<Output = Result<Process, String>>,
) {
    let has_resize = wanted.tty && matches!(version, V5 | V4 | V3);
    let opening = Opened::all(&mut connection, &wanted, has_resize);
    let Ok(Some(opened)) = tokio::time::timeout(OPENING, opening).await else {
        return tracing::debug!("a client did not open the streams that it asked for");
    };
    let Opened {
        error,
        mut stdin,
        stdout,
        stderr,
        mut resize,
    } = opened;
    let Some(error) = error else { return };
    match start.await {
        Ok(process) => {
            let Process {
                mut input,
                stdout: out,
                stderr: err,
                ended,
            } = process;
            let outputs = async {
                tokio::join!(pump(out, stdout), pump(err, stderr));
                ended.await
            };
            let status = tokio::select! {
                status = outputs => status,
                () = connection.gone() => return input.close().await,
                () = receive(&mut stdin, &mut resize, &mut input) => return,
            };
            end(&mut stdin).await;
            end(&mut resize).await;
            tell(error, &status, version).await;
        }
        Err(message) => {
            tell(error, &channels::failure(&message), version).await;
            drop((stdin, stdout, stderr, resize));
        }
    }
    connection.close().await;
}

async fn tell(mut stream: Stream, status: &Value, version: &str) {
    let text = match version {
        V5 | V4 => status.to_string(),
        _ if status["status"] == "Success" => String::new(),
        _ => status["message"].as_str().unwrap_or_default().to_owned(),
    };
    // A client that is gone needs no telling.
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.shutdown().await;
}

async fn pump(output: Output, stream: Option<Stream>) {
    let Some(mut stream) = stream else { return };
    if let Some(mut output) = output {
        let mut buffer = vec![0; 32 << 10];
        while let Ok(count @ 1..) = output.read(&mut buffer).await {
            if stream.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    }
    let _ = stream.shutdown().await;
}

/// Passes on what the client sends, for as long as the process runs.
async fn receive(stdin: &mut Option<Stream>, resize: &mut Option<Stream>, input: &mut Input) {
    let (mut buffer, mut sizes) = (vec![0; 32 << 10], Vec::new());
    loop {
        tokio::select! {
            read = next(stdin, &mut buffer) => match read {
                Some(count) => input.write(&buffer[..count]).await,
                None => input.close().await,
            },
            Some(size) = next_size(resize, &mut sizes) => input.resize(size.0, size.1),
        }
    }
}

/// Ends our half of a stream on which only the client speaks. Not before the process has ended: clients take it as a
/// sign that nobody reads any more. And not by dropping it, which would be a reset.
async fn end(stream: &mut Option<Stream>) {
    if let Some(mut stream) = stream.take() {
        let _ = stream.shutdown().await;
    }
}

/// The next bytes; `None` once, at the end, and then never again.
async fn next(stream: &mut Option<Stream>, buffer: &mut [u8]) -> Option<usize> {
    match stream {
        None => std::future::pending().await,
        Some(open) => match open.read(buffer).await {
            Ok(count @ 1..) => Some(count),
            _ => {
                end(stream).await;
                None
            }
        },
    }
}

/// The next size of the terminal; pending for ever when none will come.
async fn next_size(stream: &mut Option<Stream>, read: &mut Vec<u8>) -> Option<(u16, u16)> {
    loop {
        let mut sizes = serde_json::Deserializer::from_slice(read).into_iter::<Value>();
        match sizes.next() {
            Some(Ok(size)) => {
                let taken = sizes.byte_offset();
                read.drain(..taken);
                let number = |name: &str| {
                    size[name]
                        .as_u64()
                        .and_then(|number| u16::try_from(number).ok())
                };
                if let (Some(columns), Some(rows)) = (number("Width"), number("Height")) {
                    return Some((columns, rows));
                }
                continue;
            }
            Some(Err(error)) if !error.is_eof() => end(stream).await,
            _ => {}
        }
        if read.len() > MAX_SIZE_BYTES {
            end(stream).await;
        }
        let mut buffer = [0; 256];
        match next(stream, &mut buffer).await {
            Some(count) => read.extend_from_slice(&buffer[..count]),
            None => read.clear(),
        }
    }
}
