//! Any bytes as a store: nothing panics, hangs or takes more memory than promised, and all readers agree
//! with one another and with a second, naive reader of the format.
//!
//! Run in `fuzz/`, on stable, with a C++ compiler:
//!
//! ```sh
//! mkdir -p corpus/open artifacts
//! cargo run --release --bin open -- -max_len=4096 -max_total_time=60 \
//!     -artifact_prefix=artifacts/ corpus/open ../tests/golden
//! cargo run --release --bin open -- artifacts/crash-... # replays one input
//! ```
//!
//! (or `cargo fuzz run open`). `src/craft.rs` makes a store of the input behind its first two bytes.

#![no_main]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Cursor;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use documentbuffer::store::fault::{Chunks, FaultStore};
use documentbuffer::{Accept, Again, DocumentBuffer, End, Error, Image, Options, Salvage, Scan};
use documentbuffer_fuzz::reference::{self, Log, Stop};
use documentbuffer_fuzz::{Input, craft};
use libfuzzer_sys::fuzz_target;

/// Counts what is allocated, to hold the crate to its word.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn took(bytes: usize) {
    PEAK.fetch_max(NOW.fetch_add(bytes, Relaxed) + bytes, Relaxed);
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// What `work` took at its peak beyond what was there before.
fn peak<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = NOW.load(Relaxed);
    PEAK.store(before, Relaxed);
    let done = work();
    (done, PEAK.load(Relaxed).saturating_sub(before))
}

type Documents<'a> = Vec<&'a [u8]>;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    // A log as it stands, such as a golden file, is read with the first of all knobs.
    let bare = data.first() == Some(&0x89);
    let knobs = if bare { 0 } else { input.u8() };
    let options = Options::new()
        .seed(7)
        .memory([0, 40, 1000, 1 << 20][usize::from(knobs & 3)])
        .memory_documents([usize::MAX, usize::MAX, 3, 0][usize::from(knobs >> 2 & 3)])
        .max_document([64 << 20, 64 << 20, 300, 0][usize::from(knobs >> 4 & 3)]);
    let max = [64 << 20, 64 << 20, 300, 0][usize::from(knobs >> 4 & 3)];
    let chunks = [Chunks::Whole, Chunks::Random][usize::from(knobs >> 6 & 1)];
    let at = if bare { 1 } else { usize::from(input.u8()) };
    // Most stores are small: a large one takes as long as a thousand of them.
    let large = knobs >> 7 == 1 && at & 31 == 1;
    let store = craft::store(&mut input, if large { 1_200_000 } else { 16 << 10 });
    match reference::read(&store) {
        Some(log) => check_log(&store, &log, &options, max, chunks, at),
        None => check_other(&store, &options),
    }
});

fn open(store: &[u8], options: &Options) -> Result<DocumentBuffer<Cursor<Vec<u8>>>, Error> {
    Ok(options.open_bare(Cursor::new(store.to_vec()))?)
}

fn check_other(store: &[u8], options: &Options) {
    let refused = match open(store, options) {
        Ok(buffer) => {
            assert!(buffer.is_empty());
            None
        }
        Err(error) => Some(error),
    };
    let scanned = Scan::new(Cursor::new(store));
    let salvaged = Salvage::new(Cursor::new(store));
    match &refused {
        None => {
            let mut scan = scanned.expect("a new store");
            assert!(scan.next().expect("nothing to read").is_none());
            assert_eq!(scan.recovery().map(|r| r.end), Some(End::Clean));
            let mut salvage = salvaged.expect("a new store");
            assert!(salvage.next().expect("nothing to read").is_none());
        }
        Some(error) => {
            let same = |other: Error| assert_eq!(other.to_string(), error.to_string());
            same(scanned.expect_err("refused").into());
            same(Image::new(store).expect_err("refused"));
            match (salvaged, error) {
                // The records alone may say which salt they were written with.
                (Ok(mut salvage), Error::Corrupt { .. }) => {
                    while salvage.next().expect("a store without errors").is_some() {}
                }
                (salvaged, _) => same(salvaged.map(|_| ()).expect_err("refused").into()),
            }
        }
    }
    // Only content that is not a log of ours may be written over, and only when told to.
    let initialized = open(store, &options.clone().initialize());
    let mut buffer = match (initialized, refused) {
        (Err(Error::Unsupported { .. }), Some(Error::Unsupported { .. })) => return,
        (Ok(buffer), None | Some(Error::Foreign { .. } | Error::Corrupt { .. })) => buffer,
        (got, refused) => panic!("{refused:?}, but initialized {got:?}"),
    };
    buffer.push("").expect("a growing store");
    let (_, store) = buffer.close().expect("a growing store");
    let mut log = open(&store.into_inner(), options).expect("a log");
    assert_eq!((log.len(), log.pop().ok()), (1, Some(Some(Vec::new()))));
}

fn check_log(
    store: &[u8],
    log: &Log<'_>,
    options: &Options,
    max: usize,
    chunks: Chunks,
    at: usize,
) {
    let documents: Documents<'_> = log.documents.iter().map(|(_, bytes)| *bytes).collect();
    let bound = max.min(store.len()) + (1 << 20);
    let copy = Cursor::new(store.to_vec());
    let (opened, took) = peak(|| options.open_bare(copy));
    assert!(took <= bound, "opening took {took} over {}", store.len());
    check_scan(store, log);
    check_image(store, log);
    let salvaged = check_salvage(store, log);
    let buffer = match opened {
        Ok(buffer) => buffer,
        Err(failed) => {
            if log.stop == Stop::Unsupported {
                assert!(matches!(failed.error, Error::Unsupported { .. }));
            } else {
                assert!(log.of_journal && matches!(failed.error, Error::Segment));
                check_handed(store, log, &documents, options, max, chunks);
            }
            assert_eq!(failed.store.into_inner(), store);
            return;
        }
    };
    assert!(log.stop != Stop::Unsupported && !log.of_journal);
    check_end(store, log, &buffer, salvaged);
    check_handed(store, log, &documents, options, max, chunks);
    let end = buffer.recovery().end;
    let buffer = check_streams(buffer, &documents, max);
    check_reads(buffer, store, &documents, max, at);
    if store.len() < 64 << 10 {
        check_accept(store, options, end);
        check_append(store, &documents, options, max, at);
    }
}

/// What opening says of the end.
fn check_end<S>(store: &[u8], log: &Log<'_>, buffer: &DocumentBuffer<S>, salvaged_behind: u64) {
    let recovery = buffer.recovery();
    let sum: usize = log.documents.iter().map(|(_, bytes)| bytes.len()).sum();
    assert_eq!(recovery.documents, log.documents.len() as u64);
    assert_eq!((recovery.bytes, recovery.offset), (sum as u64, log.offset));
    assert_eq!(recovery.store_len, store.len() as u64);
    assert_eq!(buffer.len(), recovery.documents);
    let behind = store.get(log.offset as usize..).unwrap_or_default();
    let zeros = behind.iter().take(1 << 20).all(|byte| *byte == 0);
    match (log.stop, recovery.end) {
        (Stop::End, End::Clean) | (Stop::Boundary, End::Unterminated) => {}
        (Stop::Bad | Stop::Broken, End::Suspect { offset, records }) => {
            assert_eq!(offset, log.offset);
            assert!(records > 0);
            // Over a larger store neither search sees everything.
            assert!(store.len() > 1 << 20 || records == salvaged_behind);
        }
        (Stop::Bad | Stop::Broken, end) => {
            assert!(store.len() > 1 << 20 || salvaged_behind == 0, "{end:?}");
            let torn = matches!(end, End::Torn { offset, .. } if offset == log.offset);
            assert!(if zeros {
                end == End::Unterminated
            } else {
                torn
            });
        }
        other => panic!("{other:?}"),
    }
}

fn check_accept(store: &[u8], options: &Options, end: End) {
    let strict = open(store, &options.clone().accept(Accept::Strict));
    assert_eq!(strict.is_ok(), end == End::Clean);
    let cautious = open(store, &options.clone().accept(Accept::NoSuspect));
    assert_eq!(cautious.is_err(), matches!(end, End::Suspect { .. }));
}

fn check_scan(store: &[u8], log: &Log<'_>) {
    let (mut scan, took) = peak(|| {
        let mut scan = Scan::new(Cursor::new(store)).expect("a log");
        for (position, (offset, bytes)) in log.documents.iter().enumerate() {
            let document = scan.next().expect("intact").expect("one more");
            assert_eq!(document.position, position as u64);
            assert_eq!((document.offset, document.bytes), (*offset, *bytes));
        }
        match scan.next().map(|document| document.is_some()) {
            Ok(more) => {
                assert!(!more && log.stop != Stop::Unsupported);
                let recovery = scan.recovery().expect("at the end").clone();
                assert_eq!((scan.offset(), recovery.offset), (log.offset, log.offset));
            }
            Err(Error::Unsupported { .. }) => assert_eq!(log.stop, Stop::Unsupported),
            Err(error) => panic!("{error}"),
        }
        assert!(scan.next().expect("the end stays").is_none());
        scan
    });
    assert!(took <= store.len() + (1 << 20), "scanning took {took}");
    if let Some(recovery) = scan.recovery().cloned() {
        assert_eq!(scan.again().expect("the same"), Again::Same);
        assert_eq!(scan.recovery(), Some(&recovery));
    }
}

/// The reader of a log that is all in memory.
fn check_image(store: &[u8], log: &Log<'_>) {
    let mut image = Image::new(store).expect("a log");
    for (position, (offset, bytes)) in log.documents.iter().enumerate() {
        let document = image.next().expect("one more").expect("intact");
        assert_eq!(document.position, position as u64);
        assert_eq!((document.offset, document.bytes), (*offset, *bytes));
    }
    match image.recovery() {
        Ok(recovery) => {
            assert_ne!(log.stop, Stop::Unsupported);
            let mut scan = Scan::new(Cursor::new(store)).expect("a log");
            while scan.next().expect("a log").is_some() {}
            assert_eq!(scan.recovery(), Some(&recovery));
        }
        Err(Error::Unsupported { .. }) => assert_eq!(log.stop, Stop::Unsupported),
        Err(error) => panic!("{error}"),
    }
}

/// Salvage gives every document that opening gives, in order; how many it gives at the end or behind.
fn check_salvage(store: &[u8], log: &Log<'_>) -> u64 {
    let (mut count, mut behind, mut last_end, mut gap) = (0, 0, 0, false);
    let ((), took) = peak(|| {
        let mut salvage = Salvage::new(Cursor::new(store)).expect("a log");
        while let Some(found) = salvage.next().expect("a store without errors") {
            assert!(found.offset >= last_end);
            last_end = found.end;
            assert_eq!(last_end, found.offset + found.bytes.len() as u64 + 16);
            gap |= !found.linked;
            if let Some((offset, bytes)) = log.documents.get(count) {
                assert_eq!((found.offset, found.bytes), (*offset, *bytes));
                assert!(found.linked);
                count += 1;
            } else {
                assert!(found.offset >= log.offset);
                // A BATCH that is not whole is a link, and so is a control record of tomorrow.
                let linked = matches!(log.stop, Stop::Broken | Stop::Unsupported);
                assert!(gap || linked, "linked to the last of the log");
                behind += 1;
            }
        }
    });
    assert!(took <= store.len() + (1 << 20), "salvaging took {took}");
    assert_eq!(count, log.documents.len());
    behind
}

/// Every document in the one pass of opening, also through a store with short counts.
fn check_handed(
    store: &[u8],
    log: &Log<'_>,
    documents: &Documents<'_>,
    options: &Options,
    max: usize,
    chunks: Chunks,
) {
    let longest = documents.iter().map(|document| document.len()).max();
    let mut count = 0;
    let mut each = |position: u64, document: &[u8]| {
        assert_eq!(position, count as u64);
        assert_eq!(document, documents[count]);
        count += 1;
    };
    let mut faulty = FaultStore::with_contents(1, store.to_vec());
    faulty.set_chunks(chunks);
    let opened = options.open_with(&mut faulty, &mut each).map(|_| ());
    match opened.map_err(Error::from) {
        Ok(()) => assert!(!log.of_journal && count == documents.len()),
        Err(Error::Segment) => assert!(log.of_journal && count == documents.len()),
        Err(Error::TooLarge { len, max: limit }) => {
            assert!(len > max as u64 && limit == max as u64);
            assert_eq!(documents[count].len() as u64, len);
        }
        Err(error) => panic!("{error}"),
    }
    assert_eq!(count < documents.len(), longest > Some(max));
    assert_eq!(faulty.calls().writes, 0);
    assert_eq!(faulty.view(), store);
}

/// Streaming, in both directions.
fn check_streams(
    mut buffer: DocumentBuffer<Cursor<Vec<u8>>>,
    documents: &Documents<'_>,
    max: usize,
) -> DocumentBuffer<Cursor<Vec<u8>>> {
    let fits = |document: &&[u8]| document.len() <= max;
    let oldest: Documents<'_> = documents.iter().copied().take_while(fits).collect();
    let newest: Documents<'_> = documents.iter().rev().copied().take_while(fits).collect();
    let mut replay = buffer.replay();
    for document in &oldest {
        let next = replay.next().expect("an intact document");
        assert_eq!(next, Some(*document));
    }
    let end = replay.next().map(|next| next.is_some());
    assert!(if oldest.len() < documents.len() {
        matches!(end, Err(Error::TooLarge { .. }))
    } else {
        matches!(end, Ok(false))
    });
    let mut iter = buffer.iter();
    for document in &newest {
        let next = iter.next().expect("an intact document");
        assert_eq!(next, Some(*document));
    }
    let end = iter.next().map(|next| next.is_some());
    assert!(if newest.len() < documents.len() {
        matches!(end, Err(Error::TooLarge { .. }))
    } else {
        matches!(end, Ok(false))
    });
    buffer
}

fn check_reads(
    mut buffer: DocumentBuffer<Cursor<Vec<u8>>>,
    store: &[u8],
    documents: &Documents<'_>,
    max: usize,
    at: usize,
) {
    let fits = |document: &&[u8]| document.len() <= max;
    let newest: Documents<'_> = documents.iter().rev().copied().take_while(fits).collect();
    let some = newest.len().min(at);
    let read = buffer.read(some).expect("intact documents");
    assert!(read.iter().eq(newest.iter().take(some)));
    // What is in memory now is streamed from there.
    let mut buffer = check_streams(buffer, documents, max);

    let mut hand = Vec::new();
    for document in &newest {
        assert_eq!(buffer.peek().expect("an intact document"), Some(*document));
        assert!(buffer.pop_into(&mut hand).expect("an intact document"));
        assert_eq!(hand, *document);
    }
    assert_eq!(buffer.len(), (documents.len() - newest.len()) as u64);
    match buffer.pop() {
        Ok(None) => assert!(buffer.is_empty()),
        Err(Error::TooLarge { .. }) => assert!(!buffer.is_empty()),
        other => panic!("{other:?}"),
    }
    assert_eq!(buffer.into_inner().into_inner(), store);
}

/// Going on over whatever stands behind the end: taken back to `at` documents and one more pushed.
fn check_append(store: &[u8], documents: &Documents<'_>, options: &Options, max: usize, at: usize) {
    let mut buffer = options
        .open(Cursor::new(store.to_vec()))
        .expect("opened before");
    let keep = if at.is_multiple_of(2) {
        at / 2
    } else {
        documents.len()
    };
    let gone = buffer.truncate_after(keep as u64).expect("intact");
    assert_eq!(gone, documents.len().saturating_sub(keep) as u64);
    let new = [at as u8; 3];
    let new = &new[..max.min(3)];
    buffer.push(new).expect("a growing store");
    let (end, store) = buffer.close().expect("a growing store");
    let expected = || documents.iter().take(keep).copied().chain([new]);
    let whole = store.into_inner();
    assert!(end <= whole.len() as u64);
    for store in [&whole[..], &whole[..end as usize]] {
        let log = reference::read(store).expect("a log");
        assert_eq!((log.stop, log.offset + 33), (Stop::End, end));
        assert!(log.documents.iter().map(|(_, d)| *d).eq(expected()));
        let again = open(store, options).expect("a log");
        assert_eq!(again.recovery().end, End::Clean);
        assert_eq!(again.len(), expected().count() as u64);
    }
}
