//! Who may drive the runs. Taking the lease raises its epoch; a write that carries an older one is refused, so an engine
//! that was thought dead can do no harm.

use rusqlite::{Transaction, params};

use super::{Error, Result};

/// The right to drive runs, as of one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease(i64);

/// Takes the lease from whoever had it.
pub fn take(tx: &Transaction<'_>, holder: &str) -> Result<Lease> {
    tx.execute(
        "INSERT INTO lease (name, epoch, holder) VALUES ('engine', 1, ?1) \
         ON CONFLICT (name) DO UPDATE SET epoch = lease.epoch + 1, holder = excluded.holder",
        params![holder],
    )?;
    Ok(Lease(current(tx)?))
}

/// Refuses the transaction when the lease was taken by another.
pub fn check(tx: &Transaction<'_>, lease: Lease) -> Result<()> {
    let epoch = current(tx)?;
    if epoch == lease.0 {
        Ok(())
    } else {
        Err(Error::Fenced(epoch))
    }
}

fn current(tx: &Transaction<'_>) -> Result<i64> {
    Ok(tx
        .prepare_cached("SELECT epoch FROM lease WHERE name = 'engine'")?
        .query_row([], |row| row.get(0))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[test]
    fn an_engine_whose_lease_was_taken_can_write_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("p.db")).unwrap();
        let first = store.write_now(|tx| take(tx, "first")).unwrap();
        store.write_now(|tx| check(tx, first)).unwrap();
        let second = store.write_now(|tx| take(tx, "second")).unwrap();
        assert!(matches!(
            store.write_now(|tx| check(tx, first)),
            Err(Error::Fenced(2))
        ));
        store.write_now(|tx| check(tx, second)).unwrap();
    }
}
