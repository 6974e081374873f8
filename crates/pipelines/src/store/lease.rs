//! Who may drive the runs. Taking the lease raises its epoch; a write that carries an older one is refused, so an engine
//! that was thought dead can do no harm.

use super::db::{Tx, given};
use super::{Error, Result};

/// The right to drive runs, as of one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease(i64);

/// Takes the lease from whoever had it.
pub fn take(tx: &Tx<'_>, holder: &str) -> Result<Lease> {
    tx.execute(
        "INSERT INTO lease (name, epoch, holder) VALUES ('engine', 1, ?1) \
         ON CONFLICT (name) DO UPDATE SET epoch = lease.epoch + 1, holder = excluded.holder",
        given![holder],
    )?;
    Ok(Lease(current(tx)?))
}

/// Refuses the transaction when the lease was taken by another.
pub fn check(tx: &Tx<'_>, lease: Lease) -> Result<()> {
    let epoch = current(tx)?;
    if epoch == lease.0 {
        Ok(())
    } else {
        Err(Error::Fenced(epoch))
    }
}

fn current(tx: &Tx<'_>) -> Result<i64> {
    tx.number("SELECT epoch FROM lease WHERE name = 'engine'", given![])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::opened;

    #[test]
    fn an_engine_whose_lease_was_taken_can_write_no_more() {
        for (_place, store) in opened::both() {
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
}
