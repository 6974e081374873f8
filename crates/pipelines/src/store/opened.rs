//! Databases for the tests of this module: a test asks for both and holds for each.

use std::sync::Arc;

use super::{Database, Store, migrate, postgres, postgresql, sqlite};

/// Where a database is, which may be opened several times.
pub enum Place {
    /// A folder for a file.
    File(tempfile::TempDir),
    /// An address on the server of the tests.
    Server(String),
}

/// An empty file and an empty database on a server.
pub fn places() -> [Place; 2] {
    [
        Place::File(tempfile::tempdir().unwrap()),
        Place::Server(postgres::server().database()),
    ]
}

impl Place {
    /// The store there, brought to a schema.
    pub fn open(&self, schema: i64) -> super::Result<Arc<Store>> {
        Ok(Store::over(match self {
            Self::File(folder) => {
                Database::File(sqlite::File::open(&folder.path().join("p.db"), schema)?)
            }
            Self::Server(url) => Database::Server(Box::new(postgresql::Server::open(
                url.parse().unwrap(),
                schema,
            )?)),
        }))
    }
}

/// Both, empty and of the newest schema.
pub fn both() -> [(Place, Arc<Store>); 2] {
    places().map(|place| {
        let store = place.open(migrate::newest()).unwrap();
        (place, store)
    })
}
