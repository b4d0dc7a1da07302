//! The buffer against a plain vector, operation by operation, over every store that has no faults.

use std::io::{Cursor, Read, Seek, Write};

use documentbuffer::{DocumentBuffer, Error, Options, ReadWriteSeekString};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Push(usize, u8),
    PushAll(Vec<usize>),
    PushAt(i64),
    Pop,
    Peek,
    Read(usize),
    Remove(usize),
    Truncate(u64),
    Iter,
    Replay,
    Flush,
    Reopen { keep_tail: bool },
}

fn op() -> impl Strategy<Value = Op> {
    let len = prop_oneof![8 => 0usize..40, 2 => 40usize..400, 1 => 400usize..3000];
    prop_oneof![
        8 => (len.clone(), any::<u8>()).prop_map(|(len, byte)| Op::Push(len, byte)),
        2 => prop::collection::vec(len, 0..8).prop_map(Op::PushAll),
        1 => (-1i64..2).prop_map(Op::PushAt),
        6 => Just(Op::Pop),
        2 => Just(Op::Peek),
        1 => (0usize..30).prop_map(Op::Read),
        1 => (0usize..6).prop_map(Op::Remove),
        1 => (0u64..40).prop_map(Op::Truncate),
        1 => Just(Op::Iter),
        1 => Just(Op::Replay),
        2 => Just(Op::Flush),
        1 => any::<bool>().prop_map(|keep_tail| Op::Reopen { keep_tail }),
    ]
}

fn options() -> impl Strategy<Value = Options> {
    let memory = prop_oneof![
        Just(0usize),
        1usize..64,
        64usize..1000,
        1000usize..20_000,
        Just(1 << 20)
    ];
    let documents = prop_oneof![3 => Just(usize::MAX), 1 => 0usize..10];
    (memory, documents, any::<u64>())
        .prop_map(|(memory, n, seed)| Options::new().memory(memory).memory_documents(n).seed(seed))
}

fn newest(model: &[Vec<u8>], n: usize) -> Vec<Vec<u8>> {
    model.iter().rev().take(n).cloned().collect()
}

/// What a store needs for a life after `close`.
trait Reopen: Read + Write + Seek + Sized {
    fn cut(self, end: u64) -> Self;
}

impl Reopen for Cursor<Vec<u8>> {
    fn cut(self, end: u64) -> Self {
        let mut bytes = self.into_inner();
        bytes.truncate(end as usize);
        Cursor::new(bytes)
    }
}

impl Reopen for ReadWriteSeekString {
    fn cut(self, end: u64) -> Self {
        let mut bytes = self.into_bytes();
        bytes.truncate(end as usize);
        ReadWriteSeekString::from(bytes)
    }
}

fn apply<S: Reopen>(
    mut buffer: DocumentBuffer<S>,
    model: &mut Vec<Vec<u8>>,
    options: &Options,
    op: &Op,
) -> Result<DocumentBuffer<S>, Error> {
    match op {
        Op::Push(len, byte) => {
            let document = vec![*byte; *len];
            assert_eq!(buffer.push(&document)?, model.len() as u64);
            model.push(document);
        }
        Op::PushAll(lens) => {
            let documents: Vec<_> = lens.iter().map(|len| vec![*len as u8; *len]).collect();
            assert_eq!(buffer.push_all(&documents)?, lens.len() as u64);
            model.extend(documents);
        }
        Op::PushAt(off) => {
            let expected = model.len() as u64;
            let asked = expected.saturating_add_signed(*off);
            match buffer.push_at(asked, b"at") {
                Ok(position) => {
                    assert_eq!((asked, position), (expected, expected));
                    model.push(b"at".to_vec());
                }
                Err(Error::PositionMismatch {
                    expected: e,
                    actual,
                }) => {
                    assert_eq!((e, actual), (asked, expected));
                    assert_ne!(asked, expected);
                }
                Err(error) => return Err(error),
            }
        }
        Op::Pop => assert_eq!(buffer.pop()?, model.pop()),
        Op::Peek => assert_eq!(buffer.peek()?, model.last().map(Vec::as_slice)),
        Op::Read(n) => assert_eq!(buffer.read(*n)?, newest(model, *n)),
        Op::Remove(n) => {
            assert_eq!(buffer.remove(*n)?, newest(model, *n));
            model.truncate(model.len().saturating_sub(*n));
        }
        Op::Truncate(len) => {
            let gone = (model.len() as u64).saturating_sub(*len);
            assert_eq!(buffer.truncate_after(*len)?, gone);
            model.truncate(*len as usize);
        }
        Op::Iter => {
            let all: Vec<_> = buffer.iter().collect::<Result<_, _>>()?;
            assert_eq!(all, newest(model, usize::MAX));
        }
        Op::Replay => {
            let all: Vec<_> = buffer.replay().collect::<Result<_, _>>()?;
            assert_eq!(&all, model);
        }
        Op::Flush => {
            buffer.flush()?;
            assert_eq!(buffer.cached(), 0);
        }
        Op::Reopen { keep_tail } => {
            let (end, store) = buffer.close()?;
            let store = if *keep_tail { store } else { store.cut(end) };
            let mut seen = Vec::new();
            buffer = options.open_bare_with(store, |position, document| {
                assert_eq!(position, seen.len() as u64);
                seen.push(document.to_vec());
            })?;
            assert_eq!(&seen, model);
            assert_eq!(buffer.recovery().documents, model.len() as u64);
        }
    }
    let stats = buffer.stats();
    assert_eq!(buffer.len(), model.len() as u64);
    assert_eq!(buffer.is_empty(), model.is_empty());
    assert_eq!(
        stats.bytes,
        model.iter().map(|d| d.len() as u64).sum::<u64>()
    );
    assert!(stats.stored_documents <= stats.documents);
    Ok(buffer)
}

fn run<S: Reopen>(store: S, options: &Options, ops: &[Op]) {
    let mut model = Vec::new();
    let mut buffer = options.open_bare(store).expect("an empty store");
    for op in ops {
        buffer = apply(buffer, &mut model, options, op).unwrap_or_else(|e| panic!("{op:?}: {e}"));
    }
    let all: Vec<_> = buffer.iter().collect::<Result<_, _>>().expect("reads");
    assert_eq!(all, newest(&model, usize::MAX));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn behaves_like_a_vector(options in options(), ops in prop::collection::vec(op(), 1..80)) {
        run(Cursor::new(Vec::new()), &options, &ops);
        run(ReadWriteSeekString::new(), &options, &ops);
    }
}

#[test]
fn documents_longer_than_any_window_come_back() {
    for memory in [0, 1000, 3 << 20] {
        let options = Options::new().memory(memory);
        let mut buffer = options.open_bare(Cursor::new(Vec::new())).expect("new");
        let documents: Vec<Vec<u8>> = [600_000usize, 10, 1_200_000, 0, 2_000_000, 700_000]
            .iter()
            .enumerate()
            .map(|(i, len)| (0..*len).map(|b| (b * 31 + i) as u8).collect())
            .collect();
        buffer.push_all(&documents).expect("room");
        let (_, store) = buffer.close().expect("close");
        let mut seen = 0;
        let mut buffer = options
            .open_bare_with(store, |i, d| {
                assert_eq!(d, documents[i as usize]);
                seen += 1;
            })
            .expect("open");
        assert_eq!(seen, 6);
        let all: Vec<_> = buffer.replay().collect::<Result<_, _>>().expect("replay");
        assert_eq!(all, documents);
        let all: Vec<_> = buffer.iter().collect::<Result<_, _>>().expect("iter");
        assert_eq!(all, newest(&documents, 9));
        assert_eq!(buffer.truncate_after(3).expect("walk"), 3);
        assert_eq!(buffer.peek().expect("peek"), Some(&documents[2][..]));
        for document in documents[..3].iter().rev() {
            assert_eq!(buffer.pop().expect("pop").as_ref(), Some(document));
        }
        assert_eq!(buffer.pop().expect("empty"), None);
    }
}

#[test]
fn a_buffer_may_move_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<DocumentBuffer<std::fs::File>>();
    is_send::<DocumentBuffer<documentbuffer::FileStore>>();
    is_send::<Error>();
}
