//! The table, where calls may block.

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use ::redb::{
    Database, DatabaseError, MultimapTableHandle, ReadOnlyDatabase, ReadTransaction,
    ReadableDatabase, ReadableTable, StorageError, TableDefinition, TableError, TableHandle,
};
use bytes::Bytes;

use super::failure::failed;
use super::queue::Job;
use super::{NAME, TABLE, format};
use crate::clock::Clock;
use crate::tier::judge::{Held, Verdict, is_blind, judge};
use crate::tier::{Applied, Entry, Error, KeyBuf, Kind, Listed, Page, Result};

/// What the threads for blocking calls need.
pub(super) struct Table {
    pub(super) name: String,
    pub(super) table: String,
    pub(super) database: Arc<Database>,
    pub(super) clock: Arc<dyn Clock>,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = f.debug_struct("Table");
        table.field("name", &self.name).field("table", &self.table);
        table.finish_non_exhaustive()
    }
}

/// Whether the file at `path` may be opened for writing: nothing is there, or nothing in it, or our table.
pub(super) fn look_at(path: &Path) -> Result<()> {
    if fs::metadata(path).map_or(0, |metadata| metadata.len()) == 0 {
        return Ok(());
    }
    let what = format!("cannot open {}", path.display());
    let database = match ReadOnlyDatabase::open(path) {
        // Its last user died; what is in it will be seen once it is repaired.
        Err(DatabaseError::RepairAborted) => return Ok(()),
        opened => opened.map_err(|error| failed(NAME, error, &what))?,
    };
    let read = database.begin_read();
    let read = read.map_err(|error| failed(NAME, error, &what))?;
    let names = names(&read).map_err(|error| failed(NAME, error, &what))?;
    if names.iter().any(|name| name == TABLE) {
        let ours = read.open_table(definition(TABLE)).map(drop);
        return ours.map_err(|error| failed(NAME, error, &what));
    }
    if names.is_empty() {
        return Ok(());
    }
    let first = names.first().map(String::as_str).unwrap_or_default();
    let why = format!("{what}: it is of another program, with the table {first:?} and others");
    Err(Error::new(Kind::Permanent, NAME, why))
}

fn names(read: &ReadTransaction) -> std::result::Result<Vec<String>, StorageError> {
    let tables = read.list_tables()?.map(|table| table.name().to_owned());
    let mut names: Vec<String> = tables.collect();
    let more = read.list_multimap_tables()?;
    names.extend(more.map(|table| MultimapTableHandle::name(&table).to_owned()));
    Ok(names)
}

#[cfg(not(windows))]
pub(super) fn sync_directory(dir: &Path) -> Result<()> {
    let dir = match dir.as_os_str().is_empty() {
        true => Path::new("."),
        false => dir,
    };
    let synced = fs::File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|error| {
        let why = format!("cannot sync {}: {error}", dir.display());
        Error::new(Kind::Transient, NAME, why).source(error)
    })
}

/// That is left to the system there.
#[cfg(windows)]
pub(super) fn sync_directory(_: &Path) -> Result<()> {
    Ok(())
}

fn definition(table: &str) -> TableDefinition<'_, &'static str, &'static [u8]> {
    TableDefinition::new(table)
}

impl Table {
    fn definition(&self) -> TableDefinition<'_, &'static str, &'static [u8]> {
        definition(&self.table)
    }

    fn what(&self, what: &str) -> String {
        format!("cannot {what} the table {:?}", self.table)
    }

    /// Makes the table, unless it is there; nothing is written if it is, or cannot be.
    pub(super) fn make(&self) -> Result<()> {
        let what = self.what("open");
        {
            let read = self.database.begin_read();
            let read = read.map_err(|error| failed(&self.name, error, &what))?;
            match read.open_table(self.definition()) {
                Ok(_) => return Ok(()),
                Err(TableError::TableDoesNotExist(_)) => {}
                Err(error) => return Err(failed(&self.name, error, &what)),
            }
        }
        let write = self.database.begin_write();
        let write = write.map_err(|error| failed(&self.name, error, &what))?;
        let made = write.open_table(self.definition()).map(drop);
        made.map_err(|error| failed(&self.name, error, &what))?;
        let committed = write.commit();
        committed.map_err(|error| failed(&self.name, error, &what))
    }

    fn corrupt(&self, key: &str) -> Error {
        let table = &self.table;
        let why = format!(
            "what the table {table:?} holds under {key:?} is no entry of a tier; a put replaces it"
        );
        Error::new(Kind::Corrupt, &self.name, why)
    }

    fn read<R>(
        &self,
        read: impl FnOnce(&::redb::ReadOnlyTable<&'static str, &'static [u8]>) -> Result<R>,
    ) -> Result<R> {
        let what = self.what("read");
        let transaction = self.database.begin_read();
        let transaction = transaction.map_err(|error| failed(&self.name, error, &what))?;
        let table = transaction.open_table(self.definition());
        read(&table.map_err(|error| failed(&self.name, error, &what))?)
    }

    /// What is held under that key.
    fn held(
        &self,
        table: &impl ReadableTable<&'static str, &'static [u8]>,
        key: &str,
    ) -> Result<Option<Entry>> {
        let found = table.get(key);
        let found = found.map_err(|error| failed(&self.name, error, &self.what("read")))?;
        let Some(bytes) = found else {
            return Ok(None);
        };
        let entry = format::read(bytes.value());
        entry.map(Some).ok_or_else(|| self.corrupt(key))
    }

    pub(super) fn get(&self, key: &str) -> Result<Option<Entry>> {
        let held = self.read(|table| self.held(table, key))?;
        let now = || self.clock.wall_micros();
        Ok(held.filter(|entry| entry.expiry.is_none() || entry.is_live(now())))
    }

    /// All of them in one transaction, one after the other. An error of one alone stands in its place; one of
    /// the database is that of all, and if it is unknown, they may have been made.
    pub(super) fn apply(&self, jobs: &[Job]) -> Result<Vec<Result<Applied>>> {
        let what = self.what("write");
        let storage = |error: StorageError| failed(&self.name, error, &what);
        let mut write = self
            .database
            .begin_write()
            .map_err(|error| failed(&self.name, error, &what))?;
        // A transaction keeps what its creator says; this is what is promised.
        let immediate = write.set_durability(::redb::Durability::Immediate);
        immediate.map_err(|error| Error::new(Kind::Permanent, &self.name, error.to_string()))?;
        let mut given = Vec::with_capacity(jobs.len());
        let mut changed = false;
        {
            let table = write.open_table(self.definition());
            let mut table = table.map_err(|error| failed(&self.name, error, &what))?;
            for job in jobs {
                let verdict = self.verdict(&table, job);
                given.push(match verdict {
                    Ok(Verdict::Refuse(applied)) => Ok(applied),
                    Ok(Verdict::Put(entry)) => {
                        let bytes = format::bytes(&entry);
                        match table.insert(job.key.as_str(), &bytes[..]) {
                            Err(error @ StorageError::ValueTooLarge(_)) => Err(storage(error)),
                            put => {
                                put.map_err(storage)?;
                                changed = true;
                                Ok(Applied::Done)
                            }
                        }
                    }
                    Ok(Verdict::Remove(_)) => {
                        let removed = table.remove(job.key.as_str());
                        changed |= removed.map_err(storage)?.is_some();
                        Ok(Applied::Done)
                    }
                    Err(error) => Err(error),
                });
            }
        }
        let ended = match changed {
            true => write
                .commit()
                .map_err(|error| failed(&self.name, error, &what).unknown()),
            false => write.abort().map_err(storage),
        };
        ended.map(|()| given)
    }

    fn verdict(
        &self,
        table: &impl ReadableTable<&'static str, &'static [u8]>,
        job: &Job,
    ) -> Result<Verdict> {
        let held = match is_blind(&job.op, job.when) {
            true => None,
            false => self.held(table, &job.key)?.map(Held::Entry),
        };
        let now = || self.clock.wall_micros();
        judge(&self.name, held.as_ref(), job.op.clone(), job.when, now)
    }

    pub(super) fn scan(&self, from: Option<Bytes>, limit: usize) -> Result<Page> {
        let foreign = || {
            let why = "this is not where a page of this tier ended";
            Error::new(Kind::Permanent, &self.name, why)
        };
        let after = from.as_deref().map(std::str::from_utf8).transpose();
        let after = after.map_err(|_| foreign())?;
        let what = self.what("read");
        let storage = |error: StorageError| failed(&self.name, error, &what);
        let now = self.clock.wall_micros();
        self.read(|table| {
            use std::ops::Bound;
            let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
            let range = table.range::<&str>((begin, Bound::Unbounded));
            let mut listed = Vec::new();
            for found in range.map_err(storage)? {
                let (key, bytes) = found.map_err(storage)?;
                let key = key.value();
                // What is no entry, or over, is not listed.
                let entry = format::read_head(bytes.value());
                let Some((entry, len)) = entry.filter(|(entry, _)| entry.is_live(now)) else {
                    continue;
                };
                listed.push(Listed::new(KeyBuf::new(key)?, len, entry.version));
                if listed.len() >= limit.max(1) {
                    let next = Bytes::copy_from_slice(key.as_bytes());
                    return Ok(Page::new(listed, Some(next)));
                }
            }
            Ok(Page::new(listed, None))
        })
    }
}
