//! Entries in a redb file: many writers, one transaction.

mod failure;
mod format;
mod queue;
mod table;

use std::path::Path;
use std::sync::Arc;

use ::redb::Database;
use bytes::Bytes;
use tokio::runtime::Handle;

use super::{Applied, Capabilities, Entry, Error, Key, Kind, Op, Page, Result, Tier, When};
use crate::clock::{Clock, SystemClock};
use crate::durability::Durability;
use failure::failed;
use queue::{Job, Queue};
use table::{Table, look_at, sync_directory};

/// The name of the tier, where none is given.
const NAME: &str = "redb";
/// The name of the table, where none is given.
pub const TABLE: &str = "documentbuffer.tier";

/// Entries in a table of a [redb] database.
///
/// Writes that wait for the medium at the same time share a transaction, and so a sync; each of them is made,
/// in the order in which they came, on the condition that it asked for, or not at all. Conditions hold against
/// all other users of the database too. A write whose future is dropped once it is queued is made all the same.
///
/// When a write returns, the medium has it ([`Durability::Synced`]). It takes all conditions and
/// merges, lists its keys in their order, and remembers no removals. Entries that are over stay in the file until
/// they are overwritten or removed.
///
/// # Examples
///
/// ```
/// use documentbuffer::tier::{Tier, TierExt};
/// use documentbuffer::tier::redb::Redb;
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("cache.redb");
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// # runtime.block_on(async {
/// let tier = Redb::open(&path)?;
/// tier.put("score", "7").await?;
/// tier.close().await?;
/// drop(tier);
///
/// let tier = Redb::open(&path)?; // Another day.
/// assert_eq!(tier.value("score").await?.as_deref(), Some(&b"7"[..]));
/// # Ok::<(), documentbuffer::tier::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Redb {
    table: Arc<Table>,
    queue: Queue,
    handle: Handle,
}

impl Redb {
    /// Opens the table [`TABLE`] in the redb file at `path`; both are made if need be. On return they are
    /// durable. The name of the tier is `redb`.
    ///
    /// # Errors
    ///
    /// [`Kind::Permanent`], and the file is as it was: outside a tokio runtime; for a file that is not of redb,
    /// or holds tables of another program and not this one, or this one with other types.
    /// [`Kind::Transient`] where another process has it open.
    pub fn open(path: impl AsRef<Path>) -> Result<Redb> {
        let path = path.as_ref();
        look_at(path)?;
        let database = Database::create(path);
        let what = || format!("cannot open {}", path.display());
        let database = database.map_err(|error| failed(NAME, error, &what()))?;
        if let Some(parent) = path.parent() {
            sync_directory(parent)?;
        }
        Redb::of(Arc::new(database), TABLE)
    }

    /// The table of that name in a database that others may use too; it is made if need be.
    ///
    /// # Errors
    ///
    /// [`Kind::Permanent`] outside a tokio runtime, and for a table of that name with other types; then
    /// nothing was changed. What the database fails with.
    pub fn of(database: Arc<Database>, table: impl Into<String>) -> Result<Redb> {
        let name = String::from(NAME);
        let handle = Handle::try_current().map_err(|error| {
            let why = "it must be opened inside a tokio runtime, on whose threads it reads";
            Error::new(Kind::Permanent, &name, why).source(error)
        })?;
        let table = Table {
            name,
            table: table.into(),
            database,
            clock: Arc::new(SystemClock::new()),
        };
        table.make()?;
        Ok(Redb {
            table: Arc::new(table),
            queue: Queue::default(),
            handle,
        })
    }

    /// With that name, for messages and metrics. To be called right after opening.
    #[must_use]
    pub fn with_name(self, name: impl Into<String>) -> Redb {
        let name = name.into();
        self.with(|table| table.name = name)
    }

    /// With that clock, by which entries are over. To be called right after opening.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Redb {
        self.with(|table| table.clock = clock)
    }

    fn with(self, change: impl FnOnce(&mut Table)) -> Redb {
        let mut table = Table {
            name: self.table.name.clone(),
            table: self.table.table.clone(),
            database: Arc::clone(&self.table.database),
            clock: Arc::clone(&self.table.clock),
        };
        change(&mut table);
        let table = Arc::new(table);
        Redb { table, ..self }
    }

    async fn blocking<R: Send + 'static>(
        &self,
        call: impl FnOnce(&Table) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let table = Arc::clone(&self.table);
        let task = self.handle.spawn_blocking(move || call(&table));
        task.await.unwrap_or_else(|error| {
            let (kind, why) = match error.is_cancelled() {
                true => (Kind::Closed, queue::ENDED),
                false => (Kind::Permanent, "it panicked"),
            };
            Err(Error::new(kind, &self.table.name, why).source(error))
        })
    }
}

impl Tier for Redb {
    fn name(&self) -> &str {
        &self.table.name
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            conditions: true,
            merge: true,
            scan: true,
            ..Capabilities::new(Durability::Synced)
        }
    }

    async fn get(&self, key: Key<'_>) -> Result<Option<Entry>> {
        let key = key.as_str().to_owned();
        self.blocking(move |table| table.get(&key)).await
    }

    async fn write(&self, key: Key<'_>, op: Op, when: When) -> Result<Applied> {
        let key = key.as_str().to_owned();
        let table = Arc::clone(&self.table);
        let apply = move |jobs: &[Job]| table.apply(jobs);
        self.queue
            .write(&self.handle, &self.table.name, (key, op, when), apply)
            .await
    }

    /// In the order of the keys.
    async fn scan(&self, from: Option<&Bytes>, limit: usize) -> Result<Page> {
        let from = from.cloned();
        self.blocking(move |table| table.scan(from, limit)).await
    }

    /// Waits for the writes on their way, also those whose futures were dropped.
    async fn close(&self) -> Result<()> {
        self.queue.wait().await;
        Ok(())
    }
}
