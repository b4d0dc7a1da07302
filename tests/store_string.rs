//! `ReadWriteSeekString` step by step against the standard library's cursor and a real file.

use documentbuffer::store::{ReadWriteSeekString, Store};
use proptest::prelude::*;
use std::fmt::Debug;
use std::io::{self, Cursor, ErrorKind, Read, Seek, SeekFrom, Write};

#[derive(Clone, Debug)]
enum Op {
    Read(usize),
    Write(Vec<u8>),
    Start(u64),
    Current(i64),
    End(i64),
    SetLen(u64),
    Sync,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    // An empty write behind the end pads a cursor but not a file, so at least one byte is written.
    let op = prop_oneof![
        5 => (0usize..40).prop_map(Op::Read),
        5 => prop::collection::vec(any::<u8>(), 1..40).prop_map(Op::Write),
        5 => (0u64..200).prop_map(Op::Start),
        5 => (-200i64..100).prop_map(Op::Current),
        5 => (-200i64..100).prop_map(Op::End),
        5 => (0u64..200).prop_map(Op::SetLen),
        1 => Just(Op::Sync),
    ];
    prop::collection::vec(op, 1..60)
}

fn step<S: Store>(store: &mut S, op: &Op) -> Result<(u64, Vec<u8>), ErrorKind> {
    let outcome = match op {
        Op::Read(count) => {
            let mut bytes = vec![0; *count];
            store.read(&mut bytes).map(|count| {
                bytes.truncate(count);
                (count as u64, bytes)
            })
        }
        Op::Write(bytes) => store.write(bytes).map(|count| (count as u64, Vec::new())),
        Op::Start(at) => store.seek(SeekFrom::Start(*at)).map(|at| (at, Vec::new())),
        Op::Current(by) => store
            .seek(SeekFrom::Current(*by))
            .map(|at| (at, Vec::new())),
        Op::End(by) => store.seek(SeekFrom::End(*by)).map(|at| (at, Vec::new())),
        Op::SetLen(len) => store.set_len(*len).map(|()| (0, Vec::new())),
        Op::Sync => store.sync().map(|()| (0, Vec::new())),
    };
    outcome.map_err(|error| error.kind())
}

fn same<T: PartialEq + Debug>(op: &Op, ours: &T, cursor: &T, file: &T) {
    assert_eq!(ours, cursor, "{op:?} against the cursor");
    assert_eq!(ours, file, "{op:?} against the file");
}

fn contents(store: &mut impl Store) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    store.rewind()?;
    store.read_to_end(&mut bytes)?;
    Ok(bytes)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn it_is_a_cursor_and_a_file(start in prop::collection::vec(any::<u8>(), 0..60), ops in ops()) {
        let mut ours = ReadWriteSeekString::from(start.clone());
        let mut cursor = Cursor::new(start.clone());
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&start).unwrap();
        file.rewind().unwrap();
        for op in &ops {
            let outcomes = (step(&mut ours, op), step(&mut cursor, op), step(&mut file, op));
            same(op, &outcomes.0, &outcomes.1, &outcomes.2);
            let at = (
                ours.stream_position().unwrap(),
                cursor.stream_position().unwrap(),
                file.stream_position().unwrap(),
            );
            same(op, &at.0, &at.1, &at.2);
            prop_assert_eq!(ours.as_bytes(), &cursor.get_ref()[..]);
        }
        let all = contents(&mut ours).unwrap();
        prop_assert_eq!(&all, cursor.get_ref());
        prop_assert_eq!(&all, &contents(&mut file).unwrap());
        prop_assert_eq!(&all, &ours.into_bytes());
    }
}

#[test]
fn a_write_out_of_reach_is_an_error_and_changes_nothing() {
    let mut store = ReadWriteSeekString::from("kept");
    for at in [u64::MAX - 2, u64::MAX / 2, 1 << 60] {
        assert_eq!(store.seek(SeekFrom::Start(at)).unwrap(), at);
        let error = store.write(b"far").unwrap_err();
        assert!(
            matches!(
                error.kind(),
                ErrorKind::StorageFull | ErrorKind::FileTooLarge
            ),
            "{error:?}"
        );
        assert_eq!(store.read(&mut [0; 4]).unwrap(), 0);
        assert_eq!(store.stream_position().unwrap(), at);
        assert_eq!(
            store.set_len(at).unwrap_err().kind(),
            ErrorKind::StorageFull
        );
    }
    assert_eq!(store.into_string().unwrap(), "kept");
}

#[test]
fn seeks_out_of_range_are_refused_and_the_position_stays() {
    let mut store = ReadWriteSeekString::from("abc");
    store.seek(SeekFrom::Start(2)).unwrap();
    for to in [
        SeekFrom::Current(-3),
        SeekFrom::End(-4),
        SeekFrom::End(i64::MIN),
    ] {
        assert_eq!(store.seek(to).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(store.stream_position().unwrap(), 2);
    }
    store.seek(SeekFrom::Start(u64::MAX)).unwrap();
    assert_eq!(
        store.seek(SeekFrom::Current(1)).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
}

#[test]
fn an_empty_write_behind_the_end_extends_nothing_as_in_a_file() {
    let mut ours = ReadWriteSeekString::new();
    let mut file = tempfile::tempfile().unwrap();
    for store in [&mut ours as &mut dyn Store, &mut file] {
        store.seek(SeekFrom::Start(10)).unwrap();
        assert_eq!(store.write(b"").unwrap(), 0);
        assert_eq!(store.seek(SeekFrom::End(0)).unwrap(), 0);
    }
}

#[test]
fn bytes_become_a_string_only_if_they_are_utf8() {
    let mut store = ReadWriteSeekString::from(String::from("é"));
    store.write_all(b"x").unwrap();
    let error = store.clone().into_string().unwrap_err();
    assert_eq!(error.into_bytes(), b"x\xa9");
    store.write_all(b"y").unwrap();
    assert_eq!(store.into_string().unwrap(), "xy");
}

#[test]
fn debug_shows_no_contents() {
    let store = ReadWriteSeekString::from("secret");
    assert_eq!(
        format!("{store:?}"),
        "ReadWriteSeekString { len: 6, position: 0 }"
    );
}
