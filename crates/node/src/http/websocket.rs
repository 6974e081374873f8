//! A process over WebSocket: its streams are messages whose first byte says which (`channels`).

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use futures::stream::SplitStream;
use futures::{SinkExt, StreamExt};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

use super::channels::{self, Incoming};
use super::process::{Input, Output, Process};

/// Starts a process and carries bytes both ways until its outputs have ended, then says how it did, as `version` has it.
pub(super) async fn serve(
    socket: WebSocket,
    version: &'static str,
    start: impl Future<Output = Result<Process, String>>,
) {
    match start.await {
        Ok(process) => connect(socket, version, process).await,
        Err(message) => refuse(socket, version, &message).await,
    }
}

async fn refuse(mut socket: WebSocket, version: &str, message: &str) {
    if let Some(said) = channels::told(version, &channels::failure(message)) {
        let message = channels::message(channels::ERROR, said.as_bytes());
        let _ = socket.send(Message::Binary(message)).await;
    }
    let _ = socket.send(normal_close()).await;
}

async fn connect(socket: WebSocket, version: &str, process: Process) {
    let Process {
        mut input,
        stdout,
        stderr,
        ended,
    } = process;
    let (mut sink, stream) = socket.split();
    let (messages, mut waiting) = mpsc::channel::<Message>(16);
    let outputs = async {
        tokio::join!(
            pump(stdout, channels::STDOUT, messages.clone()),
            pump(stderr, channels::STDERR, messages.clone()),
        );
        if let Some(said) = channels::told(version, &ended.await) {
            let bytes = channels::message(channels::ERROR, said.as_bytes());
            let _ = messages.send(Message::Binary(bytes)).await;
        }
        let _ = messages.send(normal_close()).await;
    };
    let sending = async {
        while let Some(message) = waiting.recv().await {
            let is_last = matches!(message, Message::Close(_));
            if sink.send(message).await.is_err() || is_last {
                return;
            }
        }
    };
    let outputs = async {
        tokio::join!(outputs, sending);
    };
    tokio::select! {
        () = outputs => {}
        () = receive(stream, &mut input) => {}
    }
}

async fn pump(stream: Output, channel: u8, messages: mpsc::Sender<Message>) {
    let Some(mut stream) = stream else { return };
    let mut buffer = vec![0; 32 << 10];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        let message = Message::Binary(channels::message(channel, &buffer[..count]));
        if messages.send(message).await.is_err() {
            return;
        }
    }
}

/// Passes on what the client sends; returns when the client is gone.
async fn receive(mut stream: SplitStream<WebSocket>, input: &mut Input) {
    while let Some(Ok(message)) = stream.next().await {
        let bytes = match message {
            Message::Binary(bytes) => bytes,
            Message::Close(_) => break,
            _ => continue,
        };
        match channels::read(&bytes) {
            Incoming::Stdin(bytes) => input.write(&bytes).await,
            Incoming::StdinClosed => input.close().await,
            Incoming::Resize { columns, rows } => input.resize(columns, rows),
            Incoming::Other => {}
        }
    }
    input.close().await;
}

/// Clients take a close without a code for a broken connection.
pub(super) fn normal_close() -> Message {
    Message::Close(Some(CloseFrame {
        code: close_code::NORMAL,
        reason: "".into(),
    }))
}
