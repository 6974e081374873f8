//! What the replicas of one database tell each other, with the transaction that makes it true: PostgreSQL delivers it to
//! every listener once that is committed, and not at all where it is rolled back. With a file there is nobody to tell.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio_postgres::AsyncMessage;

use super::Result;
use super::db::{Tx, given};
use super::postgresql::{Connector, Server};

/// The name that all of them listen to.
const CHANNEL: &str = "ferroflow_pipelines";
/// How long after a broken connection a new one is tried.
const RETRY: Duration = Duration::from_secs(1);

/// A transaction that notes more than this is told as one gap.
const MANY: usize = 100;
/// The word for it.
const GAP: &str = "gap";

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Notice {
    /// A run, or what hangs on it, changed or is gone.
    Run(String),
    /// Something is asked of the replica that drives the runs.
    Asked,
    /// A request was answered.
    Answered(String),
}

/// What a listener learns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Another replica's notice.
    Notice(Notice),
    /// Anything may have happened unheard.
    Gap,
}

impl Notice {
    fn words(&self) -> String {
        match self {
            Self::Run(id) => format!("run {id}"),
            Self::Asked => "asked".to_owned(),
            Self::Answered(id) => format!("answered {id}"),
        }
    }

    fn read(words: &str) -> Option<Self> {
        match words.split_once(' ') {
            Some(("run", id)) => Some(Self::Run(id.to_owned())),
            Some(("answered", id)) => Some(Self::Answered(id.to_owned())),
            None if words == "asked" => Some(Self::Asked),
            _ => None,
        }
    }
}

/// Tells what a transaction noted, in the name of `origin`.
pub(super) fn send(tx: &Tx<'_>, origin: &str) -> Result<()> {
    let noted = tx.noted();
    let words: Vec<String> = if noted.len() > MANY {
        vec![GAP.to_owned()]
    } else {
        noted.iter().map(Notice::words).collect()
    };
    for words in words {
        tx.first(
            "SELECT COALESCE(pg_notify(?1, ?2)::text, '')",
            given![CHANNEL, format!("{origin} {words}")],
            |_| Ok(()),
        )?;
    }
    Ok(())
}

/// Everything that others tell from now on, heard by a task of the calling runtime. It begins with a gap.
pub(super) fn listen(server: &Server) -> UnboundedReceiver<Heard> {
    let (told, heard) = mpsc::unbounded_channel();
    let (connector, origin) = (server.connector(), server.origin().to_owned());
    tokio::spawn(async move {
        while !told.is_closed() {
            if let Err(problem) = connection(&connector, &origin, &told).await {
                tracing::warn!(error = %objects::chain(&problem), "notices of other replicas cannot be heard right now");
            }
            tokio::time::sleep(RETRY).await;
        }
    });
    heard
}

/// Listens until the connection breaks.
async fn connection(
    connector: &Connector,
    origin: &str,
    told: &UnboundedSender<Heard>,
) -> Result<()> {
    let (client, mut connection) = connector.connect().await?;
    let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
    let subscribe = format!("LISTEN {CHANNEL}");
    let mut subscribed = std::pin::pin!(client.batch_execute(&subscribe));
    let mut is_subscribed = false;
    loop {
        tokio::select! {
            done = &mut subscribed, if !is_subscribed => {
                done?;
                is_subscribed = true;
                let _ = told.send(Heard::Gap);
            }
            message = messages.next() => match message {
                Some(Ok(AsyncMessage::Notification(notification))) => {
                    let (from, words) = notification.payload().split_once(' ').unwrap_or_default();
                    if from != origin {
                        let _ = told.send(Notice::read(words).map_or(Heard::Gap, Heard::Notice));
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(problem)) => return Err(problem.into()),
                None => return Ok(()),
            },
            () = told.closed() => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_read_as_it_was_written() {
        for notice in [
            Notice::Run("r".into()),
            Notice::Asked,
            Notice::Answered("a".into()),
        ] {
            assert_eq!(Notice::read(&notice.words()), Some(notice));
        }
        assert_eq!(Notice::read(GAP), None);
        assert_eq!(Notice::read("from a newer version"), None);
    }
}
