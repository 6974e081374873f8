//! What pipelines and their versions have in common: a display name that may change, and tags beside their row.

use std::collections::BTreeMap;

use super::Result;
use super::db::{Db, Given, Row, Tx, given};
use super::list::{self, Condition, Page, Request};
use crate::catalog::{PipelineRecord, VersionRecord};

/// Tags by key.
pub type Tags = BTreeMap<String, String>;

/// A record that carries tags.
pub trait Tagged: Sized {
    /// Whose tags they are.
    fn id(&self) -> &str;
    /// Where they go.
    fn tags_mut(&mut self) -> &mut Tags;
}

impl Tagged for PipelineRecord {
    fn id(&self) -> &str {
        &self.id
    }

    fn tags_mut(&mut self) -> &mut Tags {
        &mut self.tags
    }
}

impl Tagged for VersionRecord {
    fn id(&self) -> &str {
        &self.id
    }

    fn tags_mut(&mut self) -> &mut Tags {
        &mut self.tags
    }
}

/// How rows of one table become records.
pub struct Table<T> {
    /// The table, its keys and filters.
    pub kind: list::Kind,
    /// What the table is called in messages.
    pub title: &'static str,
    /// The columns that `read` reads.
    pub columns: &'static str,
    /// A record without its tags.
    pub read: fn(&Row<'_>) -> Result<T>,
}

impl<T: Tagged> Table<T> {
    /// The first record that meets `clause` (all that follows `FROM table`), or that `what` is not found.
    pub fn one(&self, db: &Db<'_>, clause: &str, given: &[Given<'_>], what: &str) -> Result<T> {
        let sql = format!("SELECT {} FROM {} {clause}", self.columns, self.kind.table);
        with_tags(db, db.one(self.title, what, &sql, given, self.read)?)
    }

    /// One record by its id.
    pub fn get(&self, db: &Db<'_>, id: &str) -> Result<T> {
        self.one(db, "WHERE id = ?1", given![id], id)
    }

    /// One page.
    pub fn page(&self, db: &Db<'_>, scope: Condition, request: &Request) -> Result<Page<T>> {
        let page = list::page(
            db,
            &self.kind,
            self.columns,
            scope,
            request,
            |_, _| Ok(None),
            self.read,
        )?;
        let items = page
            .items
            .into_iter()
            .map(|record| with_tags(db, record))
            .collect::<Result<_>>()?;
        Ok(Page {
            items,
            total: page.total,
            next_page_token: page.next_page_token,
        })
    }

    /// Changes what may be changed; what is not given stays.
    pub fn update(
        &self,
        tx: &Tx<'_>,
        id: &str,
        display_name: Option<&str>,
        tags: Option<&Tags>,
    ) -> Result<()> {
        self.get(tx, id)?;
        if let Some(display_name) = display_name {
            tx.execute(
                &format!(
                    "UPDATE {} SET display_name = ?2 WHERE id = ?1",
                    self.kind.table
                ),
                given![id, display_name],
            )?;
        }
        tags.map_or(Ok(()), |tags| set_tags(tx, id, tags))
    }
}

/// Replaces all tags of a record.
pub fn set_tags(tx: &Tx<'_>, owner: &str, tags: &Tags) -> Result<()> {
    tx.execute("DELETE FROM tag WHERE owner_id = ?1", given![owner])?;
    for (key, value) in tags {
        tx.execute(
            "INSERT INTO tag (owner_id, tag_key, tag_value) VALUES (?1, ?2, ?3)",
            given![owner, key, value],
        )?;
    }
    Ok(())
}

fn with_tags<T: Tagged>(db: &Db<'_>, mut record: T) -> Result<T> {
    let tags = db.all(
        "SELECT tag_key, tag_value FROM tag WHERE owner_id = ?1",
        given![record.id()],
        |row| Ok((row.text(0)?, row.text(1)?)),
    )?;
    *record.tags_mut() = tags.into_iter().collect();
    Ok(record)
}
