//! The one read-modify-write loop: patch, status, scale, finalizers and deletion all go through it.

use std::sync::Arc;

use super::{Collection, Encoded, Entry, Error, Store};

/// What to do with the object that was read.
#[derive(Debug)]
pub enum Decision {
    /// Leave it as it is: no write, no new revision.
    Keep,
    /// Store this instead.
    Replace(Encoded),
    /// Store this, but only the returned entry of the last round matters when it is removed in the same step.
    Remove,
}

/// More rounds than this mean that somebody else writes without pause.
const ROUNDS: usize = 32;

impl Store {
    /// Runs `decide` on the stored object until its decision could be carried out on exactly what it saw.
    ///
    /// Answers the entry that is stored afterwards (for a removal, the last state).
    pub async fn update<E: From<Error>>(
        &self,
        collection: &Collection,
        key: &str,
        mut decide: impl FnMut(&Arc<Entry>) -> Result<Decision, E>,
    ) -> Result<Arc<Entry>, E> {
        for _ in 0..ROUNDS {
            let snapshot = self.snapshot();
            let Some(current) = snapshot.get(collection.id, key) else {
                return Err(Error::NotFound { key: key.into() }.into());
            };
            let written = match decide(current)? {
                Decision::Keep => return Ok(current.clone()),
                Decision::Replace(object) => {
                    self.replace(collection, key, current.revision, object)
                        .await
                }
                Decision::Remove => self.remove(collection, key, current.revision).await,
            };
            match written {
                Err(Error::Conflict { .. }) => continue,
                other => return other.map_err(E::from),
            }
        }
        Err(Error::Conflict { key: key.into() }.into())
    }
}
