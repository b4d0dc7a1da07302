//! Counters over a redb file.
#![cfg(all(feature = "write-behind", feature = "redb"))]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use documentbuffer::write_behind::redb::RedbSink;
use documentbuffer::write_behind::{Batch, Counters, Error, Options, Sink, SinkError};
use redb::{Database, ReadableDatabase, TableDefinition};

fn open(path: &Path, sink: impl Sink) -> Counters {
    let options = Options::new("views").journal(path).window(Duration::ZERO);
    options.period(Duration::ZERO).open(sink).expect("counters")
}

#[test]
fn totals_add_up_over_lives_of_both() {
    let dir = tempfile::tempdir().expect("a directory");
    let (file, owed) = (dir.path().join("views.redb"), dir.path().join("owed"));
    for life in 1..=3 {
        let sink = RedbSink::open(&file, "views").expect("a redb file");
        let counters = open(&owed, sink.clone());
        counters.increment("/index", 2).expect("increment");
        counters.increment("/news", -1).expect("increment");
        counters.sync().expect("sync");
        assert_eq!(sink.get("/index").expect("a total"), 2 * life);
        let totals = sink.totals().expect("totals");
        assert_eq!(
            totals,
            [("/index".to_owned(), 2 * life), ("/news".to_owned(), -life)]
        );
        assert_eq!(sink.get("never").expect("a total"), 0);
    }
}

#[test]
fn a_batch_whose_answer_was_lost_is_added_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let (file, owed) = (dir.path().join("views.redb"), dir.path().join("owed"));
    let sink = RedbSink::open(&file, "views").expect("a redb file");
    let mut below = sink.clone();
    let mute = move |batch: Batch| {
        below.apply(batch)?;
        Err(SinkError::new("the connection broke"))
    };
    let counters = open(&owed, mute);
    counters.increment("a", 7).expect("increment");
    for _ in 0..3 {
        counters.sync().expect_err("no answer");
    }
    drop(counters);
    let counters = open(&owed, sink.clone());
    counters.increment("a", 1).expect("increment");
    counters.sync().expect("sync");
    assert_eq!(sink.get("a").expect("a total"), 8);
}

#[test]
fn a_file_put_back_from_a_backup_and_a_deleted_journal_are_noticed() {
    let dir = tempfile::tempdir().expect("a directory");
    let (file, backup) = (dir.path().join("views.redb"), dir.path().join("backup"));
    let owed = dir.path().join("owed");
    let add = |times: i64| {
        let sink = RedbSink::open(&file, "views").expect("a redb file");
        let counters = open(&owed, sink.clone());
        counters.increment("a", times).expect("increment");
        let synced = counters.sync();
        (synced, sink.get("a").expect("a total"))
    };
    assert_eq!(add(1).1, 1);
    fs::copy(&file, &backup).expect("a copy");
    assert_eq!(add(10).1, 11);
    fs::copy(&backup, &file).expect("put back");
    let (synced, total) = add(100);
    assert!(matches!(synced, Err(Error::Forked(_))), "{synced:?}");
    assert_eq!(total, 1);
    fs::remove_dir_all(&owed).expect("removed");
    let (synced, total) = add(1000);
    assert!(matches!(synced, Err(Error::Forked(_))), "{synced:?}");
    assert_eq!(total, 1);
}

#[test]
fn counters_of_other_names_share_a_database() {
    let dir = tempfile::tempdir().expect("a directory");
    let database = Database::create(dir.path().join("all.redb")).expect("a database");
    let database = Arc::new(database);
    for name in ["views", "clicks"] {
        let sink = RedbSink::in_database(Arc::clone(&database), name).expect("a table");
        let counters = Options::new(name)
            .journal(dir.path().join(name))
            .open(sink.clone())
            .expect("counters");
        counters.increment("a", 1).expect("increment");
        counters.sync().expect("sync");
        assert_eq!(sink.get("a").expect("a total"), 1);
    }
}

#[test]
fn a_total_beyond_64_bits_is_parked_and_nothing_of_the_batch_is_added_before() {
    let dir = tempfile::tempdir().expect("a directory");
    let sink = RedbSink::open(dir.path().join("views.redb"), "views").expect("a redb file");
    let counters = open(&dir.path().join("owed"), sink.clone());
    counters.increment("full", i64::MAX).expect("increment");
    counters.sync().expect("sync");
    counters.increment("full", 1).expect("increment");
    counters.increment("other", 1).expect("increment");
    counters.sync().expect("sync");
    assert_eq!(sink.get("full").expect("a total"), i64::MAX);
    assert_eq!(sink.get("other").expect("a total"), 1);
    assert_eq!(counters.parked()["full"].delta, 1);
}

#[test]
fn what_is_no_redb_file_of_ours_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let text = dir.path().join("text");
    fs::write(&text, "not a database at all, and long enough to be one").expect("a file");
    RedbSink::open(&text, "views").expect_err("no database");
    let kept = fs::read_to_string(&text).expect("a file");
    assert_eq!(kept, "not a database at all, and long enough to be one");

    let foreign = dir.path().join("foreign.redb");
    const VIEWS: TableDefinition<'_, u64, &str> = TableDefinition::new("views");
    let database = Database::create(&foreign).expect("a database");
    let writes = database.begin_write().expect("a transaction");
    let mut table = writes.open_table(VIEWS).expect("a table");
    table.insert(1, "somebody's").expect("a row");
    drop(table);
    writes.commit().expect("a commit");
    drop(database);
    let refused = RedbSink::open(&foreign, "views").expect_err("a table of other types");
    assert!(refused.to_string().contains("views"), "{refused}");
    let database = Database::create(&foreign).expect("a database");
    let reads = database.begin_read().expect("a transaction");
    let table = reads.open_table(VIEWS).expect("a table");
    let row = table
        .get(1)
        .expect("a row")
        .map(|row| row.value().to_owned());
    assert_eq!(row.as_deref(), Some("somebody's"));
}
