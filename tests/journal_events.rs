//! Typed events in JSON, and states that they make up.

#![cfg(all(feature = "serde", feature = "testing"))]

use std::collections::BTreeMap;
use std::path::PathBuf;

use documentbuffer::journal::json::Json;
use documentbuffer::journal::{
    Cause, Codec, Decision, Durability, Error, Events, Journal, Lag, Options, Published, Replayed,
    State,
};
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
