//! The WebSocket protocols of `exec` and `attach`: one stream per first byte of a message.

use axum::body::Bytes;
use serde_json::{Value, json};

/// The newest protocol, in which the client can close its stdin.
pub const V5: &str = "v5.channel.k8s.io";
/// The one before.
pub const V4: &str = "v4.channel.k8s.io";
/// The first, which says how a process ended in plain words, and nothing where it ended well.
pub const V1: &str = "channel.k8s.io";

/// Channel numbers.
pub const STDIN: u8 = 0;
/// What the process prints.
pub const STDOUT: u8 = 1;
/// What the process prints on its second stream.
pub const STDERR: u8 = 2;
/// How it ended.
pub const ERROR: u8 = 3;
/// The terminal's size.
pub const RESIZE: u8 = 4;
/// v5: the client closes a channel.
pub const CLOSE: u8 = 255;

/// What a client sends.
#[derive(Debug, PartialEq)]
pub enum Incoming {
    /// Bytes for the process.
    Stdin(Bytes),
    /// No more of them.
    StdinClosed,
    /// The terminal has a new size.
    Resize {
        /// Columns.
        columns: u16,
        /// Rows.
        rows: u16,
    },
    /// Nothing that means anything here.
    Other,
}

/// Reads one message of a client.
pub fn read(message: &Bytes) -> Incoming {
    match message.first() {
        Some(&STDIN) => Incoming::Stdin(message.slice(1..)),
        Some(&CLOSE) if message.get(1) == Some(&STDIN) => Incoming::StdinClosed,
        Some(&RESIZE) => {
            let size: Value = serde_json::from_slice(&message[1..]).unwrap_or_default();
            let number = |name: &str| {
                size[name]
                    .as_u64()
                    .and_then(|number| u16::try_from(number).ok())
            };
            match (number("Width"), number("Height")) {
                (Some(columns), Some(rows)) => Incoming::Resize { columns, rows },
                _ => Incoming::Other,
            }
        }
        _ => Incoming::Other,
    }
}

/// A message on a channel.
pub fn message(channel: u8, bytes: &[u8]) -> Bytes {
    let mut message = Vec::with_capacity(bytes.len() + 1);
    message.push(channel);
    message.extend_from_slice(bytes);
    message.into()
}

/// What is said of an end over `protocol`, if anything.
pub fn told(protocol: &str, status: &Value) -> Option<String> {
    match protocol {
        V1 if status["status"] == "Success" => None,
        V1 => Some(status["message"].as_str().unwrap_or_default().to_owned()),
        _ => Some(status.to_string()),
    }
}

/// How a process ended, as clients read it.
pub fn exit_status(exit_code: i32) -> Value {
    if exit_code == 0 {
        return json!({"metadata": {}, "status": "Success"});
    }
    json!({
        "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
        "message": format!("command terminated with non-zero exit code: exit status {exit_code}"),
        "details": {"causes": [{"reason": "ExitCode", "message": exit_code.to_string()}]},
    })
}

/// Why a process could not be run.
pub fn failure(message: &str) -> Value {
    json!({"metadata": {}, "status": "Failure", "reason": "InternalError", "message": message, "code": 500})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_says_what_a_message_is() {
        assert_eq!(
            read(&Bytes::from_static(b"\x00hi")),
            Incoming::Stdin(Bytes::from_static(b"hi"))
        );
        assert_eq!(
            read(&Bytes::from_static(b"\xff\x00")),
            Incoming::StdinClosed
        );
        assert_eq!(
            read(&Bytes::from_static(b"\x04{\"Width\":80,\"Height\":24}")),
            Incoming::Resize {
                columns: 80,
                rows: 24
            }
        );
        for noise in [&b""[..], b"\x07x", b"\x04no", b"\xff\x01"] {
            assert_eq!(read(&Bytes::copy_from_slice(noise)), Incoming::Other);
        }
    }

    #[test]
    fn the_first_protocol_tells_of_failures_alone_and_in_words() {
        assert_eq!(told(V1, &exit_status(0)), None);
        assert_eq!(
            told(V1, &exit_status(3)).as_deref(),
            Some("command terminated with non-zero exit code: exit status 3")
        );
        assert!(told(V4, &exit_status(0)).is_some());
    }

    #[test]
    fn an_exit_code_is_told_as_a_cause() {
        assert_eq!(exit_status(0)["status"], "Success");
        assert_eq!(exit_status(3)["details"]["causes"][0]["message"], "3");
    }
}
