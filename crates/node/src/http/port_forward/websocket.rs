//! Forwarded ports over WebSocket, one connection for each: channel 2n carries its data, 2n + 1 what went wrong, and
//! each begins with the port's number.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket};
use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::Target;
use crate::http::channels;
use crate::http::websocket::{normal_close, send_all};

/// Connections that one client may ask for, by the number of channels that a byte can name.
const MAX_PORTS: usize = 128;

/// Serves the ports until all connections have ended or the client is gone.
pub(super) async fn serve(socket: WebSocket, target: Arc<Target>, mut ports: Vec<u16>) {
    ports.truncate(MAX_PORTS);
    let (sink, mut stream) = socket.split();
    let (messages, waiting) = mpsc::channel::<Message>(16);
    let (mut inputs, mut connections) = (Vec::new(), Vec::new());
    for (channel, port) in (0u8..).step_by(2).zip(ports) {
        let (input, bytes) = mpsc::channel::<Bytes>(16);
        inputs.push(input);
        connections.push(forward(
            target.clone(),
            port,
            channel,
            bytes,
            messages.clone(),
        ));
    }
    let all = async {
        futures::future::join_all(connections).await;
        let _ = messages.send(normal_close()).await;
    };
    let sending = send_all(waiting, sink);
    let receiving = async {
        while let Some(Ok(message)) = stream.next().await {
            let bytes = match message {
                Message::Binary(bytes) => bytes,
                Message::Close(_) => return,
                _ => continue,
            };
            // Nothing is to be said on the channels of errors.
            if let Some(channel) = bytes.first().filter(|channel| *channel % 2 == 0)
                && let Some(input) = inputs.get(usize::from(channel / 2))
            {
                // A connection that has ended takes no more.
                let _ = input.send(bytes.slice(1..)).await;
            }
        }
    };
    tokio::select! {
        _ = async { tokio::join!(all, sending) } => {}
        () = receiving => {}
    }
}

async fn forward(
    target: Arc<Target>,
    port: u16,
    channel: u8,
    mut bytes: mpsc::Receiver<Bytes>,
    messages: mpsc::Sender<Message>,
) {
    let say = |channel, bytes: &[u8]| {
        let message = Message::Binary(channels::message(channel, bytes));
        let messages = messages.clone();
        async move { messages.send(message).await.is_ok() }
    };
    say(channel, &port.to_le_bytes()).await;
    say(channel + 1, &port.to_le_bytes()).await;
    let (mut reader, mut writer) = match target.connect(port).await {
        Ok(connection) => connection.into_split(),
        Err(words) => {
            say(channel + 1, words.as_bytes()).await;
            return;
        }
    };
    let up = async {
        while let Some(bytes) = bytes.recv().await {
            if writer.write_all(&bytes).await.is_err() {
                break;
            }
        }
        // The pod may go on answering.
        std::future::pending::<()>().await;
    };
    let down = async {
        let mut buffer = vec![0; 32 << 10];
        while let Ok(count @ 1..) = reader.read(&mut buffer).await {
            if !say(channel, &buffer[..count]).await {
                return;
            }
        }
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}
