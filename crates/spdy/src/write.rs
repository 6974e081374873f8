//! The writing half of a connection: small frames first, then what the streams send, in as few writes as it allows.

use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::connection::{Outgoing, Shared, status};
use crate::frame::{Encoder, Frame};

/// Written at one go.
const BATCH_BYTES: usize = 64 << 10;

/// Writes until told to close, or until the peer takes no more.
pub(crate) async fn run<W: AsyncWrite + Unpin>(
    shared: Arc<Shared>,
    mut io: W,
    mut queued: mpsc::Receiver<Outgoing>,
) -> io::Result<()> {
    let mut encoder = Encoder::default();
    let mut batch = BytesMut::with_capacity(BATCH_BYTES);
    loop {
        let mut next = tokio::select! {
            biased;
            () = shared.has_control.notified() => None,
            queued = queued.recv() => Some(queued.unwrap_or(Outgoing::Close(status::OK))),
        };
        let mut is_closing = false;
        loop {
            // Again before each frame: a stream's reply was queued here before its first data was queued there.
            write_control(&shared, &mut encoder, &mut batch);
            match next.take() {
                Some(Outgoing::Frame(frame)) => encoder.encode(&frame, &mut batch),
                Some(Outgoing::Close(status)) => {
                    let last_good = shared.state().last_of_peer;
                    encoder.encode(&Frame::GoAway { last_good, status }, &mut batch);
                    is_closing = true;
                }
                None => {}
            }
            if is_closing || batch.len() >= BATCH_BYTES {
                break;
            }
            match queued.try_recv() {
                Ok(frame) => next = Some(frame),
                Err(_) => break,
            }
        }
        io.write_all(&batch).await?;
        io.flush().await?;
        batch.clear();
        if is_closing {
            return io.shutdown().await;
        }
    }
}

fn write_control(shared: &Shared, encoder: &mut Encoder, batch: &mut BytesMut) {
    let control = std::mem::take(&mut shared.state().control);
    for frame in &control {
        encoder.encode(frame, batch);
    }
}
