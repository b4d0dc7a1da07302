//! Golden files of format version 1: what is in the repository opens to exactly this, and the same calls
//! still write exactly that.
//!
//! `DOCUMENTBUFFER_BLESS=1 cargo test --test golden` writes the files anew. A changed file means that the
//! format has changed: what earlier releases wrote must still be read, so add files and keep these.

// This test uses a part of it.
#[allow(dead_code, unreachable_pub)]
#[path = "scenario_support/format.rs"]
mod format;

use std::io::Cursor;
use std::path::PathBuf;

use documentbuffer::{
    Accept, DocumentBuffer, End, Error, Image, Options, Reason, Recovery, Salvage, Scan,
};
use format::{Segment, Writer};

type Log = DocumentBuffer<Cursor<Vec<u8>>>;

struct Golden {
    name: &'static str,
    /// Writes the bytes from nothing.
    write: fn() -> Vec<u8>,
    documents: Vec<Vec<u8>>,
    end: End,
    /// What salvage finds, where it is more.
    salvaged: usize,
    /// Whether only a journal writes such a log, which a buffer does not open.
    of_journal: bool,
}

/// Another seed for each life, as every life draws other numbers.
fn open(life: u64, store: Vec<u8>) -> Log {
    let options = Options::new().seed(0x0D0C_B0FF + life);
    options.open(Cursor::new(store)).expect("a log")
}

fn close(log: Log) -> Vec<u8> {
    let (end, store) = log.finish().expect("memory");
    let bytes = store.into_inner();
    assert_eq!(bytes.len() as u64, end);
    bytes
}

fn several() -> Vec<Vec<u8>> {
    let text = "the quick brown fox jumps over the lazy dog";
    vec![
        text.into(),
        Vec::new(),
        vec![0x00; 40],
        vec![0xFF; 40],
        "\u{1F98A} na\u{EF}ve".into(),
        (0..=255).collect(),
        vec![0x00],
    ]
}

fn write_several() -> Vec<u8> {
    let mut log = open(0, Vec::new());
    log.push_all(several()).expect("memory");
    close(log)
}

fn write_empty() -> Vec<u8> {
    let options = Options::new().seed(1).memory(0);
    let mut log = options.open(Cursor::new(Vec::new())).expect("new");
    log.push("taken back").expect("memory");
    log.pop().expect("memory");
    close(log)
}

fn write_one() -> Vec<u8> {
    let mut log = open(0, Vec::new());
    log.push("one").expect("memory");
    close(log)
}

/// Three lives: marks after each opening and after each time the end moved down.
fn write_marks() -> Vec<u8> {
    let mut log = open(0, Vec::new());
    log.push_all(["a", "bb", "ccc"]).expect("memory");
    log.flush().expect("memory");
    log.pop().expect("memory");
    log.flush().expect("memory");
    log.push("dddd").expect("memory");
    let mut log = open(1, close(log));
    log.push("eeeee").expect("memory");
    log.flush().expect("memory");
    log.push("ffffff").expect("memory");
    let mut log = open(2, close(log));
    log.remove(2).expect("memory");
    log.push("ggggggg").expect("memory");
    close(log)
}

/// The log is shorter than the store: documents that were taken back stand behind its END.
fn write_stale() -> Vec<u8> {
    let mut log = open(0, Vec::new());
    log.push_all(several()).expect("memory");
    log.sync().expect("memory");
    log.truncate_after(2).expect("memory");
    let (end, store) = log.close().expect("memory");
    let bytes = store.into_inner();
    assert!(end < bytes.len() as u64);
    bytes
}

fn write_torn() -> Vec<u8> {
    let mut bytes = write_several();
    bytes.truncate(bytes.len() - 33 - 17 - 100);
    bytes
}

fn write_unterminated() -> Vec<u8> {
    let mut bytes = write_several();
    bytes.truncate(bytes.len() - 33);
    bytes
}

/// Space written ahead, or an extension whose bytes were lost.
fn write_zeros() -> Vec<u8> {
    let mut bytes = write_unterminated();
    bytes.resize(bytes.len() + 100, 0);
    bytes
}

/// One bit of the third document is not what it was.
fn write_suspect() -> Vec<u8> {
    let mut bytes = write_several();
    bytes[64 + 16 + (43 + 16) + 16 + 4 + 20] ^= 0x10;
    bytes
}

/// The first copy of the header is gone.
fn write_header() -> Vec<u8> {
    let mut bytes = write_one();
    bytes[..32].fill(0xFF);
    bytes
}

/// Batches are a journal's: these are written from the description of the format.
fn write_batch() -> Vec<u8> {
    let all = several();
    let log = Writer::new(0x0D0C_BA7C).document(&all[0]).mark(0x0123_4567);
    let log = log.batch(&all[1..4]).batch(&all[4..6]).document(&all[6]);
    log.end().bytes
}

/// The last document of the second batch is cut short.
fn write_batch_cut() -> Vec<u8> {
    let all = several();
    let log = Writer::new(0x0D0C_BA7C).document(&all[0]).mark(0x0123_4567);
    let mut bytes = log.batch(&all[1..4]).batch(&all[4..6]).bytes;
    bytes.truncate(bytes.len() - 5);
    bytes
}

fn write_segment() -> Vec<u8> {
    let all = several();
    let segment = Segment {
        journal: 0x0F0E_0D0C_0B0A_0908_0706_0504_0302_0100,
        sequence: 3,
        base: 1_000_000,
        born: 1_700_000_000_123_456,
        from: (2, 0x0012_3456, 0x89AB_CDEF, 700_000, 1 << 26),
        codec: "json",
    };
    let log = Writer::new(0x0D0C_5E67).segment(&segment);
    let log = log.document(&all[0]).batch(&all[1..5]).mark(0x0765_4321);
    log.batch(&all[5..]).end().bytes
}

fn golden(name: &'static str, write: fn() -> Vec<u8>, documents: Vec<Vec<u8>>, end: End) -> Golden {
    Golden {
        name,
        write,
        salvaged: documents.len(),
        documents,
        end,
        of_journal: false,
    }
}

fn all() -> Vec<Golden> {
    let some = |n| several()[..n].to_vec();
    let bytes = |all: &[&str]| all.iter().map(|text| text.as_bytes().to_vec()).collect();
    let third = 64 + 16 + (43 + 16) + 16;
    let second_batch = third + (13 + 16) + 2 * (40 + 16);
    let sixth = third + 2 * (40 + 16) + (11 + 16);
    vec![
        golden("empty", write_empty, vec![], End::Clean),
        golden("one", write_one, bytes(&["one"]), End::Clean),
        golden("several", write_several, several(), End::Clean),
        golden(
            "marks",
            write_marks,
            bytes(&["a", "bb", "dddd", "ggggggg"]),
            End::Clean,
        ),
        Golden {
            salvaged: 7 - 1,
            ..golden("stale", write_stale, some(2), End::Clean)
        },
        golden(
            "torn",
            write_torn,
            some(5),
            End::Torn {
                offset: sixth,
                reason: Reason::Cut,
            },
        ),
        golden(
            "unterminated",
            write_unterminated,
            several(),
            End::Unterminated,
        ),
        golden("zeros", write_zeros, several(), End::Unterminated),
        Golden {
            salvaged: 6,
            ..golden(
                "suspect",
                write_suspect,
                some(2),
                End::Suspect {
                    offset: third,
                    records: 4,
                },
            )
        },
        golden("header", write_header, bytes(&["one"]), End::Clean),
        Golden {
            of_journal: true,
            ..golden("batch", write_batch, several(), End::Clean)
        },
        Golden {
            salvaged: 5,
            of_journal: true,
            ..golden(
                "batch-cut",
                write_batch_cut,
                some(4),
                End::Suspect {
                    offset: second_batch,
                    records: 1,
                },
            )
        },
        Golden {
            of_journal: true,
            ..golden("segment", write_segment, several(), End::Clean)
        },
    ]
}

fn path(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    dir.join(format!("v1-{name}.log"))
}

#[test]
fn the_same_calls_write_the_same_bytes() {
    let bless = std::env::var_os("DOCUMENTBUFFER_BLESS").is_some();
    for Golden { name, write, .. } in all() {
        let written = write();
        if bless {
            std::fs::write(path(name), &written).expect("a writable checkout");
        }
        let golden = std::fs::read(path(name)).expect(name);
        let differ = golden.iter().zip(&written).position(|(a, b)| a != b);
        assert_eq!(
            (golden.len(), None),
            (written.len(), differ),
            "{name}: length, and first offset that differs"
        );
    }
}

#[test]
fn every_reader_finds_what_was_written() {
    for golden in all() {
        let name = golden.name;
        let bytes = std::fs::read(path(name)).expect(name);
        let mut handed = Vec::new();
        let opened = Options::new().memory(100).open_with(
            Cursor::new(bytes.clone()),
            |position, document| {
                assert_eq!(position, handed.len() as u64);
                handed.push(document.to_vec());
            },
        );
        assert_eq!(handed, golden.documents, "{name}");
        let recovery = check_unopened(&golden, &bytes);
        assert_eq!(recovery.end, golden.end, "{name}");
        match opened {
            Err(refused) => {
                assert!(golden.of_journal, "{name}: {refused}");
                assert!(matches!(refused.error, Error::Segment), "{name}: {refused}");
            }
            Ok(mut log) => {
                assert!(!golden.of_journal, "{name}");
                assert_eq!(log.recovery(), &recovery, "{name}");
                let replayed: Vec<_> = log.replay().collect::<Result<_, _>>().expect(name);
                assert_eq!(replayed, golden.documents, "{name}");
                let mut newest: Vec<_> = log.iter().collect::<Result<_, _>>().expect(name);
                newest.reverse();
                assert_eq!(newest, golden.documents, "{name}");
            }
        }
        let strict = Options::new().accept(Accept::Strict);
        let strict = strict.open(Cursor::new(bytes));
        let clean = golden.end == End::Clean && !golden.of_journal;
        assert_eq!(strict.is_ok(), clean, "{name}");
    }
}

/// What readers find that are no buffer.
fn check_unopened(golden: &Golden, bytes: &[u8]) -> Recovery {
    let name = golden.name;
    let mut scan = Scan::new(Cursor::new(bytes)).expect(name);
    for document in &golden.documents {
        let next = scan.next().expect(name).expect(name);
        assert_eq!(next.bytes, document, "{name}");
    }
    assert!(scan.next().expect(name).is_none(), "{name}");
    let recovery = scan.recovery().expect(name).clone();

    let mut image = Image::new(bytes).expect(name);
    let lent = image.by_ref().map(|document| document.expect(name).bytes);
    assert!(lent.eq(&golden.documents), "{name}");
    assert_eq!(image.recovery().expect(name), recovery, "{name}");

    let second = format::read(bytes).expect(name);
    assert_eq!(second.documents(), golden.documents, "{name}");
    let of_journal = second.segment || !second.batches.is_empty();
    assert_eq!(of_journal, golden.of_journal, "{name}");

    let mut salvage = Salvage::new(Cursor::new(bytes)).expect(name);
    let mut salvaged = 0;
    while salvage.next().expect(name).is_some() {
        salvaged += 1;
    }
    assert_eq!(salvaged, golden.salvaged, "{name}");
    recovery
}

#[test]
fn every_log_goes_on() {
    for golden in all().into_iter().filter(|golden| !golden.of_journal) {
        let name = golden.name;
        let mut log = open(9, std::fs::read(path(name)).expect(name));
        log.push("and on").expect(name);
        let mut log = open(10, close(log));
        assert_eq!(log.recovery().end, End::Clean, "{name}");
        assert_eq!(log.pop().expect(name).as_deref(), Some(&b"and on"[..]));
        let rest: Vec<_> = log.replay().collect::<Result<_, _>>().expect(name);
        assert_eq!(rest, golden.documents, "{name}");
    }
}

#[test]
fn no_golden_file_is_left_untested() {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let known: Vec<_> = all().iter().map(|golden| path(golden.name)).collect();
    for entry in std::fs::read_dir(dir).expect("the directory") {
        let entry = entry.expect("an entry").path();
        assert!(known.contains(&entry), "{entry:?}");
    }
}
