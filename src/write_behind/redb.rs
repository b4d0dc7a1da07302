//! A sink in a redb file, which applies a batch once.

use std::path::Path;
use std::sync::Arc;

use ::redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition, TableError};

use super::batch::{Batch, Stamp, Verdict};
use super::sink::{Sink, SinkError};

/// Which batch was applied last, for each name of counters: writer, number, nonce.
const STAMPS: TableDefinition<'_, &str, (u128, u64, u64)> =
    TableDefinition::new("documentbuffer.batches");

/// Totals in a table of a redb database: text keys, `i64` values.
///
/// Deltas and the batch's stamp go into one transaction, which is durable when it is committed: each batch
/// counts once. A total that would leave 64 bits is refused, and its key parked. Other tables of the database
/// are left alone, and other transactions may write the same table. Cheap to clone.
///
/// # Examples
///
/// ```
/// use documentbuffer::write_behind::{Options, redb::RedbSink};
/// # let dir = tempfile::tempdir().expect("a directory");
/// # let (file, owed) = (dir.path().join("views.redb"), dir.path().join("owed"));
///
/// let sink = RedbSink::open(&file, "views")?;
/// let views = Options::new("page views").journal(&owed).open(sink.clone())?;
/// views.increment("/index", 3)?;
/// views.sync()?;
/// assert_eq!(sink.get("/index")?, 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct RedbSink {
    database: Arc<Database>,
    table: Arc<str>,
}

impl std::fmt::Debug for RedbSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedbSink")
            .field("table", &self.table)
            .finish_non_exhaustive()
    }
}

impl RedbSink {
    /// The table of that name in the redb file at `path`; both are made if they are not there.
    ///
    /// # Errors
    ///
    /// What redb says: no redb file, one that is open already, or a table of other types. Nothing of it was
    /// changed.
    pub fn open(path: impl AsRef<Path>, table: &str) -> Result<RedbSink, ::redb::Error> {
        RedbSink::in_database(Arc::new(Database::create(path)?), table)
    }

    /// Likewise, in a database that is open.
    ///
    /// # Errors
    ///
    /// As [`open`](RedbSink::open).
    pub fn in_database(database: Arc<Database>, table: &str) -> Result<RedbSink, ::redb::Error> {
        let sink = RedbSink {
            database,
            table: table.into(),
        };
        // A table of other types is told here, and not at the first batch.
        let reads = sink.database.begin_read()?;
        for told in [
            reads.open_table(sink.totals_table()).err(),
            reads.open_table(STAMPS).err(),
        ] {
            match told {
                None | Some(TableError::TableDoesNotExist(_)) => {}
                Some(error) => return Err(error.into()),
            }
        }
        Ok(sink)
    }

    fn totals_table(&self) -> TableDefinition<'_, &'static str, i64> {
        TableDefinition::new(&self.table)
    }

    /// The total under that key; 0 where there is none.
    ///
    /// # Errors
    ///
    /// What redb says.
    pub fn get(&self, key: &str) -> Result<i64, ::redb::Error> {
        let reads = self.database.begin_read()?;
        let table = match reads.open_table(self.totals_table()) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(0),
            table => table?,
        };
        Ok(table.get(key)?.map_or(0, |total| total.value()))
    }

    /// All totals, in order of their keys.
    ///
    /// # Errors
    ///
    /// What redb says.
    pub fn totals(&self) -> Result<Vec<(String, i64)>, ::redb::Error> {
        let reads = self.database.begin_read()?;
        let table = match reads.open_table(self.totals_table()) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            table => table?,
        };
        let mut totals = Vec::new();
        for row in table.iter()? {
            let (key, total) = row?;
            totals.push((key.value().to_owned(), total.value()));
        }
        Ok(totals)
    }

    /// Everything in one transaction, which is dropped, and so undone, wherever it is left early.
    fn add(&self, batch: &Batch) -> Result<Result<(), SinkError>, ::redb::Error> {
        let mut writes = self.database.begin_write()?;
        writes.set_durability(Durability::Immediate)?;
        let mut over = Vec::new();
        {
            let mut stamps = writes.open_table(STAMPS)?;
            let held = stamps.get(batch.name())?.map(|held| {
                let (writer, number, nonce) = held.value();
                Stamp {
                    writer,
                    number,
                    nonce,
                }
            });
            match batch.judge(held) {
                Verdict::Apply => {}
                Verdict::Duplicate => return Ok(Ok(())),
                Verdict::Forked(forked) => return Ok(Err(forked.into())),
            }
            let mut totals = writes.open_table(self.totals_table())?;
            for (key, delta) in batch.deltas() {
                let total = totals.get(key)?.map_or(0, |total| total.value());
                match total.checked_add(delta) {
                    Some(total) => drop(totals.insert(key, total)?),
                    None => over.push(key),
                }
            }
            if let Some(stamp) = batch.stamp() {
                let row = (stamp.writer, stamp.number, stamp.nonce);
                stamps.insert(batch.name(), row)?;
            }
        }
        if !over.is_empty() {
            writes.abort()?;
            return Ok(Err(SinkError::refused("the total is beyond 64 bits", over)));
        }
        writes.commit()?;
        Ok(Ok(()))
    }
}

impl Sink for RedbSink {
    fn apply(&mut self, batch: Batch) -> Result<(), SinkError> {
        match self.add(&batch) {
            Ok(added) => added,
            Err(error) => Err(SinkError::new(error.to_string()).source(error)),
        }
    }
}
