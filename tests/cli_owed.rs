//! `docbuf owed`: what is owed, of counters and of an edge of a chain.

#![cfg(feature = "cli")]

mod cli_support;

use std::time::Duration;

use cli_support::{Dir, open, run};
use documentbuffer::tier::{
    Applied, Capabilities, Entry, Error, Key, Kind, Op, Result, Tier, TierExt, When,
};
use documentbuffer::write_behind::behind;
use documentbuffer::write_behind::{Batch, MemorySink, Options, Sink, SinkError};

fn refusing(sink: &MemorySink) -> impl Sink {
    let mut below = sink.clone();
    move |batch: Batch| {
        if batch.deltas().any(|(key, _)| key == "bad \"key\"\n") {
            return Err(SinkError::refused("no such column", ["bad \"key\"\n"]));
        }
        if batch.deltas().any(|(key, _)| key == "stuck") {
            return Err(SinkError::new("not there"));
        }
        below.apply(batch)
    }
}

#[test]
fn sums_are_listed_where_they_stand() {
    let dir = Dir::new();
    let path = dir.path("owed");
    let options = Options::new("page views").journal(&path);
    let options = options.window(Duration::ZERO).period(Duration::ZERO);
    let counters = options
        .open(refusing(&MemorySink::default()))
        .expect("opens");
    run(["owed", &path]).ok().silent();
    counters.increment("settled", 1).expect("adds");
    counters.sync().expect("delivers");
    counters.increment("bad \"key\"\n", 7).expect("adds");
    counters.increment("stuck", -2).expect("adds");
    counters.sync().expect_err("fails");
    for _ in 0..2 {
        counters.increment("huge", i64::MAX).expect("adds");
    }
    counters.persist().expect("journals");

    let table = run(["owed", &path]).ok().silent();
    for line in [
        "counters   page views\n",
        "settled    batch 1\n",
        "frozen     batch 2\n",
        "                  -2  frozen   stuck\n",
        "18446744073709551614  pending  huge\n",
        "                   7  parked   bad \\\"key\\\"\\n  (no such column",
    ] {
        assert!(table.text().contains(line), "{line:?} in {}", table.text());
    }
    let lines = run(["owed", "--json", &path]).ok().silent().json();
    assert_eq!(lines.len(), 3);
    assert_eq!(
        (&lines[0]["sum"], &lines[0]["state"]),
        (&(-2).into(), &"frozen".into())
    );
    assert_eq!(lines[1]["sum"], "18446744073709551614");
    assert_eq!(lines[2]["key"], "bad \"key\"\n");
    assert!(
        lines[2]["reason"]
            .as_str()
            .expect("a reason")
            .contains("column")
    );
}

/// It takes nothing that is called `bad`, and never answers for the rest.
struct Deaf;

impl Tier for Deaf {
    fn name(&self) -> &str {
        "deaf"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new(documentbuffer::durability::Durability::Synced)
    }

    async fn get(&self, _: Key<'_>) -> Result<Option<Entry>> {
        Ok(None)
    }

    async fn write(&self, key: Key<'_>, _: Op, _: When) -> Result<Applied> {
        if key.as_str() == "bad" {
            return Err(Error::new(Kind::Permanent, "deaf", "never"));
        }
        std::future::pending().await
    }
}

#[test]
fn writes_are_listed_where_they_stand() {
    let dir = Dir::new();
    let path = dir.path("edge");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime.expect("a runtime").block_on(async {
        let owed = behind::Options::new()
            .journal(&path)
            .open(Deaf)
            .await
            .expect("opens");
        owed.put("bad", "four").await.expect("owes");
        while owed.parked().is_empty() {
            tokio::task::yield_now().await;
        }
        owed.put("a", "value").await.expect("owes");
        owed.remove("b").await.expect("owes");
        owed.close(Duration::ZERO).await.expect("closes");
    });
    let list = run(["owed", &path]).ok().silent();
    let expected = "put                5  pending  a\n\
                    remove             0  pending  b\n\
                    put                4  parked   bad  (deaf: never (permanent))\n";
    assert_eq!(list.text(), expected);
    let lines = run(["owed", "--json", &path]).ok().silent().json();
    assert_eq!(
        (&lines[0]["key"], &lines[0]["op"]),
        (&"a".into(), &"put".into())
    );
    assert_eq!(
        (&lines[1]["bytes"], &lines[1]["state"]),
        (&0.into(), &"pending".into())
    );
    assert_eq!(lines[2]["reason"], "deaf: never (permanent)");
}

#[test]
fn what_owes_nothing_is_told() {
    let dir = Dir::new();
    let events = dir.path("events");
    open(&events).append("event").expect("appends");
    let told = run(["owed", &events]);
    assert_eq!(told.code, 1);
    let file = dir.path("file");
    std::fs::write(&file, "no directory").expect("writes");
    assert_eq!(run(["owed", &file]).code, 2);
    assert_ne!(run(["owed", &dir.path("nowhere")]).code, 0);
}
