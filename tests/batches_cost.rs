//! What batches cost to read: memory, bytes read, calls and stack, also where they are made to cost much.
#![cfg(feature = "testing")]

mod scenario_support;

use std::io::Cursor;

use allocation_counter::measure;
use documentbuffer::store::fault::CountingStore;
use documentbuffer::{Error, Image, Options, Recovery, Scan};
use scenario_support::docs;
use scenario_support::format::{BATCH, Writer, records_len};

const MIB: u64 = 1 << 20;
/// Bytes that the crate reads at once.
const WINDOW: usize = 512 << 10;

fn begun() -> Writer {
    Writer::new(0xC057)
}

/// What each way to read a store takes at its peak, beyond the store itself.
fn peaks(mut store: Cursor<Vec<u8>>) -> [(&'static str, u64); 4] {
    let options = Options::new();
    let open = measure(|| drop(options.open(&mut store)));
    let open_with = measure(|| drop(options.open_with(&mut store, |_, _| ())));
    let scan = measure(|| {
        let mut scan = Scan::new(&mut store).expect("a header");
        while let Ok(Some(_)) = scan.next() {}
        scan.again().expect("a store without errors");
    });
    let image = measure(|| {
        let mut image = Image::new(store.get_ref()).expect("a header");
        image.recovery().expect("a log");
    });
    [
        ("open", open.bytes_max),
        ("open_with", open_with.bytes_max),
        ("scan", scan.bytes_max),
        ("image", image.bytes_max),
    ]
}

#[test]
fn batches_take_no_more_memory_than_their_largest_document() {
    let small = docs(&[60; 9000]);
    let large = docs(&[10, 3 << 20, 10]);
    let lone = docs(&[250_000; 40]);
    let mut many = begun();
    for _ in 0..8 {
        many = many.batch(&small);
    }
    let claim = begun().batch_of(u32::MAX, u64::MAX).documents(&lone);
    let over = begun().batch_of(41, records_len(&lone)).documents(&lone);
    for (name, log, longest) in [
        ("eight of small ones", many, 60),
        (
            "one of large ones",
            begun().batch(&lone).batch(&lone),
            250_000,
        ),
        (
            "large ones between",
            begun().batch(&large).batch(&large),
            3 << 20,
        ),
        ("a claim", claim, 0),
        ("one too many", over, 0),
        ("cut", begun().batch_of(40, 1 << 33).documents(&lone), 0),
    ] {
        let peaks = peaks(Cursor::new(log.end().bytes));
        println!("{name}: {peaks:?}");
        let over: Vec<_> = peaks
            .iter()
            .filter(|(_, peak)| *peak > longest + MIB)
            .collect();
        assert!(over.is_empty(), "{name}: {over:?}");
    }
}

/// Opens a store; bytes read, and calls.
fn asked(image: Vec<u8>) -> (u64, u64) {
    let mut store = CountingStore::new(Cursor::new(image));
    let opened = Options::new().open(&mut store).map(drop);
    let error = opened.err().map(|failed| failed.error);
    assert!(matches!(error, None | Some(Error::Segment)), "{error:?}");
    (store.read_bytes(), store.calls().total())
}

#[test]
fn batches_in_batches_cost_no_more_than_others() {
    let depth = 200_000u64;
    let len = depth * BATCH as u64;
    let empty = begun().bytes.len();
    // Each claims all that stand behind it; as many documents as that could be, or none.
    for documents in [0, 1, u32::MAX] {
        for short in [0, 1, 29, WINDOW as u64, len] {
            let mut log = begun();
            for left in (0..depth).rev() {
                let behind = left * BATCH as u64;
                log = log.batch_of(documents, behind.saturating_sub(short));
            }
            let image = log.bytes;
            let (read, calls) = asked(image.clone());
            assert!(read <= 2 * image.len() as u64 + MIB, "{read} bytes");
            assert!(calls <= 200, "{calls} calls");
            let found = read_deep(&image);
            assert_eq!(found.documents, 0);
            // Only a BATCH of nothing may be passed over.
            let claims = documents > 0 || short < len;
            assert_eq!(found.offset == empty as u64, claims);
        }
    }
}

/// What a scan finds, in a thread with little stack.
fn read_deep(image: &[u8]) -> Recovery {
    let scan = || {
        let mut scan = Scan::new(Cursor::new(image)).expect("a header");
        while scan.next().expect("a log").is_some() {}
        scan.recovery().expect("the end").clone()
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(128 << 10);
        let thread = thread.spawn_scoped(scope, scan).expect("a thread");
        thread.join().expect("no panic")
    })
}

#[test]
fn a_long_batch_is_read_twice_and_a_short_one_once() {
    let (short, long) = (docs(&[1000; 300]), docs(&[1000; 1000]));
    for (batch, passes) in [(&short, 1), (&long, 2)] {
        let mut log = begun();
        for _ in 0..12 {
            log = log.batch(batch);
        }
        let image = log.end().bytes;
        let size = image.len() as u64;
        let (read, _) = asked(image);
        // What is held of the next batch when one has been proven is read again.
        let most = passes * size + size / 2 + MIB;
        assert!(read <= most, "{read} of {size} bytes read");
    }
}
