//! What a journal tells the crate `tracing`.

#![cfg(all(feature = "tracing", feature = "serde"))]

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};
use std::thread::{self, ThreadId};

use documentbuffer::journal::json::Json;
use documentbuffer::journal::{Durability, Journal, Options, Replayed, State};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// A span that has ended, or an event (by its level), with its fields.
#[derive(Clone, Debug, Default)]
struct Told {
    name: String,
    fields: BTreeMap<String, String>,
}

impl Told {
    fn number(&self, field: &str) -> u64 {
        let value = self.fields.get(field);
        let value = value.unwrap_or_else(|| panic!("{field} of {self:?}"));
        value.parse().unwrap()
    }
}

impl Visit for Told {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let value = format!("{value:?}");
        self.fields.insert(field.name().to_owned(), value);
    }
}

/// What was told, by each thread.
#[derive(Clone, Default)]
struct Listener(Arc<Mutex<HashMap<ThreadId, Vec<Told>>>>);

impl Listener {
    fn hear(&self, told: Option<Told>) {
        let mut heard = self.0.lock().unwrap();
        heard
            .entry(thread::current().id())
            .or_default()
            .extend(told);
    }
}

/// One for all threads, for good: those that come and go for a thread are missed by spans of the others.
static LISTENER: LazyLock<Listener> = LazyLock::new(|| {
    let listener = Listener::default();
    let subscriber = tracing_subscriber::registry().with(listener.clone());
    tracing::subscriber::set_global_default(subscriber).unwrap();
    listener
});

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Listener {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        assert_eq!(attributes.metadata().target(), "documentbuffer::journal");
        let mut told = Told {
            name: attributes.metadata().name().to_owned(),
            ..Told::default()
        };
        attributes.record(&mut told);
        let span = context.span(id).unwrap();
        span.extensions_mut().insert(told);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        values.record(span.extensions_mut().get_mut::<Told>().unwrap());
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut told = Told {
            name: event.metadata().level().to_string(),
            ..Told::default()
        };
        event.record(&mut told);
        let within = context.event_span(event).map(|span| span.name());
        let within = within.unwrap_or_default().to_owned();
        told.fields.insert("within".to_owned(), within);
        self.hear(Some(told));
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).unwrap();
        let told = span.extensions_mut().remove::<Told>();
        self.hear(told);
    }
}

/// What `act` on this thread told, in the order in which it ended.
fn listen(act: impl FnOnce()) -> Vec<Told> {
    let own = || LISTENER.0.lock().unwrap().remove(&thread::current().id());
    own();
    act();
    own().unwrap_or_default()
}

fn named<'a>(told: &'a [Told], name: &str) -> Vec<&'a Told> {
    told.iter().filter(|told| told.name == name).collect()
}

#[test]
fn a_commit_tells_its_documents_bytes_and_waiters() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path().join("journal")).unwrap();
    let told = listen(|| {
        journal.append("alice").unwrap();
        journal.append_with("bob", Durability::Memory).unwrap();
        journal.append_all(["carol", "dave"]).unwrap();
    });
    let commits = named(&told, "commit");
    assert_eq!(commits.len(), 2, "{told:#?}");
    assert_eq!(commits[0].number("documents"), 1);
    assert_eq!(commits[0].number("waiters"), 1);
    assert!(commits[0].number("bytes") >= 16 + 5);
    assert_eq!(commits[0].fields["durability"], "Synced");
    assert_eq!(commits[1].number("documents"), 3);
    assert!(commits[1].number("bytes") > commits[0].number("bytes"));
}

#[test]
fn what_becomes_of_segments_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path().join("journal")).unwrap();
    let told = listen(|| {
        for n in 0..10 {
            journal.append(format!("event {n}")).unwrap();
        }
        journal.rotate().unwrap();
        journal.append("event 10").unwrap();
        journal.truncate_after(10).unwrap();
        journal.discard_before(10).unwrap();
        journal.truncate_after(99).unwrap_err();
    });
    let rotates = named(&told, "rotate");
    assert_eq!(rotates[0].number("segment"), 2);
    assert_eq!(rotates[0].number("position"), 10);
    assert_eq!(rotates[0].number("documents"), 10);
    assert!(rotates[0].number("bytes") > 10 * (16 + 7));
    let truncates = named(&told, "truncate");
    assert_eq!(truncates[0].number("position"), 10);
    assert_eq!(truncates[0].number("documents"), 1);
    let discards = named(&told, "discard");
    assert_eq!(discards[0].number("documents"), 10);
    assert_eq!(discards[0].number("segments"), 1);
    let warnings = named(&told, "WARN");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_eq!(warnings[0].fields["within"], "truncate");
    assert!(warnings[0].fields["error"].contains("99"));
}

#[test]
fn an_opening_tells_what_it_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let journal = Journal::open(&path).unwrap();
    journal.append("sealed").unwrap();
    journal.rotate().unwrap();
    journal.append_all(["one", "two"]).unwrap();
    drop(journal);
    let told = listen(|| drop(Journal::open(&path).unwrap()));
    let recovers = named(&told, "recover");
    let recover = recovers[0];
    assert_eq!(recover.fields["directory"], path.display().to_string());
    assert_eq!(recover.number("segments"), 2);
    assert_eq!(recover.number("documents"), 2);
    assert!(recover.number("bytes") > 2 * (16 + 3));
    assert_eq!(recover.fields["end"], "clean");
    let elsewhere = Options::new().codec("another");
    let told = listen(|| drop(elsewhere.open(&path).unwrap_err()));
    let warnings = named(&told, "WARN");
    assert_eq!(warnings[0].fields["within"], "recover");
    assert!(warnings[0].fields["error"].contains("another"));
}

#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Sum(u64);

impl State for Sum {
    type Event = u64;

    fn apply(&mut self, event: &u64) {
        self.0 += event;
    }
}

fn first_snapshot(path: &Path) -> std::path::PathBuf {
    let files = std::fs::read_dir(path).unwrap();
    let mut files = files.map(|file| file.unwrap().path());
    let is_snapshot = |path: &std::path::PathBuf| path.to_string_lossy().contains("snapshot");
    files.find(is_snapshot).unwrap()
}

#[test]
fn an_ignored_snapshot_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let options = Replayed::<Sum>::json().snapshots(1, Json);
    let mut sum = options.open(&path).unwrap();
    sum.record(&7).unwrap();
    sum.snapshot().unwrap();
    sum.close().unwrap();
    std::fs::write(first_snapshot(&path), b"torn").unwrap();
    let told = listen(|| assert_eq!(options.open(&path).unwrap().state().0, 7));
    let warnings = named(&told, "WARN");
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].fields["snapshot"].contains("snapshot"));
}
