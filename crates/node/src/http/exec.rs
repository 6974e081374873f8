//! `/exec` and `/attach` over WebSocket. (`/portForward` and SPDY have their places; what they answer today is in words.)

use std::sync::Arc;

use axum::extract::ws::{
    CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code,
    rejection::WebSocketUpgradeRejection,
};
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures::stream::SplitStream;
use futures::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::channels::{self, Incoming};
use super::{Refused, Server};
use crate::shim::{self, Attached, Exec, ExecInput, ExecSpec};

/// What a client wants connected.
#[derive(Debug, Default, PartialEq)]
struct Wanted {
    command: Vec<String>,
    stdin: bool,
    stdout: bool,
    stderr: bool,
    tty: bool,
}

impl Wanted {
    fn read(query: &str) -> Self {
        let mut wanted = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let flag = matches!(value.as_ref(), "1" | "true");
            match name.as_ref() {
                "command" => wanted.command.push(value.into_owned()),
                "input" | "stdin" => wanted.stdin = flag,
                "output" | "stdout" => wanted.stdout = flag,
                "error" | "stderr" => wanted.stderr = flag,
                "tty" => wanted.tty = flag,
                _ => {}
            }
        }
        // A terminal has one output.
        wanted.stderr &= !wanted.tty;
        wanted
    }
}

type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

fn websocket(upgrade: Upgrade) -> Result<WebSocketUpgrade, Refused> {
    let upgrade = upgrade.map_err(|_| {
        let text =
            "this node speaks WebSocket here and not SPDY yet; kubectl 1.30 and newer can use it";
        Refused(StatusCode::BAD_REQUEST, text.into())
    })?;
    Ok(upgrade.protocols([channels::V5, channels::V4]))
}

/// The processes of a pod in which this container runs.
fn running(
    server: &Server,
    namespace: &str,
    pod: &str,
    container: &str,
) -> Result<shim::Pod, Refused> {
    let known = server.pod(namespace, pod)?;
    let runs = known.runs.get(container).is_some_and(|(_, runs)| *runs);
    match known.shim {
        Some(shim) if runs => Ok(shim),
        None if runs => {
            let text = format!(
                "container {container:?} is a component that runs inside the platform's own process; there is nothing to run a command in"
            );
            Err(Refused(StatusCode::BAD_REQUEST, text))
        }
        _ => Err(Refused(
            StatusCode::NOT_FOUND,
            format!("container not found ({container:?})"),
        )),
    }
}

pub(super) async fn exec(
    State(server): State<Arc<Server>>,
    Path((namespace, pod, container)): Path<(String, String, String)>,
    RawQuery(query): RawQuery,
    upgrade: Upgrade,
) -> Result<Response, Refused> {
    let shim = running(&server, &namespace, &pod, &container)?;
    let wanted = Wanted::read(query.as_deref().unwrap_or_default());
    if wanted.command.is_empty() {
        return Err(Refused(
            StatusCode::BAD_REQUEST,
            "you must specify at least 1 command for the container".into(),
        ));
    }
    let spec = ExecSpec {
        stdin: wanted.stdin,
        stdout: wanted.stdout,
        stderr: wanted.stderr,
        tty: wanted.tty,
        // As containerd does: a client that went away does not end what it started.
        kill_on_disconnect: false,
        ..ExecSpec::new(&container, wanted.command)
    };
    let upgrade = websocket(upgrade)?;
    Ok(upgrade.on_upgrade(move |socket| async move {
        match shim.exec(spec).await {
            Ok(Exec {
                stdin,
                stdout,
                stderr,
                exit,
                ..
            }) => {
                let ended = async move {
                    match exit.wait().await {
                        Ok(code) => channels::exit_status(code),
                        Err(error) => channels::failure(&error.to_string()),
                    }
                };
                connect(socket, stdin, stdout, stderr, Some(ended)).await;
            }
            Err(error) => refuse(socket, &error.to_string()).await,
        }
    }))
}

pub(super) async fn attach(
    State(server): State<Arc<Server>>,
    Path((namespace, pod, container)): Path<(String, String, String)>,
    RawQuery(query): RawQuery,
    upgrade: Upgrade,
) -> Result<Response, Refused> {
    let shim = running(&server, &namespace, &pod, &container)?;
    let wanted = Wanted::read(query.as_deref().unwrap_or_default());
    let upgrade = websocket(upgrade)?;
    Ok(upgrade.on_upgrade(move |socket| async move {
        match shim
            .attach(&container, wanted.stdin, wanted.stdout, wanted.stderr)
            .await
        {
            Ok(Attached {
                stdin,
                stdout,
                stderr,
                ..
            }) => {
                connect(
                    socket,
                    stdin,
                    stdout,
                    stderr,
                    None::<std::future::Ready<Value>>,
                )
                .await;
            }
            Err(error) => refuse(socket, &error.to_string()).await,
        }
    }))
}

pub(super) async fn port_forward() -> Response {
    let text = "port-forward is not served by this node yet; reach the pod through the API server's proxy instead";
    (StatusCode::NOT_IMPLEMENTED, text).into_response()
}

async fn refuse(mut socket: WebSocket, message: &str) {
    let status = channels::failure(message).to_string();
    let _ = socket
        .send(Message::Binary(channels::message(
            channels::ERROR,
            status.as_bytes(),
        )))
        .await;
    let _ = socket.send(normal_close()).await;
}

type Output = Option<Box<dyn AsyncRead + Send + Unpin>>;

/// Carries bytes both ways until the outputs have ended, then says how the process did.
async fn connect<E>(
    socket: WebSocket,
    stdin: Option<ExecInput>,
    stdout: Output,
    stderr: Output,
    ended: Option<E>,
) where
    E: Future<Output = Value>,
{
    let (mut sink, stream) = socket.split();
    let (messages, mut waiting) = mpsc::channel::<Message>(16);
    let outputs = async {
        tokio::join!(
            pump(stdout, channels::STDOUT, messages.clone()),
            pump(stderr, channels::STDERR, messages.clone()),
        );
        let status = match ended {
            Some(ended) => ended.await,
            None => channels::exit_status(0),
        };
        let bytes = channels::message(channels::ERROR, status.to_string().as_bytes());
        let _ = messages.send(Message::Binary(bytes)).await;
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
        () = receive(stream, stdin) => {}
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
async fn receive(mut stream: SplitStream<WebSocket>, mut stdin: Option<ExecInput>) {
    let resizer = stdin
        .as_ref()
        .and_then(|stdin| stdin.resizer().ok().flatten());
    while let Some(Ok(message)) = stream.next().await {
        let bytes = match message {
            Message::Binary(bytes) => bytes,
            Message::Close(_) => return,
            _ => continue,
        };
        match channels::read(&bytes) {
            Incoming::Stdin(bytes) => {
                if let Some(input) = &mut stdin
                    && input.write_all(&bytes).await.is_err()
                {
                    // It reads no more; what it prints still counts.
                    stdin = None;
                }
            }
            Incoming::StdinClosed => stdin = None,
            Incoming::Resize { columns, rows } => {
                if let Some(terminal) = &resizer {
                    let _ = terminal.resize(columns, rows);
                }
            }
            Incoming::Other => {}
        }
    }
}

/// Clients take a close without a code for a broken connection.
fn normal_close() -> Message {
    Message::Close(Some(CloseFrame {
        code: close_code::NORMAL,
        reason: "".into(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_what_to_run_and_what_to_connect() {
        let wanted =
            Wanted::read("command=sh&command=-c&command=echo+%22a%26b%22&input=1&output=1&error=1");
        assert_eq!(wanted.command, ["sh", "-c", "echo \"a&b\""]);
        assert!(wanted.stdin && wanted.stdout && wanted.stderr && !wanted.tty);
    }

    #[test]
    fn a_terminal_has_one_output() {
        let wanted = Wanted::read("command=sh&output=1&error=1&tty=1");
        assert!(wanted.tty && wanted.stdout && !wanted.stderr);
    }
}
