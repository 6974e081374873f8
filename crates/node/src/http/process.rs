//! A process that a client is connected to, whatever the client speaks.

use futures::future::BoxFuture;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWriteExt};

use super::channels;
use crate::shim::{self, Attached, Exec, ExecInput, ExecSpec, Terminal};

/// What a process prints on one of its streams.
pub(super) type Output = Option<Box<dyn AsyncRead + Send + Unpin>>;

/// A process and its streams.
pub(super) struct Process {
    pub input: Input,
    pub stdout: Output,
    pub stderr: Output,
    /// How it ended, as clients read it. To be asked after its outputs have ended.
    pub ended: BoxFuture<'static, Value>,
}

/// What a client sends to a process.
pub(super) struct Input {
    stdin: Option<ExecInput>,
    terminal: Option<Terminal>,
    /// What is to be done when the client has closed its end.
    on_close: Option<BoxFuture<'static, ()>>,
}

impl Input {
    fn new(stdin: Option<ExecInput>, on_close: Option<BoxFuture<'static, ()>>) -> Self {
        let terminal = stdin
            .as_ref()
            .and_then(|stdin| stdin.resizer().ok().flatten());
        Self {
            stdin,
            terminal,
            on_close,
        }
    }

    /// Bytes for the process.
    pub async fn write(&mut self, bytes: &[u8]) {
        if let Some(stdin) = &mut self.stdin
            && stdin.write_all(bytes).await.is_err()
        {
            // It reads no more; what it prints still counts.
            self.stdin = None;
        }
    }

    /// No more of them.
    pub async fn close(&mut self) {
        self.stdin = None;
        if let Some(on_close) = self.on_close.take() {
            on_close.await;
        }
    }

    /// The client's window has a new size.
    pub fn resize(&self, columns: u16, rows: u16) {
        if let Some(terminal) = &self.terminal {
            let _ = terminal.resize(columns, rows);
        }
    }
}

/// Runs a second process in a container; in words why it could not be.
pub(super) async fn exec(shim: shim::Pod, spec: ExecSpec) -> Result<Process, String> {
    let Exec {
        stdin,
        stdout,
        stderr,
        exit,
        ..
    } = shim.exec(spec).await.map_err(|error| error.to_string())?;
    let ended = Box::pin(async move {
        match exit.wait().await {
            Ok(code) => channels::exit_status(code),
            Err(error) => channels::failure(&error.to_string()),
        }
    });
    Ok(Process {
        input: Input::new(stdin, None),
        stdout,
        stderr,
        ended,
    })
}

/// What of a running container is wanted.
pub(super) struct Attach {
    pub container: String,
    /// Whether the container's stdin ends with its first client.
    pub is_stdin_once: bool,
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

/// Joins a running container's own streams.
pub(super) async fn attach(shim: shim::Pod, wanted: Attach) -> Result<Process, String> {
    let Attach {
        container,
        is_stdin_once,
        stdin,
        stdout,
        stderr,
    } = wanted;
    let mut attached: Attached = shim
        .attach(&container, stdin, stdout, stderr)
        .await
        .map_err(|error| error.to_string())?;
    let (stdin, stdout, stderr) = (
        attached.stdin.take(),
        attached.stdout.take(),
        attached.stderr.take(),
    );
    let closes = stdin.is_some() && is_stdin_once && !attached.tty;
    let close = async move {
        // A container that has ended has no stdin to close.
        let _ = shim.close_stdin(&container).await;
    };
    let on_close = closes.then(|| Box::pin(close) as BoxFuture<'static, ()>);
    let ended = Box::pin(async move {
        // Dropping it detaches, which must not happen before.
        drop(attached);
        channels::exit_status(0)
    });
    Ok(Process {
        input: Input::new(stdin, on_close),
        stdout,
        stderr,
        ended,
    })
}
