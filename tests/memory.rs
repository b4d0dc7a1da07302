//! How much memory is taken, by a counting allocator, and how often the store is called.
#![cfg(feature = "testing")]

mod scenario_support;

use std::io::{Cursor, Read, Seek, SeekFrom, Write};

use allocation_counter::measure;
use documentbuffer::store::fault::{CountingStore, Rng, SparseStore};
use documentbuffer::{DocumentBuffer, Options, Salvage, Scan, Store};
use scenario_support::doc;
use scenario_support::format::{LONGEST, OVERHEAD, Writer};

const MIB: u64 = 1 << 20;

/// Peak bytes while `run` runs, in this thread.
fn peak(run: impl FnOnce()) -> u64 {
    measure(run).bytes_max
}

/// Opens, replays, scans, streams and salvages a store; the peak of each.
fn read_in_every_way<S: Store>(
    mut store: S,
    options: &Options,
    max: usize,
) -> [(&'static str, u64); 6] {
    let mut opened = |each: &mut dyn FnMut(DocumentBuffer<&mut S>)| {
        peak(|| {
            if let Ok(buffer) = options.open(&mut store) {
                each(buffer);
            }
        })
    };
    let open = opened(&mut |_| ());
    let iter = opened(&mut |mut buffer| {
        let mut iter = buffer.iter();
        while let Ok(Some(_)) = iter.next() {}
    });
    let replay = opened(&mut |mut buffer| {
        let mut replay = buffer.replay();
        while let Ok(Some(_)) = replay.next() {}
    });
    let open_with = peak(|| drop(options.open_with(&mut store, |_, _| ())));
    let scan = peak(|| {
        if let Ok(scan) = Scan::new(&mut store) {
            let mut scan = scan.max_document(max);
            while let Ok(Some(_)) = scan.next() {}
        }
    });
    let salvage = peak(|| {
        if let Ok(mut salvage) = Salvage::new(&mut store) {
            while let Ok(Some(_)) = salvage.next() {}
        }
    });
    [
        ("open", open),
        ("iter", iter),
        ("replay", replay),
        ("open_with", open_with),
        ("scan", scan),
        ("salvage", salvage),
    ]
}

/// Asserts min(largest document, bytes present) + 1 MiB.
fn check<S: Store>(name: &str, mut store: S, options: &Options, max: usize) {
    let present = store.seek(SeekFrom::End(0)).expect("a length");
    let bound = present.min(max as u64) + MIB;
    let ways = read_in_every_way(store, options, max);
    println!("{name}, {bound} bytes allowed: {ways:?}");
    let over: Vec<_> = ways.iter().filter(|(_, peak)| *peak > bound).collect();
    assert!(over.is_empty(), "{name}, {bound} bytes allowed: {over:?}");
}

fn log_of(documents: usize, len: usize) -> Cursor<Vec<u8>> {
    let mut buffer = Options::new().open(Cursor::new(Vec::new())).expect("new");
    let document = doc(1, len);
    for _ in 0..documents {
        buffer.push(&document).expect("push");
    }
    let (_, mut store) = buffer.close().expect("close");
    store.get_mut().shrink_to_fit();
    store
}

/// Good logs of 1 and 64 MiB, of small and of large documents.
#[test]
fn reading_any_log_takes_the_largest_document_and_a_mib() {
    for (len, total) in [
        (60, 1 << 20),
        (60, 64 << 20),
        (5000, 64 << 20),
        (1_000_000, 64 << 20),
    ] {
        let store = log_of(total / (len + OVERHEAD), len);
        let name = format!("{total} bytes of documents of {len}");
        check(&name, store, &Options::new(), len);
    }
    let store = log_of(3, 20 << 20);
    check(
        "three documents of 20 MiB",
        store.clone(),
        &Options::new(),
        20 << 20,
    );
    // A maximum below what is there.
    let options = Options::new().max_document(1 << 20);
    let open = peak(|| drop(options.open(store.clone()))) - store.get_ref().len() as u64;
    assert!(open <= 2 * MIB, "{open} bytes");
}

/// Lengths that are claimed and not there, or there and not a document.
#[test]
fn a_claimed_length_costs_nothing() {
    let log = Writer::new(1).document(b"one");
    for len in [100, 1 << 16, 1 << 20, 1 << 24, LONGEST as u32] {
        let word = len << 2 | 1;
        let mut image = log.bytes.clone();
        image.extend(word.to_le_bytes());
        image.extend([0x5A; 300]);
        check(
            "a claim with nothing behind",
            Cursor::new(image.clone()),
            &Options::new(),
            LONGEST,
        );
        // All of it there, with a tail that agrees and a checksum that does not.
        let mut store = SparseStore::new();
        store.write_all(&image).expect("sparse");
        let tail = log.bytes.len() as u64 + u64::from(len) + 12;
        store.seek(SeekFrom::Start(tail)).expect("sparse");
        store
            .write_all(&(word ^ 0x5AC3_A53C).to_le_bytes())
            .expect("sparse");
        store.write_all(&[1; 5000]).expect("sparse");
        check("a claim with zeros behind", store, &Options::new(), 3);
    }
}

/// Bytes made to look like records at every place, random bytes, zeros, ones.
#[test]
fn hostile_bytes_cost_no_more_than_good_ones() {
    let mut rng = Rng::new(7);
    let good = Writer::new(1).document(b"one").bytes;
    let with = |rest: Vec<u8>| Cursor::new([good.clone(), rest].concat());
    let mut random = vec![0; 4 << 20];
    rng.fill(&mut random);
    check("random bytes", with(random.clone()), &Options::new(), 3);
    check("no header", Cursor::new(random), &Options::new(), 3);
    check("zeros", Cursor::new(vec![0; 8 << 20]), &Options::new(), 3);
    check("ones", with(vec![0xFF; 8 << 20]), &Options::new(), 3);
    // A first word at every fourth byte, a tail that agrees with it a little behind.
    let mut framed = Vec::new();
    while framed.len() < 1 << 20 {
        let len = 4 * rng.below(2000) as u32;
        let word = len << 2 | 1;
        framed.extend(word.to_le_bytes());
        framed.extend((word ^ 0x5AC3_A53C).to_le_bytes());
    }
    check("frames", with(framed), &Options::new(), 8000);
}

/// A buffer under a long random workload stays within its limit, the largest document and 1 MiB.
#[test]
fn a_buffer_at_work_stays_within_its_limit() {
    for memory in [0usize, 64 << 10, 4 << 20] {
        for longest in [100, 3000, 300_000] {
            // The store's own memory does not count: it is a file, unlinked while in use.
            let file = tempfile::tempfile().expect("a file");
            let mut hand = Vec::with_capacity(longest);
            let documents: Vec<Vec<u8>> = (0..16).map(|i| doc(i, longest >> (i / 3))).collect();
            let used = peak(|| {
                let mut rng = Rng::new(memory as u64 + longest as u64);
                let options = Options::new().memory(memory).seed(1);
                let mut buffer = options.open_bare(file).expect("new");
                let mut bytes = 0u64;
                for _ in 0..30_000 {
                    // Long runs up and down, so that memory fills and empties.
                    let up =
                        rng.below(100) < 50 + 20 * (bytes / (16 << 20)).is_multiple_of(2) as u64;
                    match rng.below(200) {
                        0 => buffer.flush().expect("flush"),
                        1 => drop(buffer.peek().expect("peek")),
                        2 => {
                            let keep = buffer.len().saturating_sub(rng.below(20));
                            buffer.truncate_after(keep).expect("cut");
                        }
                        _ if up => {
                            let document = &documents[rng.below(16) as usize];
                            bytes += document.len() as u64;
                            buffer.push(document).expect("push");
                        }
                        _ => {
                            buffer.pop_into(&mut hand).expect("pop");
                        }
                    }
                    assert!(buffer.stats().cached_bytes <= memory);
                }
            });
            let bound = (memory + longest) as u64 + MIB;
            println!("memory {memory}, documents up to {longest}: {used} bytes, {bound} allowed");
            assert!(
                used <= bound,
                "memory {memory}, documents up to {longest}: {used} over {bound}"
            );
        }
    }
}

fn counting(memory: usize) -> DocumentBuffer<CountingStore<Cursor<Vec<u8>>>> {
    let store = CountingStore::new(Cursor::new(Vec::new()));
    Options::new()
        .memory(memory)
        .seed(1)
        .open(store)
        .expect("new")
}

/// Push, push, pop, pop at any fill level, also exactly at the border of memory.
#[test]
fn push_push_pop_pop_at_the_border_calls_the_store_once_in_a_block() {
    for memory in [64usize << 10, 1 << 20, 4 << 20] {
        let document = doc(1, 84);
        let record = document.len() + OVERHEAD;
        let mut hand = Vec::new();
        let (mut silent, mut levels) = (0, 0);
        // Fill levels around every multiple of half a block, up to twice the memory.
        let half = (memory / 2).min(1 << 20) / 2 / record;
        for multiple in 0..=2 * memory / record / half {
            for offset in [0, 1, 2, 3] {
                let mut buffer = counting(memory);
                let fill = (multiple * half + offset).saturating_sub(2);
                for _ in 0..fill {
                    buffer.push(&document).expect("push");
                }
                let mut cycle = |buffer: &mut DocumentBuffer<_>| {
                    buffer.push(&document).expect("push");
                    buffer.push(&document).expect("push");
                    buffer.pop_into(&mut hand).expect("pop");
                    buffer.pop_into(&mut hand).expect("pop");
                };
                // The border itself may be crossed once.
                (0..4).for_each(|_| cycle(&mut buffer));
                let before = buffer.get_ref().calls().total();
                (0..1000).for_each(|_| cycle(&mut buffer));
                let calls = buffer.get_ref().calls().total() - before;
                levels += 1;
                silent += u32::from(calls == 0);
                assert_eq!(calls, 0, "memory {memory}, {fill} documents");
            }
        }
        println!("memory {memory}: {silent} of {levels} fill levels without a call");
    }
}

/// Store calls for each operation in long runs: as many as there are blocks, and no more.
#[test]
fn long_runs_call_the_store_once_for_each_block() {
    for memory in [64usize << 10, 256 << 10, 1 << 20, 4 << 20] {
        let document = doc(1, 84);
        let record = document.len() + OVERHEAD;
        let block = (memory / 2).min(1 << 20);
        let runs = 40 * memory / record;
        let blocks = (runs * record / block) as u64;
        let mut buffer = counting(memory);
        let mut hand = Vec::new();
        for _ in 0..runs {
            buffer.push(&document).expect("push");
        }
        let up = buffer.get_ref().calls();
        for _ in 0..runs {
            assert!(buffer.pop_into(&mut hand).expect("pop"));
        }
        let both = buffer.get_ref().calls();
        let down = both.total() - up.total();
        println!(
            "memory {memory}: {runs} pushes {} calls, {runs} pops {down} calls, {blocks} blocks",
            up.total()
        );
        // A write, a seek before it and a look at the position behind it; creation takes a few.
        assert!(up.writes <= blocks + 8, "{up:?}, {blocks} blocks");
        assert!(up.total() <= 3 * blocks + 24, "{up:?}, {blocks} blocks");
        // Going down: the newest record's tail, then a block.
        assert!(down <= 6 * blocks + 24, "{down} calls, {blocks} blocks");
        assert_eq!(both.writes, up.writes, "popping writes nothing");
    }
}

/// Random walks: what the store is asked stays a small part of what the buffer is asked.
#[test]
fn random_walks_rarely_touch_the_store() {
    for memory in [64usize << 10, 1 << 20] {
        let mut rng = Rng::new(3);
        let mut buffer = counting(memory);
        let document = doc(1, 84);
        let mut hand = Vec::new();
        let operations = 2_000_000u64;
        for _ in 0..operations {
            if rng.below(2) == 0 {
                buffer.push(&document).expect("push");
            } else {
                buffer.pop_into(&mut hand).expect("pop");
            }
        }
        let calls = buffer.get_ref().calls().total();
        let per_block = operations / (memory as u64 / 2 / 100);
        println!("memory {memory}: {calls} calls in {operations} operations");
        assert!(calls <= 8 * per_block, "{calls} calls");
    }
}

/// Opening reads each byte about once.
#[test]
fn opening_reads_the_store_once() {
    for (documents, len) in [(100_000, 60), (200, 40_000), (4, 3_000_000)] {
        let store = log_of(documents, len);
        let size = store.get_ref().len() as u64;
        let mut store = CountingStore::new(store);
        drop(Options::new().open(&mut store).expect("a log"));
        // A document longer than the window is looked at from its tail first.
        let most = size + size / 8 + MIB;
        let read = store.read_bytes();
        assert!(read <= most, "{read} of {size} bytes read");
        let mut all = Vec::new();
        store.seek(SeekFrom::Start(0)).expect("a seek");
        store.read_to_end(&mut all).expect("a read");
        assert_eq!(store.calls().writes, 0);
    }
}
