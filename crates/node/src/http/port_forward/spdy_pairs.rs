//! Forwarded ports over SPDY: for each connection the client opens two streams with one request id, `error` and `data`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use spdy::{Connection, Stream};
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Target;

/// How long the second stream of a pair may take to come.
const PAIRING: Duration = Duration::from_secs(30);

/// One of two streams, waiting for the other.
struct Half {
    stream: Stream,
    is_data: bool,
    since: Instant,
}

/// Serves pairs until the client is gone; with it go all connections.
pub(super) async fn serve(mut connection: Connection, target: Arc<Target>) {
    let mut halves: HashMap<String, Half> = HashMap::new();
    let mut pairs = JoinSet::new();
    let gone = connection.gone();
    tokio::pin!(gone);
    let mut clock = tokio::time::interval(PAIRING / 2);
    loop {
        let stream = tokio::select! {
            () = &mut gone => return,
            stream = connection.accept() => stream,
            _ = clock.tick() => {
                halves.retain(|_, half| half.since.elapsed() < PAIRING);
                continue;
            }
            Some(_) = pairs.join_next() => continue,
        };
        let Some(stream) = stream else {
            // No more will come, but what there is may go on.
            tokio::select! {
                () = &mut gone => return,
                () = async { while pairs.join_next().await.is_some() {} } => return,
            }
        };
        // A stream that makes no sense is dropped, and so reset.
        let Some((id, is_data, port)) = describe(&stream) else {
            continue;
        };
        stream.reply();
        match halves.remove(&id) {
            Some(other) if other.is_data != is_data => {
                let (data, error) = if is_data {
                    (stream, other.stream)
                } else {
                    (other.stream, stream)
                };
                pairs.spawn(forward(target.clone(), port, data, error));
            }
            _ => {
                let half = Half {
                    stream,
                    is_data,
                    since: Instant::now(),
                };
                halves.insert(id, half);
            }
        }
    }
}

/// The request that a stream belongs to, whether it carries the data, and the port.
fn describe(stream: &Stream) -> Option<(String, bool, u16)> {
    let headers = stream.headers();
    let port = headers.get("port")?.parse().ok().filter(|port| *port > 0)?;
    let is_data = match headers.get("streamType")? {
        "data" => true,
        "error" => false,
        _ => return None,
    };
    let id = match headers.get("requestID").filter(|id| !id.is_empty()) {
        Some(id) => id.to_owned(),
        // Clients that number nothing open the error stream first and the data stream right after it.
        None if is_data => stream.id().saturating_sub(2).to_string(),
        None => stream.id().to_string(),
    };
    Some((id, is_data, port))
}

async fn forward(target: Arc<Target>, port: u16, mut data: Stream, mut error: Stream) {
    match target.connect(port).await {
        Ok(mut connection) => {
            // Each direction ends on its own. A connection that breaks is the affair of who uses it.
            if tokio::io::copy_bidirectional(&mut data, &mut connection)
                .await
                .is_err()
            {
                data.reset();
            }
        }
        Err(words) => {
            tracing::debug!(port, "{words}");
            let _ = error.write_all(words.as_bytes()).await;
            let _ = error.shutdown().await;
            data.reset();
        }
    }
    let _ = error.shutdown().await;
}
