//! What replicas that do not drive the runs ask of the one that does: a row each, which the answer is written into. Who
//! asked takes the row away; what nobody waits for any more is taken away after a while.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::db::{Db, Tx, given};
use super::notices::Notice;
use super::{Error, Result, from_json, micros, to_json};

/// How long an answer may lie there.
const FORGOTTEN: Duration = Duration::from_secs(3600);

/// What is to be done with a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Stop it.
    Terminate,
    /// Take it up again.
    Retry,
    /// Remove it.
    Delete,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its id.
    pub id: String,
    /// The run.
    pub run_id: String,
    /// What is asked.
    pub verb: Verb,
}

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// Done.
    Done,
    /// There is no such run.
    Absent,
    /// It cannot be done, in words.
    Refused(String),
}

impl Answer {
    /// What to say of a refusal.
    pub fn refusal(refusal: &Error) -> Self {
        match refusal {
            Error::NotFound { .. } => Self::Absent,
            other => Self::Refused(other.to_string()),
        }
    }

    /// The result again.
    pub fn result(self, run_id: &str) -> Result<()> {
        match self {
            Self::Done => Ok(()),
            Self::Absent => Err(Error::NotFound {
                kind: "run",
                id: run_id.to_owned(),
            }),
            Self::Refused(words) => Err(Error::Precondition(words)),
        }
    }
}

/// Asks.
pub fn ask(tx: &Tx<'_>, request: &Request, now: Timestamp) -> Result<()> {
    tx.execute(
        "INSERT INTO request (id, run_id, verb, created_at, answer) VALUES (?1, ?2, ?3, ?4, '')",
        given![
            &request.id,
            &request.run_id,
            to_json("request", &request.verb)?,
            micros(now)
        ],
    )?;
    tx.note(Notice::Asked);
    Ok(())
}

/// What is not answered yet, in the order it was asked.
pub fn open(db: &Db<'_>) -> Result<Vec<Request>> {
    db.all(
        "SELECT id, run_id, verb FROM request WHERE answer = '' ORDER BY created_at, id",
        given![],
        |row| {
            Ok(Request {
                id: row.text(0)?,
                run_id: row.text(1)?,
                verb: from_json("request", &row.text(2)?)?,
            })
        },
    )
}

/// Answers one, and takes away what was forgotten.
pub fn answer(tx: &Tx<'_>, id: &str, answer: &Answer, now: Timestamp) -> Result<()> {
    tx.execute(
        "UPDATE request SET answer = ?2 WHERE id = ?1",
        given![id, to_json("answer", answer)?],
    )?;
    let oldest = micros(now) - i64::try_from(FORGOTTEN.as_micros()).unwrap_or_default();
    tx.execute("DELETE FROM request WHERE created_at < ?1", given![oldest])?;
    tx.note(Notice::Answered(id.to_owned()));
    Ok(())
}

/// Whether there is an answer.
pub fn is_answered(db: &Db<'_>, id: &str) -> Result<bool> {
    Ok(db.number(
        "SELECT COUNT(*) FROM request WHERE id = ?1 AND answer <> ''",
        given![id],
    )? > 0)
}

/// Takes the row away, with its answer where there is one.
pub fn take(tx: &Tx<'_>, id: &str) -> Result<Option<Answer>> {
    let answer = tx.first(
        "SELECT answer FROM request WHERE id = ?1",
        given![id],
        |row| row.text(0),
    )?;
    tx.execute("DELETE FROM request WHERE id = ?1", given![id])?;
    answer
        .filter(|answer| !answer.is_empty())
        .map(|answer| from_json("answer", &answer))
        .transpose()
}
