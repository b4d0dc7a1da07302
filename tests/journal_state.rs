//! A state on a journal: it is always what its events make of it, whatever becomes of its snapshots.

#![cfg(all(feature = "journal", feature = "testing"))]

use std::cell::Cell;
use std::fs;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use documentbuffer::journal::{
    BadSnapshot, Cause, Codec, Decision, Durability, Error, EventReplay, Events, Journal, Options,
    Replayed, ReplayedOptions, Retention, SnapshotError, State, Subscription,
};
use documentbuffer::store::Directory;
use documentbuffer::store::fault::{Class, CrashPlan, Fault, FaultDirectory, Kind, Mode, Rng};
use tempfile::TempDir;

/// All lines there were: nothing that goes wrong with their order or number is lost in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Lines(Vec<String>);

thread_local! {
    /// The line at which applying panics.
    static BOMB: Cell<Option<&'static str>> = const { Cell::new(None) };
}

impl State for Lines {
    type Event = String;

    fn apply(&mut self, line: &String) {
        if BOMB.get() == Some(line.as_str()) {
            BOMB.set(None);
            panic!("the bomb");
        }
        self.0.push(line.clone());
    }
}

/// Lines as they are, under a name; those that begin with `!` are not known, those with `?` cannot be written.
#[derive(Clone, Copy)]
struct Text(&'static str);

const TEXT: Text = Text("text");

impl Codec<String> for Text {
    fn name(&self) -> &str {
        self.0
    }

    fn encode(&self, line: &String, into: &mut Vec<u8>) -> Result<(), Cause> {
        if line.starts_with('?') {
            return Err("a question".into());
        }
        into.extend(line.bytes());
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<String, Cause> {
        let line = std::str::from_utf8(bytes)?;
        if line.starts_with('!') {
            return Err("a shout".into());
        }
        Ok(line.to_owned())
    }
}

impl Codec<Lines> for Text {
    fn name(&self) -> &str {
        self.0
    }

    fn encode(&self, lines: &Lines, into: &mut Vec<u8>) -> Result<(), Cause> {
        for line in &lines.0 {
            into.extend(line.bytes());
            into.push(b'\n');
        }
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<Lines, Cause> {
        let text = std::str::from_utf8(bytes)?;
        if text.contains("unsavable") {
            return Err("it holds what no snapshot may".into());
        }
        Ok(Lines(text.lines().map(str::to_owned).collect()))
    }
}

fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    (dir, path)
}

fn options() -> ReplayedOptions<Lines> {
    Replayed::options(TEXT, Lines::default).snapshots(1, TEXT)
}

fn lines(range: std::ops::Range<u64>) -> Vec<String> {
    range.map(|n| format!("line {n:04}")).collect()
}

fn record(state: &mut Replayed<Lines>, range: std::ops::Range<u64>) {
    for line in lines(range) {
        state.record(&line).unwrap();
    }
}

/// Positions of the snapshots, newest first.
fn kept(state: &Replayed<Lines>) -> Vec<u64> {
    let infos = state.snapshots().unwrap();
    infos.iter().map(|info| info.position).collect()
}

fn used(state: &Replayed<Lines>) -> Option<u64> {
    let snapshot = state.report().snapshot.as_ref();
    snapshot.map(|snapshot| snapshot.position)
}

fn name(position: u64, schema: u32) -> String {
    format!("snapshot-{position:020}-{schema:010}.snap")
}

/// A copy of a journal's directory.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn a_state_is_what_was_recorded() {
    let (_dir, path) = place();
    let mut state = options().open(&path).unwrap();
    assert_eq!((state.state(), state.position()), (&Lines::default(), 0));
    for n in 0..5 {
        assert_eq!(state.record(&lines(n..n + 1)[0]).unwrap(), n);
    }
    assert_eq!(state.record_all(&lines(5..9)).unwrap(), 5..9);
    assert_eq!(state.record_all([]).unwrap(), 9..9);
    assert_eq!((state.position(), state.journal().end()), (9, 9));
    // Durable: nothing is closed.
    drop(state);
    let state = options().open(&path).unwrap();
    assert_eq!(state.state().0, lines(0..9));
    let report = state.report();
    assert_eq!((report.replayed, report.skipped), (9, 0));
    assert!(report.snapshot.is_none() && report.ignored.is_empty());
}

#[test]
fn a_snapshot_spares_the_replay_and_two_are_kept() {
    let (_dir, path) = place();
    let options = options().snapshot_every(10);
    let mut state = options.open(&path).unwrap();
    for (n, expected) in [
        (9, vec![]),
        (10, vec![10]),
        (25, vec![20, 10]),
        (44, vec![40, 30]),
    ] {
        let at = state.position();
        record(&mut state, at..n);
        assert_eq!(kept(&state), expected, "{n}");
    }
    // A batch that jumps over the mark is in it as a whole.
    state.record_all(&lines(44..57)).unwrap();
    assert_eq!(kept(&state), [57, 40]);
    let info = state.snapshots().unwrap().remove(0);
    let file = path.join(&info.name);
    assert_eq!(info.bytes, fs::metadata(file).unwrap().len());
    record(&mut state, 57..60);
    state.close().unwrap();
    let state = options.open(&path).unwrap();
    assert_eq!(state.state().0, lines(0..60));
    assert_eq!((used(&state), state.report().replayed), (Some(57), 3));
    assert_eq!(state.report().snapshot, Some(info));
    drop(state);
    // What is behind the newest counts, also what was replayed.
    let mut state = options.clone().snapshot_every(4).open(&path).unwrap();
    record(&mut state, 60..61);
    assert_eq!(kept(&state), [61, 57]);
    drop(state);
    let mut state = options.keep(1).open(&path).unwrap();
    record(&mut state, 61..71);
    assert_eq!(kept(&state), [71]);
}

#[test]
fn nothing_before_a_snapshot_is_read() {
    let (_dir, path) = place();
    let small = Options::new().segment(2000).durability(Durability::Written);
    let options = options().journal(small);
    let mut state = options.open(&path).unwrap();
    record(&mut state, 0..400);
    let info = state.snapshot().unwrap();
    assert_eq!(info.position, 400);
    record(&mut state, 400..800);
    let segments: Vec<_> = fs::read_dir(&path)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    let mut segments: Vec<_> = segments
        .into_iter()
        .filter(|path| path.extension().is_some_and(|ext| ext == "segment"))
        .collect();
    segments.sort();
    state.close().unwrap();
    // The first document of every segment up to the one that the snapshot was taken in.
    let taken_in = segments.iter().position(|path| {
        fs::read(path)
            .unwrap()
            .windows(9)
            .any(|bytes| bytes == b"line 0399")
    });
    let taken_in = taken_in.unwrap();
    assert!(taken_in > 2);
    for segment in &segments[..=taken_in] {
        let mut bytes = fs::read(segment).unwrap();
        let at = bytes.windows(4).position(|bytes| bytes == b"line").unwrap();
        assert!(!bytes[at..].starts_with(b"line 0399"));
        bytes[at] ^= 1;
        fs::write(segment, bytes).unwrap();
    }
    let state = options.open(&path).unwrap();
    assert_eq!(state.state().0, lines(0..800));
    assert_eq!((used(&state), state.report().replayed), (Some(400), 400));
    drop(state);
    // The same without it: the log is damaged, and that is never silent.
    fs::remove_file(path.join(name(400, 1))).unwrap();
    assert!(matches!(options.open(&path), Err(Error::Segment { .. })));
}

/// A journal of 30 lines with snapshots at 10 and 20.
fn two_snapshots() -> (TempDir, PathBuf) {
    let (dir, path) = place();
    let mut state = options().snapshot_every(10).open(&path).unwrap();
    record(&mut state, 0..20);
    assert_eq!(kept(&state), [20, 10]);
    record(&mut state, 20..29);
    state.close().unwrap();
    (dir, path)
}

#[test]
fn a_broken_snapshot_is_told_and_never_trusted() {
    let (_dir, path) = two_snapshots();
    let (newest, older) = (path.join(name(20, 1)), path.join(name(10, 1)));
    let whole = fs::read(&newest).unwrap();
    type Breaks = Box<dyn Fn(&[u8]) -> Vec<u8>>;
    type Tells = fn(&BadSnapshot) -> bool;
    let cut = |len: usize| -> Breaks { Box::new(move |whole| whole[..len].to_vec()) };
    let flip = |at: usize| -> Breaks {
        Box::new(move |whole| {
            let mut bytes = whole.to_vec();
            bytes[at] ^= 4;
            bytes
        })
    };
    let torn: Tells = |bad| matches!(bad, BadSnapshot::Torn { .. } | BadSnapshot::Short { .. });
    let all = [
        (cut(0), (|bad| matches!(bad, BadSnapshot::Empty)) as Tells),
        (cut(100), torn),
        (cut(whole.len() - 1), torn),
        (flip(80), torn),
        (flip(whole.len() - 60), torn),
        (Box::new(|whole| vec![0; whole.len()]), |bad| {
            matches!(bad, BadSnapshot::Foreign { .. } | BadSnapshot::Empty)
        }),
        (
            Box::new(|_| b"#!/bin/sh\necho hello, this is a script\n".repeat(9)),
            |bad| matches!(bad, BadSnapshot::Foreign { .. }),
        ),
    ];
    for (at, (breaks, tells)) in all.iter().enumerate() {
        fs::write(&newest, breaks(&whole)).unwrap();
        let state = options().open(&path).unwrap();
        assert_eq!(state.state().0, lines(0..29), "{at}");
        assert_eq!((used(&state), state.report().replayed), (Some(10), 19));
        let [ignored] = &state.report().ignored[..] else {
            panic!("{at}: {:?}", state.report());
        };
        assert!(tells(&ignored.reason), "{at}: {ignored:?}");
        assert_eq!((ignored.position, ignored.schema), (20, 1));
        assert!(ignored.to_string().starts_with(&ignored.name));
    }
    // Neither is any good: from the beginning.
    fs::write(&newest, &whole[..99]).unwrap();
    fs::write(&older, b"").unwrap();
    let mut state = options().open(&path).unwrap();
    assert_eq!(state.state().0, lines(0..29));
    assert_eq!((used(&state), state.report().ignored.len()), (None, 2));
    // The next one takes the broken ones away.
    assert_eq!(state.snapshot().unwrap().position, 29);
    assert_eq!(kept(&state), [29]);
    drop(state);
    let state = options().open(&path).unwrap();
    assert_eq!((used(&state), state.report().replayed), (Some(29), 0));
    assert!(state.report().ignored.is_empty());
}

#[test]
fn a_snapshot_that_was_renamed_or_is_of_another_journal_is_told_and_left_alone() {
    let (_dir, path) = two_snapshots();
    let (_other_dir, other) = two_snapshots();
    fs::rename(path.join(name(20, 1)), path.join(name(25, 1))).unwrap();
    fs::copy(other.join(name(20, 1)), path.join(name(20, 1))).unwrap();
    let mut state = options().open(&path).unwrap();
    assert_eq!(
        (state.state(), used(&state)),
        (&Lines(lines(0..29)), Some(10))
    );
    let reasons: Vec<_> = state.report().ignored.iter().map(|i| &i.reason).collect();
    assert!(
        matches!(
            reasons[..],
            [
                BadSnapshot::Misnamed { position: 20, .. },
                BadSnapshot::OtherJournal { .. }
            ]
        ),
        "{reasons:?}"
    );
    state.snapshot().unwrap();
    assert_eq!(kept(&state), [29, 25, 20, 10]);
}

#[test]
fn a_state_of_another_form_is_made_anew() {
    let (_dir, path) = two_snapshots();
    let newer = Replayed::options(TEXT, Lines::default).snapshots(2, TEXT);
    let mut state = newer.open(&path).unwrap();
    assert_eq!((state.state(), used(&state)), (&Lines(lines(0..29)), None));
    assert_eq!(state.report().ignored.len(), 2);
    for ignored in &state.report().ignored {
        let reason = &ignored.reason;
        assert!(matches!(reason, BadSnapshot::OtherSchema { wanted: 2 }));
    }
    // Nothing of the older program goes before there is a newer one.
    assert_eq!(kept(&state), [20, 10]);
    state.snapshot().unwrap();
    assert_eq!(kept(&state), [29]);
    drop(state);
    let codec = Replayed::options(TEXT, Lines::default).snapshots(2, Text("prose"));
    let state = codec.open(&path).unwrap();
    assert_eq!(state.state().0, lines(0..29));
    let reason = &state.report().ignored[0].reason;
    assert!(
        matches!(reason, BadSnapshot::OtherCodec { found, wanted } if found == "text" && wanted == "prose"),
        "{reason:?}"
    );
    drop(state);
    // Who keeps no snapshots looks at none.
    let bare = Replayed::options(TEXT, Lines::default);
    let mut state = bare.open(&path).unwrap();
    assert_eq!((used(&state), state.report().ignored.len()), (None, 0));
    let refused = state.snapshot().unwrap_err();
    assert!(
        matches!(&refused, Error::Snapshot { source } if matches!(**source, SnapshotError::NoCodec)),
        "{refused:?}"
    );
}

#[test]
fn a_snapshot_of_a_branch_that_was_cut_away_is_told_by_its_tip() {
    // The same positions, offsets and lengths again: only what stands there is another.
    let cases: [(u64, u64, bool); 5] = [
        (15, 1 << 20, false),
        (20, 1 << 20, false),
        (19, 1 << 20, true),
        (0, 1 << 20, true),
        (12, 200, false),
    ];
    for (cut, segment, rotate) in cases {
        let (_dir, path) = place();
        let raw = Options::new().segment(segment).codec("text");
        let options = options().journal(raw.clone());
        let mut state = options.open(&path).unwrap();
        record(&mut state, 0..20);
        state.snapshot().unwrap();
        record(&mut state, 20..25);
        if rotate {
            state.journal().rotate().unwrap();
        }
        state.close().unwrap();
        let journal = raw.open(&path).unwrap();
        journal.truncate_after(cut).unwrap();
        for line in cut..25 {
            journal.append(format!("LINE {line:04}")).unwrap();
        }
        journal.close().unwrap();
        let state = options.open(&path).unwrap();
        let mut expected = lines(0..cut);
        expected.extend((cut..25).map(|n| format!("LINE {n:04}")));
        assert_eq!(state.state().0, expected, "cut to {cut}");
        if cut >= 20 {
            assert_eq!(used(&state), Some(20));
            continue;
        }
        assert_eq!(used(&state), None);
        let reason = &state.report().ignored[0].reason;
        assert!(matches!(reason, BadSnapshot::CutAway), "{cut}: {reason:?}");
    }
}

#[test]
fn a_snapshot_ahead_of_the_log_is_never_used_not_even_when_the_log_catches_up() {
    for clean in [true, false] {
        let (dir, path) = place();
        let mut state = options().open(&path).unwrap();
        record(&mut state, 0..10);
        if clean {
            state.close().unwrap();
        } else {
            drop(state);
        }
        // What a medium leaves that lost the log's end, and kept the snapshot.
        let behind = dir.path().join("behind");
        copy(&path, &behind);
        let mut state = options().open(&path).unwrap();
        record(&mut state, 10..20);
        state.snapshot().unwrap();
        drop(state);
        fs::copy(path.join(name(20, 1)), behind.join(name(20, 1))).unwrap();
        let mut state = options().open(&behind).unwrap();
        assert_eq!(state.state().0, lines(0..10));
        let reason = &state.report().ignored[0].reason;
        assert!(
            matches!(reason, BadSnapshot::Ahead { end: 10 }),
            "{reason:?}"
        );
        // The log grows past it, by other lines of the same length.
        let others: Vec<String> = (10..25).map(|n| format!("LINE {n:04}")).collect();
        state.record_all(&others).unwrap();
        state.close().unwrap();
        let state = options().open(&behind).unwrap();
        assert_eq!(state.state().0, [lines(0..10), others].concat());
        let reason = &state.report().ignored[0].reason;
        assert!(matches!(reason, BadSnapshot::CutAway), "{reason:?}");
    }
}

#[test]
fn retention_goes_as_far_as_a_snapshot_and_no_partial_state_is_made() {
    let (_dir, path) = place();
    let small = Options::new().segment(300);
    for retention in [
        Retention::all().up_to_snapshot(),
        Retention::all().bytes(500),
        Retention::all().age(std::time::Duration::ZERO),
    ] {
        let _ = fs::remove_dir_all(&path);
        let options = options().journal(small.clone().retention(retention));
        let mut state = options.open(&path).unwrap();
        record(&mut state, 0..50);
        assert_eq!(state.journal().first(), 0, "in no snapshot");
        state.snapshot().unwrap();
        record(&mut state, 50..100);
        let first = state.journal().first();
        assert!(first > 40 && first <= 50, "{first}");
        drop(state);
        let mut state = options.open(&path).unwrap();
        assert_eq!(state.state().0, lines(0..100));
        assert_eq!((used(&state), state.report().replayed), (Some(50), 50));
        // Behind it no state can be made: nothing moves.
        let refused = state.undo(60).unwrap_err();
        assert!(
            matches!(
                &refused,
                Error::NoSnapshot { first: 50.., .. } | Error::NoSnapshot { first: 41..50, .. }
            ),
            "{refused:?}"
        );
        assert_eq!(
            (state.state(), state.position()),
            (&Lines(lines(0..100)), 100)
        );
        state.undo(50).unwrap();
        assert_eq!(state.state().0, lines(0..50));
        record(&mut state, 50..60);
        state.close().unwrap();
        fs::write(path.join(name(50, 1)), b"").unwrap();
        let before: Vec<_> = fs::read_dir(&path).unwrap().count().to_le_bytes().to_vec();
        let refused = options.open(&path).unwrap_err();
        let Error::NoSnapshot { first, ignored } = &refused else {
            panic!("{refused:?}");
        };
        assert!(*first > 40 && ignored.len() == 1);
        let said = refused.to_string();
        assert!(
            said.contains(&first.to_string())
                && said.contains(&name(50, 1))
                && said.contains("empty"),
            "{said}"
        );
        let after: Vec<_> = fs::read_dir(&path).unwrap().count().to_le_bytes().to_vec();
        assert_eq!(before, after);
    }
}

#[test]
fn discarding_goes_as_far_as_a_snapshot_that_stands() {
    let (_dir, path) = place();
    let options = options().journal(Options::new().segment(200));
    let mut state = options.open(&path).unwrap();
    record(&mut state, 0..50);
    assert_eq!(state.discard_before(50).unwrap(), 0);
    state.snapshot().unwrap();
    record(&mut state, 50..60);
    state.journal().truncate_after(30).unwrap();
    state.catch_up().unwrap();
    record(&mut state, 30..60);
    // There is one of position 50, but not of this log.
    assert_eq!(
        (state.discard_before(60).unwrap(), kept(&state)),
        (0, vec![50])
    );
    assert!(matches!(
        state.discard_before(61),
        Err(Error::BeyondEnd {
            position: 61,
            end: 60
        })
    ));
    state.snapshot().unwrap();
    record(&mut state, 60..90);
    let first = state.discard_before(20).unwrap();
    assert!(first > 10 && first <= 20, "{first}");
    let first = state.discard_before(90).unwrap();
    assert!(first > 50 && first <= 60, "{first}");
    drop(state);
    let mut state = options.open(&path).unwrap();
    assert_eq!(state.state().0, lines(0..90));
    // Who keeps none discards nothing.
    state.snapshot().unwrap();
    drop(state);
    let retention = Options::new().retention(Retention::all().up_to_snapshot());
    let newer = Replayed::options(TEXT, Lines::default)
        .snapshots(2, TEXT)
        .journal(retention);
    for _ in 0..2 {
        let refused = newer.open(&path).unwrap_err();
        assert!(matches!(refused, Error::NoSnapshot { .. }), "{refused:?}");
    }
    // What it could not load is still there for the program that can.
    assert_eq!(options.open(&path).unwrap().state().0, lines(0..90));
}

#[test]
fn without_snapshots_retention_keeps_everything() {
    let (_dir, path) = place();
    let journal = Options::new()
        .segment(300)
        .retention(Retention::all().bytes(1));
    let mut state = options().journal(journal.clone()).open(&path).unwrap();
    record(&mut state, 0..20);
    state.snapshot().unwrap();
    state.close().unwrap();
    let bare = Replayed::options(TEXT, Lines::default).journal(journal);
    let mut state = bare.open(&path).unwrap();
    record(&mut state, 20..100);
    assert_eq!(state.journal().first(), 0);
    drop(state);
    assert_eq!(bare.open(&path).unwrap().state().0, lines(0..100));
}

#[test]
fn nothing_is_discarded_on_the_strength_of_a_snapshot_that_this_program_cannot_load() {
    let (_dir, path) = place();
    let journal = Options::new()
        .segment(300)
        .retention(Retention::all().up_to_snapshot());
    let plain = Options::new().segment(300);
    // Without retention, so that the whole log is there.
    let mut state = options().journal(plain).open(&path).unwrap();
    record(&mut state, 0..50);
    state.snapshot().unwrap();
    state.close().unwrap();
    let newer = Replayed::options(TEXT, Lines::default)
        .snapshots(2, TEXT)
        .journal(journal);
    let mut state = newer.open(&path).unwrap();
    record(&mut state, 50..100);
    assert_eq!(state.journal().first(), 0);
    drop(state);
    let mut state = newer.open(&path).unwrap();
    assert_eq!(state.state().0, lines(0..100));
    state.snapshot().unwrap();
    record(&mut state, 100..150);
    assert!(state.journal().first() > 90);
}

#[test]
fn a_cut_below_every_snapshot_of_this_program_leaves_no_older_one_to_mislead() {
    let (_dir, path) = place();
    let plain = Options::new().segment(300);
    let mut state = options().journal(plain.clone()).open(&path).unwrap();
    record(&mut state, 0..30);
    state.snapshot().unwrap();
    record(&mut state, 30..60);
    state.close().unwrap();
    // The newest at its opening is its own; the other one lies below.
    let newer = Replayed::options(TEXT, Lines::default).snapshots(2, TEXT);
    let mut state = newer.clone().journal(plain.clone()).open(&path).unwrap();
    state.snapshot().unwrap();
    let stale = path.join(name(30, 1));
    assert!(!stale.exists());
    state.close().unwrap();
    let mut state = options().journal(plain.clone()).open(&path).unwrap();
    state.truncate_after(30).unwrap();
    state.snapshot().unwrap();
    record(&mut state, 30..60);
    state.close().unwrap();
    let journal = plain.retention(Retention::all().up_to_snapshot());
    let newer = newer.journal(journal);
    let mut state = newer.open(&path).unwrap();
    assert!(!stale.exists(), "the state stands without it");
    state.truncate_after(40).unwrap();
    record(&mut state, 40..90);
    assert_eq!(state.journal().first(), 0);
    drop(state);
    assert_eq!(newer.open(&path).unwrap().state().0, lines(0..90));
}

#[test]
fn a_snapshot_at_the_very_edge_of_what_is_kept_stands() {
    let (_dir, path) = place();
    let small = Options::new().segment(1 << 20);
    let options = options().journal(small);
    let mut state = options.open(&path).unwrap();
    record(&mut state, 0..10);
    state.snapshot().unwrap();
    // Its segment ends with it, and goes; the live one is empty.
    state.journal().rotate().unwrap();
    assert_eq!(state.journal().discard_before(10).unwrap(), 10);
    drop(state);
    let mut state = options.open(&path).unwrap();
    assert_eq!((used(&state), state.position()), (Some(10), 10));
    // Taken where the live segment is empty, which another one may replace.
    state.snapshot().unwrap();
    let live = fs::read_dir(&path)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let live = live
        .filter(|path| path.extension().is_some_and(|ext| ext == "segment"))
        .max()
        .unwrap();
    drop(state);
    let mut torn = fs::read(&live).unwrap();
    torn.truncate(torn.len() - 5);
    fs::write(&live, torn).unwrap();
    let mut state = options.open(&path).unwrap();
    record(&mut state, 10..12);
    assert!(!live.exists(), "it was replaced");
    drop(state);
    let mut state = options.open(&path).unwrap();
    assert_eq!((used(&state), state.report().replayed), (Some(10), 2));
    // Cut back to it.
    state.undo(2).unwrap();
    drop(state);
    let state = options.open(&path).unwrap();
    assert_eq!(state.state().0, lines(0..10));
}

#[test]
fn a_program_that_died_while_it_wrote_a_snapshot_leaves_nothing() {
    let (_dir, path) = two_snapshots();
    let temporary = path.join(name(29, 1).replace(".snap", ".tmp"));
    fs::write(&temporary, b"half").unwrap();
    let state = options().open(&path).unwrap();
    assert_eq!((used(&state), state.report().ignored.len()), (Some(20), 0));
    assert!(!temporary.exists());
}

#[test]
fn undo_takes_back_from_the_log_and_the_state() {
    let (_dir, path) = place();
    let options = options().snapshot_every(10);
    let mut state = options.open(&path).unwrap();
    record(&mut state, 0..34);
    let mut model = lines(0..34);
    for (count, from) in [
        (0, None),
        (1, Some(30)),
        (3, Some(30)),
        (1, Some(20)),
        (10, None),
    ] {
        state.undo(count).unwrap();
        model.truncate(model.len() - count as usize);
        assert_eq!(state.state().0, model, "{count}");
        assert_eq!(state.journal().end(), model.len() as u64);
        assert_eq!(used(&state), from, "{count}");
    }
    assert!(matches!(
        state.undo(20),
        Err(Error::BeyondEnd {
            position: 20,
            end: 19
        })
    ));
    assert!(matches!(
        state.truncate_after(20),
        Err(Error::BeyondEnd {
            position: 20,
            end: 19
        })
    ));
    state.record(&"another".to_owned()).unwrap();
    model.push("another".to_owned());
    drop(state);
    let mut state = options.open(&path).unwrap();
    assert_eq!(state.state().0, model);
    state.truncate_after(0).unwrap();
    assert_eq!(state.state(), &Lines::default());
    drop(state);
    assert_eq!(options.open(&path).unwrap().position(), 0);
}

#[test]
fn what_is_cut_need_not_be_known() {
    let (_dir, path) = place();
    let mut state = options().open(&path).unwrap();
    record(&mut state, 0..3);
    state.journal().append("!what").unwrap();
    let stopped = state.catch_up().unwrap_err();
    assert!(matches!(
        stopped,
        Error::Event {
            position: Some(3),
            ..
        }
    ));
    assert_eq!((state.position(), state.state()), (3, &Lines(lines(0..3))));
    // A cut to where the state is takes it away.
    state.truncate_after(3).unwrap();
    record(&mut state, 3..5);
    drop(state);
    assert_eq!(options().open(&path).unwrap().state().0, lines(0..5));
}

#[test]
fn a_document_that_is_no_event_stops_unless_something_is_said_of_it() {
    let (_dir, path) = place();
    let mut state = options().open(&path).unwrap();
    record(&mut state, 0..2);
    state.journal().append("!ban").unwrap();
    state.journal().append("!noise").unwrap();
    state.journal().append("after").unwrap();
    drop(state);
    let stopped = options().open(&path).unwrap_err();
    let said = stopped.to_string();
    assert!(
        matches!(
            stopped,
            Error::Event {
                position: Some(2),
                ..
            }
        ),
        "{said}"
    );
    for part in ["document 2", "\"text\"", "a shout", "upcast"] {
        assert!(said.contains(part), "{said}");
    }
    let upcast = options().upcast(|document, line| match (line, document.bytes) {
        (Ok(line), _) => Decision::Use(line),
        (Err(_), b"!ban") => Decision::Use("kick".to_owned()),
        (Err(_), b"!noise") => Decision::Skip,
        (Err(cause), _) => Decision::Stop(cause),
    });
    let mut state = upcast.open(&path).unwrap();
    let mut expected = [lines(0..2), vec!["kick".into(), "after".into()]].concat();
    assert_eq!(state.state().0, expected);
    assert_eq!((state.report().replayed, state.report().skipped), (4, 1));
    assert_eq!(state.position(), 5);
    state.snapshot().unwrap();
    state.record(&"more".to_owned()).unwrap();
    expected.push("more".into());
    drop(state);
    let state = upcast.open(&path).unwrap();
    assert_eq!((state.state(), used(&state)), (&Lines(expected), Some(5)));
    state.journal().append("!huh").unwrap();
    drop(state);
    let stopped = upcast.open(&path).unwrap_err();
    assert_eq!(stopped.to_string(), "document 6: a shout");
}

/// Rounds to tens on its way, as a codec may that was badly chosen.
struct Rounding;

impl Codec<String> for Rounding {
    fn name(&self) -> &str {
        "tens"
    }

    fn encode(&self, line: &String, into: &mut Vec<u8>) -> Result<(), Cause> {
        into.extend(line[..line.len() - 1].bytes());
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<String, Cause> {
        Ok(std::str::from_utf8(bytes)?.to_owned() + "0")
    }
}

#[test]
fn the_state_that_goes_on_is_the_state_that_is_found() {
    let (_dir, path) = place();
    let lossy = Replayed::options(Rounding, Lines::default).upcast(|document, line| match line {
        Ok(_) if document.position == 1 => Decision::Skip,
        Ok(line) if line.starts_with('x') => Decision::Stop("an x".into()),
        Ok(line) => Decision::Use(line + "!"),
        Err(cause) => Decision::Stop(cause),
    });
    let mut state = lossy.open(&path).unwrap();
    for line in ["17", "18", "19"] {
        state.record(&line.to_owned()).unwrap();
    }
    let refused = state.record(&"x1".to_owned()).unwrap_err();
    assert_eq!(refused.to_string(), "document 3: an x");
    assert_eq!(state.state().0, ["10!", "10!"]);
    assert_eq!((state.position(), state.journal().end()), (3, 3));
    let found = state.state().clone();
    drop(state);
    assert_eq!(lossy.open(&path).unwrap().state(), &found);
}

#[test]
fn what_cannot_be_written_or_read_back_is_not_recorded() {
    let (_dir, path) = place();
    let journal = Options::new().max_document(1000);
    let mut state = options().journal(journal).open(&path).unwrap();
    record(&mut state, 0..2);
    for line in ["?how", "!read back"] {
        let batch = ["fine".to_owned(), line.to_owned()];
        for refused in [
            state.record(&batch[1]).err(),
            state.record_all(&batch).err(),
        ] {
            let refused = refused.unwrap();
            assert!(
                matches!(refused, Error::Event { position: None, .. }),
                "{refused:?}"
            );
        }
    }
    let long = "x".repeat(1001);
    let refused = state.record(&long).unwrap_err();
    assert!(matches!(
        refused,
        Error::TooLarge {
            len: 1001,
            max: 1000
        }
    ));
    assert_eq!((state.position(), state.journal().end()), (2, 2));
    assert_eq!(state.state().0, lines(0..2));
    record(&mut state, 2..3);
}

#[test]
fn a_state_that_cannot_be_read_back_makes_no_snapshot_and_costs_nothing() {
    let (_dir, path) = place();
    let options = options().snapshot_every(5);
    let mut state = options.open(&path).unwrap();
    record(&mut state, 0..6);
    assert_eq!(
        (kept(&state), state.snapshot_failure().is_none()),
        (vec![5], true)
    );
    state.record(&"unsavable".to_owned()).unwrap();
    record(&mut state, 7..10);
    assert_eq!(kept(&state), [5]);
    let failure = state.snapshot_failure().unwrap();
    let Error::Snapshot { source } = failure else {
        panic!("{failure:?}");
    };
    assert!(matches!(**source, SnapshotError::State { .. }));
    assert!(source.to_string().contains("what no snapshot may"));
    assert!(state.snapshot().is_err());
    // Without the line it is tried again.
    state.truncate_after(6).unwrap();
    record(&mut state, 6..10);
    assert_eq!(
        (kept(&state), state.snapshot_failure().is_none()),
        (vec![10, 5], true)
    );
}

#[test]
fn a_death_between_durable_and_applied_loses_nothing_and_saves_nothing_half() {
    let (_dir, path) = place();
    let options = options().snapshot_every(3);
    let mut state = options.open(&path).unwrap();
    record(&mut state, 0..2);
    BOMB.set(Some("line 0003"));
    let died = catch_unwind(AssertUnwindSafe(|| state.record_all(&lines(2..5))));
    assert!(died.is_err() && BOMB.get().is_none());
    // Line 2 is applied, line 3 is not: nothing goes on from that.
    assert_eq!(state.journal().end(), 5);
    for refused in [
        state.record(&"more".to_owned()).err(),
        state.snapshot().err(),
        state.undo(1).err(),
    ] {
        assert!(matches!(refused, Some(Error::Event { .. })), "{refused:?}");
    }
    assert_eq!((state.journal().end(), kept(&state)), (5, vec![]));
    state.catch_up().unwrap();
    assert_eq!(state.state().0, lines(0..5));
    record(&mut state, 5..6);
    // The process dies, and is started again.
    BOMB.set(Some("line 0006"));
    let died = catch_unwind(AssertUnwindSafe(|| state.record(&lines(6..7)[0])));
    assert!(died.is_err());
    drop(state);
    assert_eq!(options.open(&path).unwrap().state().0, lines(0..7));
}

#[test]
fn others_that_append_or_cut_are_noticed() {
    let (_dir, path) = place();
    let journal = Options::new().segment(200);
    let options = options().journal(journal);
    let mut state = options.open(&path).unwrap();
    record(&mut state, 0..30);
    let other = state.journal().clone();
    other.append_all(lines(30..33)).unwrap();
    for refused in [
        state.record(&"more".to_owned()).err(),
        state.snapshot().err(),
    ] {
        assert!(
            matches!(
                refused,
                Some(Error::PositionMismatch {
                    expected: 30,
                    actual: 33
                })
            ),
            "{refused:?}"
        );
    }
    state.catch_up().unwrap();
    assert_eq!(state.state().0, lines(0..33));
    record(&mut state, 33..40);
    state.snapshot().unwrap();
    // Cut, and as long again: by its position alone it looks as it was.
    other.truncate_after(20).unwrap();
    other.append_all(vec!["other"; 20]).unwrap();
    for refused in [
        state.record(&"more".to_owned()).err(),
        state.snapshot().err(),
        state.undo(1).err(),
    ] {
        assert!(
            matches!(refused, Some(Error::CutBack { to: ..=20 })),
            "{refused:?}"
        );
    }
    assert_eq!(other.end(), 40);
    state.catch_up().unwrap();
    let expected = [lines(0..20), vec!["other".to_owned(); 20]].concat();
    assert_eq!(state.state().0, expected);
    state.snapshot().unwrap();
    record(&mut state, 40..50);
    drop((state, other));
    let state = options.open(&path).unwrap();
    assert_eq!(state.state().0, [expected, lines(40..50)].concat());
    assert_eq!(used(&state), Some(40));
}

#[test]
fn what_is_in_memory_only_is_synced_before_a_snapshot_is_taken() {
    for durability in [Durability::Memory, Durability::Written] {
        let dir = FaultDirectory::new(1);
        let journal = Options::new().segment(500).durability(durability).seed(7);
        let options = options().journal(journal).snapshot_every(50);
        let mut state = options.open_in(Arc::new(dir.clone())).unwrap();
        record(&mut state, 0..149);
        assert_eq!(kept(&state), [100, 50]);
        // The power is cut: everything that was not synced is gone.
        let plan = CrashPlan {
            mode: Mode::Lost,
            ..CrashPlan::random(&mut Rng::new(1))
        };
        let image = dir.crash(&mut Rng::new(2), plan);
        drop(state);
        let left = FaultDirectory::from_image(3, image);
        let state = options.open_in(Arc::new(left)).unwrap();
        assert_eq!(used(&state), Some(100));
        let count = state.position();
        assert!((100..149).contains(&count), "{count}");
        assert_eq!(state.state().0, lines(0..count));
        assert!(state.report().ignored.is_empty());
    }
}

#[test]
fn a_record_that_fails_applies_nothing() {
    for class in [
        Class::Write,
        Class::Sync,
        Class::Create,
        Class::Rename,
        Class::DirSync,
    ] {
        for nth in 0..6 {
            let dir = FaultDirectory::new(nth);
            let journal = Options::new().segment(300).seed(nth);
            let options = options().journal(journal);
            let mut state = options.open_in(Arc::new(dir.clone())).unwrap();
            record(&mut state, 0..3);
            dir.calm();
            dir.fault(Fault {
                kind: Kind::Fail(ErrorKind::Other),
                class,
                at: nth,
                sticky: false,
            });
            let (mut n, mut failed) = (3, false);
            while n < 60 {
                let before = (state.state().clone(), state.position());
                match state.record(&lines(n..n + 1)[0]) {
                    Ok(_) => n += 1,
                    Err(Error::Failed { .. }) => {
                        assert_eq!((state.state().clone(), state.position()), before);
                        failed = true;
                        break;
                    }
                    Err(_) => {
                        assert_eq!((state.state().clone(), state.position()), before);
                        failed = true;
                    }
                }
            }
            assert!(failed || dir.fired() == 0 || class == Class::Write);
            assert_eq!(state.state().0, lines(0..n), "{class:?} {nth}");
            drop(state);
            dir.calm();
            let state = options.open_in(Arc::new(dir.kill())).unwrap();
            let count = state.position();
            assert!(count == n || (failed && count == n + 1), "{count} of {n}");
            assert_eq!(state.state().0, lines(0..count));
        }
    }
}

#[test]
fn a_snapshot_that_fails_at_any_call_leaves_a_record_good() {
    let options = options().journal(Options::new().seed(9)).snapshot_every(4);
    let run = |fails: Option<u64>| {
        let dir = FaultDirectory::new(5);
        let mut state = options.open_in(Arc::new(dir.clone())).unwrap();
        record(&mut state, 0..11);
        // What the record alone takes is known by one that no snapshot is due for.
        dir.calm();
        state.record(&lines(11..12)[0]).unwrap();
        let all = dir.calls().total();
        record(&mut state, 12..15);
        dir.calm();
        if let Some(at) = fails {
            dir.fail_at(at, Kind::Fail(ErrorKind::Other), false);
        }
        let recorded = state.record(&lines(15..16)[0]);
        let fired = dir.fired();
        dir.calm();
        (dir, state, recorded, fired, all)
    };
    let (_, state, recorded, _, all) = run(None);
    recorded.unwrap();
    assert_eq!(kept(&state), [16, 12]);
    drop(state);
    let (mut failures, mut records) = (0, 0);
    for at in 0..all + 40 {
        let (dir, mut state, recorded, fired, _) = run(Some(at));
        if fired == 0 {
            continue;
        }
        let n = match recorded {
            Ok(_) => 16,
            Err(_) => {
                records += 1;
                15
            }
        };
        assert_eq!(state.state().0, lines(0..n), "call {at}");
        failures += u64::from(state.snapshot_failure().is_some());
        let failed = state.journal().sync().is_err();
        if !failed && n == 16 {
            record(&mut state, 16..20);
            assert!(state.snapshot_failure().is_none(), "call {at}");
            assert_eq!(kept(&state)[0], 20);
        }
        drop(state);
        let state = options.open_in(Arc::new(dir.kill())).unwrap();
        let count = state.position();
        assert!(count >= n, "call {at}: {count} of {n}");
        assert_eq!(state.state().0, lines(0..count), "call {at}");
    }
    assert!(failures > 8 && records > 0, "{failures} {records}");
}

/// One random life after another against a plain list.
struct Model {
    rng: Rng,
    lines: Vec<String>,
    dir: FaultDirectory,
    options: ReplayedOptions<Lines>,
    next: u64,
}

impl Model {
    fn below(&mut self, limit: u64) -> u64 {
        self.rng.below(limit)
    }

    fn fresh(&mut self) -> String {
        self.next += 1;
        let filler = "x".repeat(self.below(30) as usize);
        format!("{} {filler}", self.next)
    }

    fn draw_options(&mut self) {
        let segment = [200, 600, 1 << 20][self.below(3) as usize];
        let durability = [Durability::Memory, Durability::Written, Durability::Written];
        let mut journal = Options::new()
            .segment(segment)
            .durability(durability[self.below(3) as usize]);
        if self.below(3) == 0 {
            journal = journal.retention(Retention::all().up_to_snapshot());
        }
        self.options = Replayed::options(TEXT, Lines::default)
            .snapshots(self.rng.below(8).min(1) as u32, TEXT)
            .snapshot_every(self.rng.below(4) * 7)
            .keep(self.rng.below(4) as usize)
            .journal(journal);
    }

    fn step(&mut self, state: &mut Replayed<Lines>) {
        let len = self.lines.len() as u64;
        match self.below(20) {
            0 => {
                let count = self.below(len.min(30) + 1);
                let done = state.undo(count);
                self.cut(state, len - count, done);
            }
            1 => {
                let end = self.below(len + 1);
                let done = state.truncate_after(end);
                self.cut(state, end, done);
            }
            2 => drop(state.snapshot().unwrap()),
            3 => state.journal().rotate().unwrap(),
            4 => {
                let batch: Vec<String> = (0..self.below(9)).map(|_| self.fresh()).collect();
                let end = len + batch.len() as u64;
                assert_eq!(state.record_all(&batch).unwrap(), len..end);
                self.lines.extend(batch);
            }
            5 => {
                let line = self.fresh();
                state.journal().append(&line).unwrap();
                self.lines.push(line);
                state.catch_up().unwrap();
            }
            6 => {
                let before = self.below(len + 1);
                let first = state.journal().first();
                let kept = state.discard_before(before).unwrap();
                // What waited to be written may have let retention go further.
                assert!(kept >= first && kept <= len);
            }
            _ => {
                let line = self.fresh();
                assert_eq!(state.record(&line).unwrap(), len);
                self.lines.push(line);
            }
        }
        assert_eq!(state.state().0, self.lines);
        assert_eq!(state.position(), self.lines.len() as u64);
        assert!(state.snapshot_failure().is_none());
    }

    fn cut(&mut self, state: &Replayed<Lines>, end: u64, done: Result<(), Error>) {
        match done {
            Ok(()) => self.lines.truncate(end as usize),
            Err(Error::NoSnapshot { first, .. }) => assert_eq!(first, state.journal().first()),
            Err(Error::Discarded { .. }) => assert!(end < state.journal().first()),
            Err(error) => panic!("{error:?}"),
        }
    }

    /// Breaks snapshots; whether any.
    fn break_snapshots(&mut self) -> bool {
        let mut broken = false;
        let mut image = self.dir.view();
        for (_, bytes) in image.iter_mut().filter(|(name, _)| name.ends_with(".snap")) {
            let at = self.rng.below(bytes.len() as u64 + 1) as usize;
            match self.rng.below(12) {
                0 => bytes.truncate(at),
                1 => bytes.clear(),
                2 if at >= 64 && at < bytes.len() => bytes[at] ^= 1 << self.rng.below(8),
                3 => bytes[at..].fill(0),
                _ => continue,
            }
            broken = true;
        }
        self.dir = FaultDirectory::from_image(self.rng.next_u64(), image);
        broken
    }

    /// One life; `None` where the state is gone.
    fn live(&mut self, broken: bool) -> Option<()> {
        self.draw_options();
        let opened = self.options.open_in(Arc::new(self.dir.clone()));
        let mut state = match opened {
            Ok(state) => state,
            // Only where what it needs is really gone.
            Err(Error::NoSnapshot { first, ignored }) => {
                let other = |why: &BadSnapshot| matches!(why, BadSnapshot::OtherSchema { .. });
                let fine = broken || ignored.iter().any(|i| other(&i.reason));
                assert!(first > 0 && fine, "{first} {ignored:?}");
                return None;
            }
            Err(error) => panic!("{error:?}"),
        };
        assert_eq!(state.state().0, self.lines);
        for _ in 0..self.below(60) {
            self.step(&mut state);
        }
        if self.below(2) == 0 {
            state.close().unwrap();
        } else {
            state.journal().flush().unwrap();
        }
        Some(())
    }
}

#[test]
fn random_lives_agree_with_a_list() {
    for seed in seeds(1500) {
        let again = Again("random_lives", seed);
        let mut model = Model {
            rng: Rng::new(seed),
            lines: Vec::new(),
            dir: FaultDirectory::new(seed),
            options: options(),
            next: 0,
        };
        let mut broken = false;
        for _ in 0..12 {
            if model.live(broken).is_none() {
                break;
            }
            if model.below(3) == 0 {
                broken |= model.break_snapshots();
            }
        }
        std::mem::forget(again);
    }
}

/// Says how to run a case again, if it fails.
struct Again(&'static str, u64);

impl Drop for Again {
    fn drop(&mut self) {
        let Again(test, seed) = self;
        println!(
            "DOCUMENTBUFFER_SEED={seed} cargo test --features journal,testing --test journal_state {test}"
        );
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect("a number"))
}

/// The first so many, unless the environment asks for one or for more.
fn seeds(count: u64) -> std::ops::Range<u64> {
    match number("DOCUMENTBUFFER_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("DOCUMENTBUFFER_CASES").unwrap_or(count),
    }
}

/// A life until the power is cut at some call; then what is left is opened.
fn cut_life(seed: u64) -> (u64, u64) {
    let mut rng = Rng::new(seed);
    let journal = Options::new()
        .segment([250, 700, 1 << 20][rng.below(3) as usize])
        .retention(match rng.below(2) {
            0 => Retention::all(),
            _ => Retention::all().up_to_snapshot(),
        })
        .seed(seed);
    let options = options().journal(journal).snapshot_every(1 + rng.below(12));
    let mut dir = FaultDirectory::new(seed);
    let mut model: Vec<String> = Vec::new();
    let (mut next, mut images, mut loaded) = (0, 0, 0);
    for _ in 0..4 {
        dir.fail_at(rng.below(400), Kind::Fail(ErrorKind::Other), true);
        let mut asked: Vec<Vec<String>> = vec![model.clone()];
        if let Ok(mut state) = options.open_in(Arc::new(dir.clone())) {
            assert_eq!(state.state().0, model, "seed {seed}");
            for _ in 0..60 {
                let (mut wanted, done) = (
                    model.clone(),
                    match rng.below(12) {
                        0 => {
                            let count = rng.below(model.len() as u64 + 1);
                            let mut wanted = model.clone();
                            wanted.truncate(model.len() - count as usize);
                            asked.push(wanted);
                            state.undo(count)
                        }
                        1 => state.snapshot().map(drop),
                        2 => state.journal().rotate(),
                        _ => {
                            next += 1;
                            let line = format!("{next}");
                            let wanted = [model.clone(), vec![line.clone()]].concat();
                            asked.push(wanted);
                            state.record(&line).map(drop)
                        }
                    },
                );
                if done.is_ok() {
                    wanted.clone_from(&state.state().0);
                    model = wanted;
                    asked = vec![model.clone()];
                } else if !matches!(
                    done,
                    Err(Error::NoSnapshot { .. } | Error::Discarded { .. })
                ) {
                    assert_eq!(state.state().0, model, "seed {seed}");
                    break;
                }
            }
        }
        let plan = CrashPlan::random(&mut rng);
        let image = dir.crash(&mut rng, plan);
        images += 1;
        dir = FaultDirectory::from_image(rng.next_u64(), image);
        let state = options.open_in(Arc::new(dir.clone()));
        let state = state.unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
        let found = state.state().0.clone();
        assert!(
            asked.contains(&found),
            "seed {seed}: {found:?} is none of {asked:?}"
        );
        for ignored in &state.report().ignored {
            // What was cut away may still lie there; nothing else is wrong with any.
            assert!(
                matches!(ignored.reason, BadSnapshot::CutAway),
                "seed {seed}: {ignored:?}"
            );
        }
        loaded += u64::from(used(&state).is_some());
        model = found;
        drop(state);
        dir = dir.kill();
    }
    (images, loaded)
}

#[test]
fn power_cuts_at_any_call_leave_a_state_that_was_recorded() {
    let (mut images, mut loaded) = (0, 0);
    for seed in seeds(1500) {
        let again = Again("power_cuts", seed);
        let (more, found) = cut_life(seed);
        images += more;
        loaded += found;
        std::mem::forget(again);
    }
    println!("{images} images, {loaded} with a snapshot");
    assert!(loaded > images / 4);
}

#[test]
fn a_state_and_its_journal_end_together() {
    let (_dir, path) = place();
    let state = options().open(&path).unwrap();
    assert!(matches!(options().open(&path), Err(Error::Locked { .. })));
    let journal = state.journal().clone();
    let stats = state.close().unwrap();
    assert_eq!(stats.end, 0);
    assert!(matches!(journal.append("x"), Err(Error::Closed)));
    drop(journal);
    let wrong = Replayed::options(Text("prose"), Lines::default).open(&path);
    assert!(
        matches!(wrong, Err(Error::Codec { ref found, ref wanted }) if found == "text" && wanted == "prose"),
        "{wrong:?}"
    );
    assert!(matches!(Journal::open(&path), Err(Error::Codec { .. })));
    let long: &'static str = Box::leak("x".repeat(256).into_boxed_str());
    let refused = Replayed::options(Text(long), Lines::default).open(&path);
    assert!(matches!(refused, Err(Error::Event { position: None, .. })));
}

#[test]
fn a_state_may_go_to_another_thread() {
    fn sends<T: Send>() {}
    fn shares<T: Send + Sync>() {}
    sends::<Replayed<Lines>>();
    shares::<ReplayedOptions<Lines>>();
    shares::<Events<String>>();
    sends::<EventReplay<String>>();
    sends::<Subscription<String>>();
    shares::<Error>();
}

#[test]
fn the_directory_is_the_journals() {
    // Snapshots lie beside the segments, whatever directory it is.
    let dir = FaultDirectory::new(1);
    let mut state = options().open_in(Arc::new(dir.clone())).unwrap();
    record(&mut state, 0..3);
    state.snapshot().unwrap();
    assert!(dir.list().unwrap().contains(&name(3, 1)));
}
