//! What is being started and how far it is: written by the server, shown by `up` in the foreground,
//! and sent over the control socket to an `up --detach`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// How far one part is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum State {
    /// Not begun.
    Waiting,
    /// Begun; `doing` says what is awaited.
    Starting {
        /// What is awaited, in words.
        doing: String,
    },
    /// Something is wrong; it is still tried.
    Troubled {
        /// What is wrong, in words.
        cause: String,
    },
    /// Ready.
    Ready {
        /// Milliseconds since the start.
        after_ms: u64,
        /// Where it answers, or what it found.
        note: String,
    },
    /// Cannot become ready by itself.
    Failed {
        /// The cause and the remedy.
        cause: String,
    },
}

/// One part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its name, as shown.
    pub name: String,
    /// How far it is.
    #[serde(flatten)]
    pub state: State,
}

/// All parts, in the order of start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The parts.
    pub parts: Vec<Part>,
    /// Set when nothing is left to wait for.
    pub done: bool,
}

/// The writing side.
#[derive(Clone)]
pub struct Board {
    report: Arc<watch::Sender<Report>>,
    started: std::time::Instant,
}

impl Board {
    /// A board with these parts, all waiting.
    pub fn new(parts: &[&str]) -> Self {
        let parts = parts
            .iter()
            .map(|name| Part {
                name: (*name).to_owned(),
                state: State::Waiting,
            })
            .collect();
        Self {
            report: Arc::new(watch::Sender::new(Report { parts, done: false })),
            started: std::time::Instant::now(),
        }
    }

    /// A reader that sees every later state.
    pub fn subscribe(&self) -> watch::Receiver<Report> {
        self.report.subscribe()
    }

    /// `name` has begun.
    pub fn starting(&self, name: &str, doing: impl Into<String>) {
        self.set(
            name,
            State::Starting {
                doing: doing.into(),
            },
        );
    }

    /// `name` has trouble and is still tried.
    pub fn troubled(&self, name: &str, cause: impl Into<String>) {
        self.set(
            name,
            State::Troubled {
                cause: cause.into(),
            },
        );
    }

    /// `name` is ready.
    pub fn ready(&self, name: &str, note: impl Into<String>) {
        let after_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.set(
            name,
            State::Ready {
                after_ms,
                note: note.into(),
            },
        );
    }

    /// `name` failed.
    pub fn failed(&self, name: &str, cause: impl Into<String>) {
        self.set(
            name,
            State::Failed {
                cause: cause.into(),
            },
        );
    }

    /// Nothing is left to wait for.
    pub fn finish(&self) {
        self.report.send_modify(|report| report.done = true);
    }

    fn set(&self, name: &str, state: State) {
        self.report.send_if_modified(|report| {
            match report.parts.iter_mut().find(|part| part.name == name) {
                Some(part) if part.state == state => false,
                Some(part) => {
                    part.state = state;
                    true
                }
                None => {
                    report.parts.push(Part {
                        name: name.to_owned(),
                        state,
                    });
                    true
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_sees_the_last_state_of_every_part() {
        let board = Board::new(&["API server", "node"]);
        let reader = board.subscribe();
        board.starting("node", "probing namespaces");
        board.ready("API server", "https://127.0.0.1:7443");
        board.finish();
        let report = reader.borrow().clone();
        assert!(report.done);
        assert!(matches!(report.parts[0].state, State::Ready { .. }));
        assert_eq!(
            report.parts[1].state,
            State::Starting {
                doing: "probing namespaces".into()
            }
        );
    }

    #[test]
    fn a_report_survives_the_wire() {
        let board = Board::new(&["node"]);
        board.failed("node", "user namespaces are refused; run: sudo kfctl setup");
        let report = board.subscribe().borrow().clone();
        let text = serde_json::to_string(&report).expect("it is plain data");
        assert_eq!(
            serde_json::from_str::<Report>(&text).expect("the same data"),
            report
        );
    }
}
