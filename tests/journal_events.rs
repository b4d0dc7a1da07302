//! Typed events in JSON, and subscriptions to them.

#![cfg(all(feature = "serde", feature = "testing"))]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use documentbuffer::journal::json::Json;
use documentbuffer::journal::{
    Cause, Codec, Decision, Durability, Error, Events, Journal, Lag, Options, Published, Replayed,
    Retention, State, Subscription,
};
use documentbuffer::store::fault::FaultDirectory;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Event {
    Joined { name: String },
    Called(u8),
    Paused,
}

fn joined(name: &str) -> Event {
    Event::Joined { name: name.into() }
}

fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    (dir, path)
}

fn all<E>(events: &Events<E>) -> Vec<E> {
    let read: Result<Vec<_>, _> = events.replay(0).unwrap().collect();
    read.unwrap().into_iter().map(|(_, event)| event).collect()
}

/// The events of a journal that another version of the program wrote, read by this one.
fn read_as<Old, New>(written: &[Old]) -> Result<Vec<New>, Error>
where
    Json: Codec<Old> + Codec<New>,
{
    let (_dir, path) = place();
    let events = Events::<Old>::options(Json).open(&path)?;
    events.append_all(written)?;
    events.close()?;
    let events = Events::<New>::options(Json).open(&path)?;
    events
        .replay(0)?
        .map(|e| e.map(|(_, event)| event))
        .collect()
}

#[test]
fn events_come_back_as_they_were() {
    let (_dir, path) = place();
    let events = Events::open(&path).unwrap();
    let written = [
        joined("alice"),
        Event::Called(42),
        Event::Paused,
        joined("b\u{0}\"ö"),
    ];
    assert_eq!(events.append(&written[0]).unwrap(), 0);
    assert_eq!(
        events.append_with(&written[1], Durability::Memory).unwrap(),
        1
    );
    assert_eq!(events.append_all(&written[2..]).unwrap(), 2..4);
    let refused = events.append_at(3, &Event::Paused).unwrap_err();
    assert!(matches!(
        refused,
        Error::PositionMismatch {
            expected: 3,
            actual: 4
        }
    ));
    assert_eq!(events.append_at(4, &Event::Paused).unwrap(), 4);
    let from: Result<Vec<_>, _> = events.replay(3).unwrap().collect();
    assert_eq!(from.unwrap(), [(3, written[3].clone()), (4, Event::Paused)]);
    assert_eq!(events.clone().close().unwrap().end, 5);
    drop(events);
    let events = Events::<Event>::open(&path).unwrap();
    assert_eq!(all(&events)[..4], written);
    // Readable by every tool.
    let mut documents = events.journal().replay(0).unwrap();
    let first = documents.next().unwrap().unwrap().bytes.to_vec();
    assert_eq!(first, br#"{"Joined":{"name":"alice"}}"#);
}

#[test]
fn another_codec_is_refused() {
    let (_dir, path) = place();
    drop(Events::<Event>::open(&path).unwrap());
    let named = |error: &Error, found: &str, wanted: &str| matches!(error, Error::Codec { found: f, wanted: w } if f == found && w == wanted);
    let refused = Journal::open(&path).unwrap_err();
    assert!(named(&refused, "json", ""), "{refused:?}");
    struct Other;
    impl Codec<Event> for Other {
        fn name(&self) -> &str {
            "other"
        }
        fn encode(&self, event: &Event, into: &mut Vec<u8>) -> Result<(), Cause> {
            Json.encode(event, into)
        }
        fn decode(&self, bytes: &[u8]) -> Result<Event, Cause> {
            Json.decode(bytes)
        }
    }
    let refused = Events::options(Other).open(&path).unwrap_err();
    assert!(named(&refused, "json", "other"), "{refused:?}");
    // Whatever the options say, it is the codec that counts.
    let sly = Events::options(Other).journal(Options::new().codec("json"));
    assert!(named(&sly.open(&path).unwrap_err(), "json", "other"));
    let journal = Options::new().codec("json").open(&path).unwrap();
    let refused = Events::options(Other).over(journal.clone()).unwrap_err();
    assert!(named(&refused, "json", "other"), "{refused:?}");
    let events = Events::<Event>::json().over(journal).unwrap();
    events.append(&Event::Paused).unwrap();
    drop(events);
    let (_dir, path) = place();
    drop(Journal::open(&path).unwrap());
    let refused = Events::<Event>::open(&path).unwrap_err();
    assert!(named(&refused, "", "json"), "{refused:?}");
}

#[test]
fn an_event_keeps_its_meaning_when_the_program_grows() {
    /// Variants inserted in front and between, a field added, all of it in another order.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Grown {
        Banned {
            name: String,
        },
        Paused,
        Kicked(u8),
        Called(u8),
        Joined {
            #[serde(default)]
            level: u32,
            name: String,
        },
    }
    let written = [joined("alice"), Event::Called(7), Event::Paused];
    let read = read_as::<Event, Grown>(&written).unwrap();
    let name = "alice".to_owned();
    assert_eq!(
        read,
        [
            Grown::Joined { level: 0, name },
            Grown::Called(7),
            Grown::Paused
        ]
    );
}

#[test]
fn an_unknown_variant_never_becomes_another_event() {
    /// Every variant that is gone has one of the same form that is left.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Shrunk {
        Greeted { name: String },
        Kicked(u8),
        Resumed,
        Paused,
    }
    for (written, unknown) in [(joined("alice"), "Joined"), (Event::Called(1), "Called")] {
        let written = [Event::Paused, written, Event::Paused];
        let stopped = read_as::<Event, Shrunk>(&written).unwrap_err();
        let said = stopped.to_string();
        assert!(
            matches!(
                stopped,
                Error::Event {
                    position: Some(1),
                    ..
                }
            ),
            "{stopped:?}"
        );
        for part in ["document 1", "json", "unknown variant", unknown, "upcast"] {
            assert!(said.contains(part), "{said}");
        }
    }
    // Bytes that are left over are no event either.
    let (_dir, path) = place();
    let raw = Options::new().codec("json").open(&path).unwrap();
    for bytes in [
        "\"Paused\"\"Paused\"",
        "\"Paused\"x",
        "",
        "{\"Called\":256}",
        "7",
        "\"paused\"",
    ] {
        raw.truncate_after(0).unwrap();
        raw.append(bytes).unwrap();
        let events = Events::<Event>::json().over(raw.clone()).unwrap();
        let mut replay = events.replay(0).unwrap();
        let stopped = replay.next().unwrap();
        assert!(
            matches!(
                stopped,
                Err(Error::Event {
                    position: Some(0),
                    ..
                })
            ),
            "{bytes}"
        );
        assert!(replay.next().is_none(), "nothing follows an error");
    }
}

#[test]
fn each_document_is_used_skipped_upcast_or_stops_the_replay() {
    let (_dir, path) = place();
    let raw = Options::new().codec("json").open(&path).unwrap();
    let called = r#"{"Called":3}"#;
    let documents = [
        called,
        r#"{"Call":{"number":9}}"#,
        r#""Noise""#,
        called,
        r#""Alien""#,
        called,
    ];
    raw.append_all(documents).unwrap();
    drop(raw);
    #[derive(Deserialize)]
    enum Old {
        Call { number: u8 },
        Noise,
    }
    let upcast = Events::<Event>::json().upcast(|document, decoded| {
        // What is known may have changed its meaning too.
        if let Ok(Event::Called(n)) = decoded {
            return Decision::Use(Event::Called(n + (document.position < 3) as u8));
        }
        match serde_json::from_slice(document.bytes) {
            Ok(Old::Call { number }) => Decision::Use(Event::Called(number)),
            Ok(Old::Noise) => Decision::Skip,
            Err(error) => Decision::Stop(error.into()),
        }
    });
    let events = upcast.open(&path).unwrap();
    let mut replay = events.replay(0).unwrap();
    let expected = [(0, 4), (1, 9), (3, 3)];
    for (position, number) in expected {
        let found = replay.next().unwrap().unwrap();
        assert_eq!(found, (position, Event::Called(number)));
    }
    assert_eq!(replay.skipped(), 1);
    let stopped = replay.next().unwrap().unwrap_err();
    assert!(matches!(
        stopped,
        Error::Event {
            position: Some(4),
            ..
        }
    ));
    assert!(stopped.to_string().contains("Alien"), "{stopped}");
    assert!(replay.next().is_none());
    // It may be read on behind it.
    assert_eq!(events.replay(5).unwrap().count(), 1);
}

#[test]
fn what_could_not_be_read_again_is_not_appended() {
    #[derive(Debug, Serialize, Deserialize)]
    enum Odd {
        Number(f64),
        Keyed(BTreeMap<Vec<u8>, u8>),
        Nested(Box<Option<Odd>>),
        #[serde(skip_deserializing)]
        Lost,
    }
    let (_dir, path) = place();
    let events = Events::<Odd>::open(&path).unwrap();
    events.append(&Odd::Number(0.1)).unwrap();
    let mut deep = Odd::Number(1.0);
    for _ in 0..200 {
        deep = Odd::Nested(Box::new(Some(deep)));
    }
    let keyed = Odd::Keyed(BTreeMap::from([(vec![1], 1)]));
    let odd = [
        Odd::Number(f64::NAN),
        Odd::Number(f64::INFINITY),
        keyed,
        Odd::Lost,
        deep,
    ];
    for event in &odd {
        for refused in [
            events.append(event).err(),
            events.append_all([&Odd::Number(1.0), event]).err(),
            events.append_at(1, event).err(),
            events.append_with(event, Durability::Memory).err(),
        ] {
            assert!(
                matches!(refused, Some(Error::Event { position: None, .. })),
                "{event:?}"
            );
        }
    }
    assert_eq!(events.journal().end(), 1);
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Sums {
    floats: Vec<f64>,
    sum: f64,
}

impl State for Sums {
    type Event = f64;

    fn apply(&mut self, event: &f64) {
        self.sum += event;
        self.floats.push(self.sum);
    }
}

#[test]
fn a_state_in_json_is_the_same_with_and_without_its_snapshots() {
    let (_dir, path) = place();
    let options = Replayed::<Sums>::json()
        .journal(Options::new().durability(Durability::Written))
        .snapshots(1, Json);
    let mut state = options.open(&path).unwrap();
    let mut bits = 0x9E37_79B9_7F4A_7C15_u64;
    for n in 0..2000 {
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        let event = f64::from_bits(bits);
        if event.is_finite() && event.abs() < 1e300 {
            state.record(&event).unwrap();
        }
        if n % 300 == 0 {
            state.snapshot().unwrap();
        }
    }
    let live = state.state().clone();
    state.close().unwrap();
    let loaded = options.open(&path).unwrap();
    assert!(loaded.report().snapshot.is_some());
    assert_eq!(loaded.state(), &live, "to the last bit");
    drop(loaded);
    let replayed = Replayed::<Sums>::open(&path).unwrap();
    assert!(replayed.report().snapshot.is_none());
    assert_eq!(replayed.state(), &live, "to the last bit");
}

/// What a subscriber that believes what it is told knows now.
fn take(subscription: &mut Subscription<u64>, known: &mut Vec<u64>) {
    while let Some(published) = subscription.try_recv().unwrap() {
        match published {
            Published::Event { position, event } => {
                assert_eq!(position, known.len() as u64);
                known.push(event);
            }
            Published::CutBack { to } => {
                assert!(to < known.len() as u64);
                known.truncate(to as usize);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn subscribers_see_each_event_once_in_order_whoever_writes() {
    let (_dir, path) = place();
    let journal = Options::new().segment(4000).durability(Durability::Written);
    let events = Events::<(u8, u32)>::json()
        .journal(journal)
        .open(&path)
        .unwrap();
    let (writers, each) = (4, 500);
    let subscribers: Vec<_> = (0..3)
        .map(|from| {
            let subscription = events.subscribe(0, Lag::Unbounded).unwrap();
            std::thread::spawn(move || {
                let mut seen = Vec::new();
                for published in subscription.skip(from) {
                    let Ok(Published::Event { position, event }) = published else {
                        panic!("{published:?}");
                    };
                    assert_eq!(position, (from + seen.len()) as u64);
                    seen.push(event);
                }
                seen
            })
        })
        .collect();
    std::thread::scope(|scope| {
        for writer in 0..writers {
            let events = events.clone();
            scope.spawn(move || {
                for n in 0..each {
                    events.append(&(writer, n)).unwrap();
                }
            });
        }
    });
    let written = all(&events);
    assert_eq!(written.len(), writers as usize * each as usize);
    events.close().unwrap();
    for (from, subscriber) in subscribers.into_iter().enumerate() {
        assert_eq!(subscriber.join().unwrap(), written[from..]);
    }
}

#[test]
fn an_event_is_handed_over_after_it_is_durable() {
    let (_dir, path) = place();
    let events = Events::<u64>::open(&path).unwrap();
    let mut subscription = events.subscribe(0, Lag::Unbounded).unwrap();
    for durability in [Durability::Memory, Durability::Written] {
        events.append_with(&7, durability).unwrap();
        assert_eq!(subscription.try_recv().unwrap(), None, "{durability:?}");
    }
    assert_eq!(
        subscription.recv_timeout(Duration::from_millis(1)).unwrap(),
        None
    );
    events.journal().sync().unwrap();
    assert_eq!(events.journal().stats().synced, 2);
    for position in 0..2 {
        let told = subscription.recv().unwrap();
        assert_eq!(told, Published::Event { position, event: 7 });
    }
    assert_eq!(subscription.try_recv().unwrap(), None);
}

#[test]
fn a_cut_is_told_and_what_comes_then_is_new() {
    let (_dir, path) = place();
    let events = Events::<u64>::json()
        .journal(Options::new().segment(300))
        .open(&path)
        .unwrap();
    let mut subscription = events.subscribe(0, Lag::Unbounded).unwrap();
    let (mut known, mut model) = (Vec::new(), Vec::new());
    let mut seed = 11u64;
    let mut draw = |below: u64| {
        seed = seed
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (seed >> 33) % below
    };
    for n in 0..400 {
        if draw(6) == 0 {
            let keep = draw(model.len() as u64 + 1);
            events.journal().truncate_after(keep).unwrap();
            model.truncate(keep as usize);
        } else {
            events.append(&n).unwrap();
            model.push(n);
        }
        if draw(3) == 0 {
            take(&mut subscription, &mut known);
            assert_eq!(known, model, "step {n}");
        }
    }
}

#[test]
fn a_slow_subscriber_is_told_what_it_misses() {
    let (_dir, path) = place();
    let journal = Options::new().segment(300).durability(Durability::Written);
    let events = Events::<u64>::json().journal(journal).open(&path).unwrap();
    let mut subscription = events.subscribe(0, Lag::Skip(10)).unwrap();
    let write = |range: std::ops::Range<u64>| {
        for n in range {
            events.append(&n).unwrap();
        }
    };
    let read = |subscription: &mut Subscription<u64>, range: std::ops::Range<u64>| {
        for n in range {
            let told = subscription.recv().unwrap();
            assert_eq!(
                told,
                Published::Event {
                    position: n,
                    event: n
                }
            );
        }
    };
    // Ten behind is fine, eleven is not.
    write(0..10);
    read(&mut subscription, 0..10);
    write(10..21);
    assert_eq!(
        subscription.recv().unwrap(),
        Published::Lagged { skipped: 1 }
    );
    read(&mut subscription, 11..21);
    assert_eq!(subscription.try_recv().unwrap(), None);
    write(21..1000);
    assert_eq!(
        subscription.recv().unwrap(),
        Published::Lagged { skipped: 969 }
    );
    read(&mut subscription, 990..995);
    // While it was slow, what it has seen was cut away: that is not missed.
    events.journal().truncate_after(992).unwrap();
    write(992..1500);
    assert_eq!(subscription.recv().unwrap(), Published::CutBack { to: 992 });
    assert_eq!(
        subscription.recv().unwrap(),
        Published::Lagged { skipped: 498 }
    );
    read(&mut subscription, 1490..1500);
    // Cut away was only what it has missed.
    write(1500..1600);
    events.journal().truncate_after(1550).unwrap();
    write(1550..1600);
    assert_eq!(
        subscription.recv().unwrap(),
        Published::Lagged { skipped: 90 }
    );
    read(&mut subscription, 1590..1600);
    assert_eq!(subscription.position(), 1600);
}

#[test]
fn random_subscribers_that_lag_know_what_they_know() {
    for seed in 0..2000u64 {
        println!("seed {seed}");
        let journal = Options::new()
            .segment(200)
            .durability(Durability::Memory)
            .seed(seed);
        let options = Events::<u64>::json().journal(journal);
        let events = options
            .open_in(Arc::new(FaultDirectory::new(seed)))
            .unwrap();
        let mut state = seed;
        let mut draw = |below: u64| {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 33) % below
        };
        let most = draw(8);
        let mut subscription = events.subscribe(0, Lag::Skip(most)).unwrap();
        let mut model: Vec<u64> = Vec::new();
        // By position; `None` is known to be missed.
        let mut known: Vec<Option<u64>> = Vec::new();
        for n in 0..80 {
            match draw(10) {
                0 => {
                    let keep = draw(model.len() as u64 + 1);
                    events.journal().truncate_after(keep).unwrap();
                    model.truncate(keep as usize);
                }
                1..4 => {
                    events.journal().flush().unwrap();
                    for _ in 0..draw(12) {
                        match subscription.try_recv().unwrap() {
                            Some(Published::Event { position, event }) => {
                                assert_eq!(position, known.len() as u64);
                                known.push(Some(event));
                            }
                            Some(Published::CutBack { to }) => {
                                assert!(to < known.len() as u64);
                                known.truncate(to as usize);
                            }
                            Some(Published::Lagged { skipped }) => {
                                assert!(skipped > 0);
                                known.extend((0..skipped).map(|_| None));
                            }
                            Some(other) => panic!("{other:?}"),
                            None => {
                                // Nothing more: all that is not missed is known.
                                assert_eq!(known.len(), model.len());
                                let mut both = known.iter().zip(&model);
                                assert!(both.all(|(k, m)| k.is_none_or(|k| k == *m)));
                                break;
                            }
                        }
                    }
                }
                _ => {
                    events.append(&(seed * 1000 + n)).unwrap();
                    model.push(seed * 1000 + n);
                }
            }
        }
    }
}

#[test]
fn a_cut_while_documents_are_missed_is_told_as_far_as_it_matters() {
    for round in 0..20u64 {
        let journal = Options::new()
            .segment(2000)
            .durability(Durability::Written)
            .seed(round);
        let options = Events::<u64>::json().journal(journal);
        let directory = Arc::new(FaultDirectory::new(round));
        let events = options.open_in(directory).unwrap();
        let subscription = events.subscribe(0, Lag::Skip(round % 4)).unwrap();
        let reader = std::thread::spawn(move || {
            let mut known: Vec<Option<u64>> = Vec::new();
            for published in subscription {
                match published.unwrap() {
                    Published::Event { position, event } => {
                        assert_eq!(position, known.len() as u64);
                        known.push(Some(event));
                    }
                    Published::CutBack { to } => {
                        assert!(to < known.len() as u64);
                        known.truncate(to as usize);
                    }
                    Published::Lagged { skipped } => {
                        assert!(skipped > 0);
                        known.extend((0..skipped).map(|_| None));
                    }
                    other => panic!("{other:?}"),
                }
            }
            known
        });
        let mut model: Vec<u64> = Vec::new();
        for n in 0..300u64 {
            let batch: Vec<u64> = (0..n % 60).map(|m| n * 100 + m).collect();
            events.append_all(&batch).unwrap();
            model.extend(batch);
            let cut = (n * 7919 % 50).min(model.len() as u64);
            events
                .journal()
                .truncate_after(model.len() as u64 - cut)
                .unwrap();
            model.truncate(model.len() - cut as usize);
        }
        events.close().unwrap();
        let known = reader.join().unwrap();
        assert_eq!(known.len(), model.len());
        let mut both = known.iter().zip(&model);
        assert!(both.all(|(known, model)| known.is_none_or(|known| known == *model)));
    }
}

#[test]
fn what_retention_takes_is_the_end_or_is_missed_as_was_chosen() {
    let (_dir, path) = place();
    let journal = Options::new()
        .segment(300)
        .durability(Durability::Written)
        .retention(Retention::all().bytes(600));
    let events = Events::<u64>::json().journal(journal).open(&path).unwrap();
    for n in 0..5 {
        events.append(&n).unwrap();
    }
    let mut patient = events.subscribe(2, Lag::Unbounded).unwrap();
    let mut hasty = events.subscribe(2, Lag::Skip(100_000)).unwrap();
    for n in 5..500 {
        events.append(&n).unwrap();
    }
    let first = events.journal().first();
    assert!(first > 400);
    for _ in 0..2 {
        let over = patient.recv().unwrap_err();
        assert!(
            matches!(over, Error::Discarded { position: 2, first: f } if f == first),
            "{over:?}"
        );
    }
    assert_eq!(patient.count(), 0);
    let told = hasty.recv().unwrap();
    assert_eq!(told, Published::Lagged { skipped: first - 2 });
    for n in first..500 {
        assert_eq!(
            hasty.recv().unwrap(),
            Published::Event {
                position: n,
                event: n
            }
        );
    }
    assert_eq!(hasty.try_recv().unwrap(), None);
}

#[test]
fn a_subscription_stops_at_what_is_no_event_and_passes_over_what_is_to_be() {
    let (_dir, path) = place();
    let options = Events::<u64>::json().upcast(|document, number| match number {
        Ok(number) => Decision::Use(number),
        Err(_) if document.bytes == b"null" => Decision::Skip,
        Err(cause) => Decision::Stop(cause),
    });
    let events = options.open(&path).unwrap();
    let mut subscription = events.subscribe(0, Lag::Unbounded).unwrap();
    let raw = events.journal();
    raw.append_all(["1", "null", "2", "true", "3"]).unwrap();
    for (position, event) in [(0, 1), (2, 2)] {
        assert_eq!(
            subscription.recv().unwrap(),
            Published::Event { position, event }
        );
    }
    for _ in 0..2 {
        let stopped = subscription.try_recv().unwrap_err();
        assert!(matches!(
            stopped,
            Error::Event {
                position: Some(3),
                ..
            }
        ));
    }
    assert!(subscription.next().is_none());
    assert!(matches!(
        events.subscribe(6, Lag::Unbounded),
        Err(Error::BeyondEnd { .. })
    ));
    let mut behind = events.subscribe(4, Lag::Unbounded).unwrap();
    assert_eq!(
        behind.recv().unwrap(),
        Published::Event {
            position: 4,
            event: 3
        }
    );
}

#[test]
fn a_subscription_does_not_keep_the_journal_open() {
    for close in [true, false] {
        let (_dir, path) = place();
        let events = Events::<u64>::open(&path).unwrap();
        let subscription = events.subscribe(0, Lag::Unbounded).unwrap();
        let waiting = std::thread::spawn(move || subscription.map(Result::unwrap).count());
        events.append(&1).unwrap();
        if close {
            events.close().unwrap();
        } else {
            drop(events);
        }
        assert_eq!(waiting.join().unwrap(), 1);
        // The lock is free.
        let events = Events::<u64>::open(&path).unwrap();
        let mut subscription = events.subscribe(1, Lag::Unbounded).unwrap();
        drop(events);
        for _ in 0..2 {
            assert!(matches!(subscription.recv(), Err(Error::Closed)));
        }
        assert!(subscription.next().is_none());
    }
}

#[test]
fn subscribers_follow_a_state() {
    let (_dir, path) = place();
    let options = Replayed::<Sums>::json()
        .snapshots(1, Json)
        .snapshot_every(3);
    let mut state = options.open(&path).unwrap();
    let mut subscription = state.events().subscribe(0, Lag::Unbounded).unwrap();
    let mut mirror = Sums::default();
    let floats: Vec<f64> = (0..10).map(f64::from).collect();
    state.record_all(&floats).unwrap();
    state.undo(4).unwrap();
    state.record(&0.5).unwrap();
    let mut seen = 0;
    while let Some(published) = subscription.try_recv().unwrap() {
        match published {
            Published::Event { event, .. } => {
                mirror.apply(&event);
                seen += 1;
            }
            Published::CutBack { to } => {
                mirror = Sums::default();
                floats[..to as usize].iter().for_each(|f| mirror.apply(f));
            }
            other => panic!("{other:?}"),
        }
    }
    // All ten were never asked for before the cut: six, and the one behind it.
    assert_eq!((seen, &mirror), (7, state.state()));
}
