//! The log of a component is the log of its pod: what is traced inside its task goes to the pod's log file, in the
//! format that containers' logs have, and nowhere else.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use objects::chain;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

tokio::task_local! {
    static SINK: Arc<LogSink>;
}

/// The log file of one run of a component.
#[derive(Debug)]
pub struct LogSink {
    path: PathBuf,
    file: Mutex<File>,
}

/// A log is started anew when it is longer than this; one older part is kept.
const LONGEST_BYTES: u64 = 10 << 20;

impl LogSink {
    /// Opens a log for appending.
    pub fn open(path: &Path) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(parent)?;
        }
        Ok(Self {
            path: path.to_owned(),
            file: Mutex::new(open(path)?),
        })
    }

    /// Writes one line.
    pub fn line(&self, text: &str) {
        let mut lines = String::new();
        let now = Timestamp::now()
            .strftime("%Y-%m-%dT%H:%M:%S%.9fZ")
            .to_string();
        for line in text.lines() {
            let _ = writeln!(lines, "{now} stderr F {line}");
        }
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if file
            .metadata()
            .is_ok_and(|metadata| metadata.len() > LONGEST_BYTES)
        {
            let mut old = self.path.clone().into_os_string();
            old.push(".1");
            if std::fs::rename(&self.path, old).is_ok()
                && let Ok(next) = open(&self.path)
            {
                *file = next;
            }
        }
        // A full disk must not end the component that would tell about it.
        let _ = file.write_all(lines.as_bytes());
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
}

/// Runs a future with its log going to `sink`.
pub fn scoped<F: Future>(sink: Arc<LogSink>, future: F) -> impl Future<Output = F::Output> {
    SINK.scope(sink, future)
}

/// Whether the caller runs inside a component. The process's own log leaves those lines to the pods'.
pub fn is_in_pod() -> bool {
    SINK.try_with(|_| ()).is_ok()
}

/// The current component's log, to be handed on to tasks it spawns.
pub(super) fn current() -> Option<Arc<LogSink>> {
    SINK.try_with(Arc::clone).ok()
}

/// Sends what components trace to their pods' logs.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogLayer;

impl<S: Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let _ = SINK.try_with(|sink| {
            let metadata = event.metadata();
            let mut line = format!("{:>5} {}:", metadata.level(), metadata.target());
            event.record(&mut Fields(&mut line));
            sink.line(&line);
        });
    }
}

/// The message first, then `field=value`.
struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            let _ = write!(self.0, " {value}");
        } else {
            let _ = write!(self.0, " {}={value:?}", field.name());
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let _ = write!(self.0, " {}=\"{}\"", field.name(), chain(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.0, " {value:?}");
        } else {
            let _ = write!(self.0, " {}={value:?}", field.name());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::prelude::*;

    #[tokio::test]
    async fn what_a_component_traces_is_in_its_own_log_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let subscriber = tracing_subscriber::registry().with(LogLayer);
        let _guard = tracing::subscriber::set_default(subscriber);
        let sink = |name: &str| Arc::new(LogSink::open(&folder.path().join(name)).expect("a log"));
        let say = |text: &'static str| async move { tracing::info!(pod = text, "hello") };
        tokio::join!(
            scoped(sink("a/0.log"), say("one")),
            scoped(sink("b/0.log"), say("two"))
        );
        tracing::info!("outside");
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("a log");
        assert!(
            read("a/0.log")
                .ends_with("stderr F  INFO node::builtin::logging::tests: hello pod=\"one\"\n")
        );
        assert!(read("b/0.log").contains("two") && !read("b/0.log").contains("one"));
    }
}
