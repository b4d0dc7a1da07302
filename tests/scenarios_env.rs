//! Scenarios 60 to 68: size, sharing, and what else happens to a store between two lives.
#![cfg(feature = "testing")]

mod scenario_support;

use std::collections::BTreeMap;
use std::io::{self, Cursor, ErrorKind, Read, Seek, SeekFrom, Write};

use documentbuffer::store::fault::{Calls, CrashPlan, Rng};
use documentbuffer::{DocumentBuffer, End, Error, Options, Scan, Store};
use scenario_support::workload::{Op, Script, bytes, expected, perform};
use scenario_support::{
    Disk, Documents, HANDLES, Handle, assert_legal, born, contents, doc, find, format, images, log,
    open, options,
};

const PAGE: usize = 4096;

/// A store without weight: pages of zeros take no room, also those that were written.
#[derive(Default)]
struct Hollow {
    pages: BTreeMap<u64, Box<[u8]>>,
    position: u64,
    len: u64,
}

impl Hollow {
    /// Page, where in it, and how many of `count` bytes lie in it.
    fn place(&self, count: usize) -> (u64, usize, usize) {
        let inside = (self.position % PAGE as u64) as usize;
        (
            self.position / PAGE as u64,
            inside,
            count.min(PAGE - inside),
        )
    }
}

impl Read for Hollow {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.len.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let all = buf.len().min(left);
        let mut done = 0;
        while done < all {
            let (page, at, count) = self.place(all - done);
            let part = &mut buf[done..done + count];
            match self.pages.get(&page) {
                Some(page) => part.copy_from_slice(&page[at..at + count]),
                None => part.fill(0),
            }
            self.position += count as u64;
            done += count;
        }
        Ok(all)
    }
}

impl Write for Hollow {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        static ZEROS: [u8; PAGE] = [0; PAGE];
        let mut done = 0;
        while done < buf.len() {
            let (page, at, count) = self.place(buf.len() - done);
            let part = &buf[done..done + count];
            if *part != ZEROS[..count] || self.pages.contains_key(&page) {
                let page = self.pages.entry(page).or_insert_with(|| ZEROS.into());
                page[at..at + count].copy_from_slice(part);
            }
            self.position += count as u64;
            self.len = self.len.max(self.position);
            done += count;
        }
        Ok(done)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Hollow {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
        };
        self.position = position.ok_or(ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

impl Store for Hollow {
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&mut self, _: u64) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }
}

/// 60: documents on both sides of 2^31 and 2^32, written, found again and popped across the border.
#[test]
fn offsets_beyond_four_gib_are_offsets_like_others() {
    let zeros = vec![0; format::LONGEST];
    let options = |seed| {
        Options::new()
            .memory(300)
            .max_document(usize::MAX)
            .seed(seed)
    };
    let mut buffer = options(1).open(Hollow::default()).expect("new");
    let mut small = 0u8;
    let mut now: Vec<Option<u8>> = Vec::new();
    for border in [1u64 << 31, 1 << 32] {
        // Full-sized documents up to a little before the border, then small ones across it.
        while buffer.stats().end + zeros.len() as u64 + 1000 < border {
            buffer.push(&zeros).expect("push");
            buffer.flush().expect("flush");
            now.push(None);
        }
        let left = border - buffer.stats().end - 700;
        buffer.push(&zeros[..left as usize]).expect("push");
        buffer.flush().expect("flush");
        now.push(None);
        assert!(buffer.stats().end < border);
        while buffer.stats().end < border + 500 {
            buffer.push(doc(small, 60)).expect("push");
            buffer.flush().expect("flush");
            now.push(Some(small));
            small += 1;
        }
    }
    let (end, store) = buffer.close().expect("close");
    assert!(end > 1 << 32);
    let mut seen = 0;
    let mut buffer = options(2)
        .open_with(store, |position, document| {
            match now[position as usize] {
                Some(tag) => assert_eq!(document, doc(tag, 60)),
                None => assert!(document.len() > 1000),
            }
            seen += 1;
        })
        .expect("a log");
    assert_eq!((seen, buffer.recovery().end), (now.len(), End::Clean));
    // Popped and pushed across the border, a life in between.
    let across = now.iter().rev().take_while(|tag| tag.is_some()).count();
    for _ in 0..across {
        let tag = now.pop().flatten().expect("a small one");
        assert_eq!(buffer.pop().expect("pop"), Some(doc(tag, 60)));
    }
    assert!(buffer.stats().end < 1 << 32);
    buffer
        .push_all((0..30).map(|tag| doc(tag, 60)))
        .expect("push");
    buffer.sync().expect("sync");
    assert!(buffer.stats().end > 1 << 32);
    let last: Documents = buffer.read(30).expect("read");
    assert_eq!(
        last,
        (0..30).rev().map(|tag| doc(tag, 60)).collect::<Vec<_>>()
    );
}

/// A log inside a bigger store, from `base` on. Nothing can be written from `limit` on.
struct Embedded<S> {
    store: S,
    base: u64,
    limit: u64,
}

impl<S: Read> Read for Embedded<S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.store.read(buf)
    }
}

impl<S: Write + Seek> Write for Embedded<S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let room = self.limit.saturating_sub(self.store.stream_position()?);
        if room == 0 && !buf.is_empty() {
            return Err(ErrorKind::FileTooLarge.into());
        }
        let count = buf.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        self.store.write(&buf[..count])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.store.flush()
    }
}

impl<S: Seek> Seek for Embedded<S> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => {
                SeekFrom::Start(self.base.checked_add(at).ok_or(ErrorKind::InvalidInput)?)
            }
            relative => relative,
        };
        Ok(self.store.seek(to)?.saturating_sub(self.base))
    }
}

impl<S: Read + Write + Seek> Store for Embedded<S> {
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&mut self, _: u64) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }
}

/// 60: a log that reaches the largest offset there is.
#[test]
fn at_the_largest_offset_the_store_is_full_and_nothing_is_lost() {
    let limit = i64::MAX as u64;
    for room in [0, 63, 64, 100, 200, 400, 401, 402, 1000] {
        let store = Hollow {
            len: limit - room,
            ..Hollow::default()
        };
        let store = Embedded {
            store,
            base: limit - room,
            limit,
        };
        let mut buffer = options(room).open(store).expect("new");
        let mut now = Documents::new();
        let full = loop {
            let document = doc(now.len() as u8, 50);
            match buffer.push(&document) {
                Ok(_) => now.push(document),
                Err(error) => break error,
            }
        };
        assert!(matches!(full, Error::Full { .. }), "{full}");
        assert_eq!(contents(&mut buffer), now);
        // END finds room where a document was.
        while !now.is_empty() && buffer.sync().is_err() {
            assert_eq!(buffer.pop().expect("pop"), now.pop());
        }
        if now.is_empty() {
            continue;
        }
        let store = buffer.into_inner();
        let mut buffer = options(room + 1).open(store).expect("a log");
        assert_eq!(
            (contents(&mut buffer), buffer.recovery().end),
            (now, End::Clean)
        );
    }
}

/// 60: a store that says it is as long as can be.
#[test]
fn a_store_of_nearly_endless_zeros_behind_a_log_is_opened() {
    let log = format::Writer::new(1).document(b"a");
    for end in [false, true] {
        let log = if end { log.clone().end() } else { log.clone() };
        let mut store = Hollow::default();
        store.write_all(&log.bytes).expect("hollow");
        for len in [1 << 31, 1 << 32, (1 << 63) - 1, u64::MAX - 1, u64::MAX] {
            store.len = len;
            let mut buffer = Options::new().open(&mut store).expect("a log");
            assert_eq!(contents(&mut buffer), seq!["a"]);
            let expected = if end { End::Clean } else { End::Unterminated };
            assert_eq!(buffer.recovery().end, expected);
            assert_eq!(buffer.recovery().store_len, len);
        }
    }
}

/// 61: documents over the maximum, the configured one and the format's.
#[test]
fn a_document_over_the_maximum_is_refused_before_anything_changes() {
    for memory in [0, 1 << 20] {
        let base = Options::new().memory(memory).seed(1);
        let disk = Disk::empty();
        let mut buffer = base
            .clone()
            .max_document(100)
            .open(disk.clone())
            .expect("new");
        buffer.push(vec![1; 100]).expect("just");
        let before: (Vec<u8>, Calls) = (disk.view(), disk.get().calls());
        let refused = |outcome| matches!(outcome, Err(Error::TooLarge { len: 101, max: 100 }));
        assert!(refused(buffer.push(vec![2; 101])));
        assert!(refused(buffer.push_at(1, vec![2; 101])));
        assert_eq!(before, (disk.view(), disk.get().calls()));
        assert!(refused(buffer.push_all([
            vec![1; 3],
            vec![1; 80],
            vec![2; 101],
            vec![3; 1]
        ])));
        assert_eq!(contents(&mut buffer), [vec![1; 100]]);
        buffer.sync().expect("sync");
        drop(buffer);

        // Opened with a smaller maximum it is there, counted, and only reading it is refused.
        let opened = base.clone().max_document(99).open(disk.clone());
        let mut buffer = opened.expect("no end of the log");
        assert_eq!((buffer.len(), buffer.recovery().end), (1, End::Clean));
        let refused = |error| matches!(error, Error::TooLarge { len: 100, max: 99 });
        assert!(refused(buffer.pop().expect_err("over")));
        assert!(refused(buffer.peek().expect_err("over")));
        assert!(refused(buffer.read(1).expect_err("over")));
        assert!(refused(buffer.remove(1).expect_err("over")));
        assert!(refused(buffer.iter().next().expect_err("over")));
        assert!(refused(buffer.replay().next().expect_err("over")));
        assert_eq!(buffer.len(), 1);
        buffer.push("small ones go on").expect("push");
        assert_eq!(
            buffer.pop().expect("pop"),
            Some(b"small ones go on".to_vec())
        );
        assert_eq!(buffer.truncate_after(0).expect("unread"), 1);
        drop(buffer);
        let opened = base
            .clone()
            .max_document(99)
            .open_with(disk.clone(), |_, _| ());
        assert!(refused(opened.expect_err("over").error));
        let mut scan = Scan::new(disk.clone()).expect("a log").max_document(99);
        assert!(refused(scan.next().expect_err("over")));
    }
    let mut buffer = Options::new()
        .max_document(usize::MAX)
        .open(Disk::empty())
        .expect("new");
    let most = format::LONGEST as u64;
    for len in [format::LONGEST + 1, 1 << 30, 1 << 32] {
        let refused = buffer.push(vec![0; len]);
        assert!(
            matches!(refused, Err(Error::TooLarge { len: l, max }) if (l, max) == (len as u64, most))
        );
    }
    assert!(buffer.is_empty() && buffer.get_ref().view().is_empty());
}

/// 62, without a lock: two writers on one store.
#[test]
fn two_writers_without_a_lock_are_found_out_and_never_mixed() {
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let (disk, one) = log(Handle::Bare, &[seq![doc(1, 20), doc(2, 20)]]);
        drop(one);
        let mut writers = [
            open(&disk, 2 * seed, Handle::Bare),
            open(&disk, 2 * seed + 1, Handle::Bare),
        ];
        let base = seq![doc(1, 20), doc(2, 20)];
        let mut now = [base.clone(), base.clone()];
        let mut held = vec![base.clone(), base[..1].to_vec(), vec![]];
        for step in 0..12 {
            let who = rng.below(2) as usize;
            match rng.below(4) {
                0 => match writers[who].pop() {
                    Ok(popped) => assert_eq!(popped, now[who].pop(), "seed {seed}"),
                    // The other one's record stands there now.
                    Err(error) => assert!(matches!(error, Error::Corrupt { .. }), "{error}"),
                },
                1 => writers[who].flush().expect("flush"),
                _ => {
                    // The same lengths, so that all lines up; tags tell who wrote it.
                    let document = doc(16 * (who as u8 + 1) + step, 20);
                    writers[who].push(&document).expect("push");
                    now[who].push(document);
                }
            }
            held.push(now[who].clone());
            let found = find(&disk.view());
            assert!(
                held.contains(&found.documents),
                "seed {seed}: {:?}",
                found.end()
            );
        }
    }
}

/// 63: a backup copies the store while it is written.
#[test]
fn a_copy_taken_while_writing_is_something_that_was_held() {
    let mut kept = 0;
    for seed in 0..400 {
        let mut rng = Rng::new(seed);
        let disk = Disk::empty();
        let memory = [0, 200, 1000][rng.below(3) as usize];
        let options = Options::new().memory(memory).seed(seed);
        let mut buffer = options.open(disk.clone()).expect("new");
        let mut now = Documents::new();
        let mut held = vec![now.clone()];
        let mut step = |rng: &mut Rng, held: &mut Vec<Documents>| {
            match rng.below(6) {
                0 => buffer.flush().expect("flush"),
                1 | 2 => assert_eq!(buffer.pop().expect("pop"), now.pop()),
                _ => {
                    let document = doc(rng.below(3) as u8, 20 * rng.below(4) as usize);
                    buffer.push(&document).expect("push");
                    now.push(document);
                }
            }
            held.push(now.clone());
        };
        (0..20).for_each(|_| step(&mut rng, &mut held));
        let mut copy = Vec::new();
        let piece = [16, 64, 100][rng.below(3) as usize];
        loop {
            let view = disk.view();
            let Some(rest) = view.get(copy.len()..).filter(|rest| !rest.is_empty()) else {
                break;
            };
            copy.extend(&rest[..rest.len().min(piece)]);
            (0..rng.below(3)).for_each(|_| step(&mut rng, &mut held));
        }
        let found = find(&copy).documents;
        assert!(held.contains(&found), "seed {seed}");
        kept += found.len();
    }
    assert!(kept > 400, "only {kept} documents in all copies");
}

/// 64: a virtual machine's snapshot is restored, and with it the state of the random numbers.
#[test]
fn a_restored_snapshot_draws_the_same_nonces_and_is_none_the_worse() {
    for handle in HANDLES {
        let (disk, buffer) = log(handle, &[seq![doc(1, 20), doc(2, 20)]]);
        drop(buffer);
        let snapshot = disk.durable();
        let branch = |pops: usize, tags: &[u8]| {
            let disk = Disk::holding(snapshot.clone());
            // The same seed: the same state at the moment of the snapshot.
            let mut buffer = open(&disk, 77, handle);
            let mut now = contents(&mut buffer);
            let mut legal = vec![now.clone()];
            for _ in 0..pops {
                assert_eq!(buffer.pop().expect("pop"), now.pop());
                legal.push(now.clone());
            }
            for tag in tags {
                buffer.push(doc(*tag, 20)).expect("push");
                now.push(doc(*tag, 20));
                legal.push(now.clone());
            }
            buffer.flush().expect("flush");
            (disk, now, legal)
        };
        let (first, now, legal) = branch(1, &[3, 4]);
        assert_legal(&first, &[8], &legal);
        assert_eq!(find(&first.view()).documents, now);
        for (pops, tags) in [(1, &[3, 4][..]), (1, &[5, 4]), (2, &[3]), (0, &[4, 3])] {
            let (second, now, legal) = branch(pops, tags);
            assert_legal(&second, &[8], &legal);
            second.settle();
            assert_eq!(find(&second.durable()).documents, now);
            // And it goes on, with nonces that were drawn before.
            let on = Disk::holding(second.durable());
            let mut buffer = open(&on, 77, handle);
            buffer.pop().expect("pop");
            buffer.push(doc(9, 20)).expect("push");
            buffer.flush().expect("flush");
            let then = [&now[..now.len() - 1], &[doc(9, 20)]].concat();
            let legal = [now.clone(), now[..now.len() - 1].to_vec(), then];
            assert_legal(&on, &[8], &legal);
        }
    }
}

/// 65: memory of nothing, of one byte, of exactly one document, of less than a document.
#[test]
fn every_small_memory_works() {
    let limits = (0..130).chain([255, 256, 511, 512, 1000, 2000]);
    for memory in limits {
        for documents in [usize::MAX, 0, 1, 2, 3] {
            let mut script = Script::new(memory as u64 ^ documents as u64, 60);
            script.memory = memory;
            script.memory_documents = documents;
            let mut buffer = script
                .options(1)
                .open_bare(Cursor::new(Vec::new()))
                .expect("new");
            let mut now = Vec::new();
            for op in &script.ops {
                let (answer, after) = expected(op, &now);
                let got = perform(&mut buffer, op, Handle::Bare).expect("no error");
                assert_eq!(
                    got, answer,
                    "memory {memory}, {documents} documents, {op:?}"
                );
                now = after;
                let stats = buffer.stats();
                assert!(
                    stats.cached_bytes <= memory,
                    "{} over {memory}",
                    stats.cached_bytes
                );
                assert!(stats.cached_documents <= documents);
                if *op == Op::Flush {
                    assert_eq!(buffer.cached(), 0);
                }
            }
            let (_, store) = buffer.close().expect("close");
            assert_eq!(find(store.get_ref()).documents, bytes(&now));
        }
    }
}

/// 66: the caller cuts the store at the returned length, below it, not at all, or extends it.
#[test]
fn whatever_the_caller_does_with_the_returned_length_is_understood() {
    for handle in HANDLES {
        let all: Documents = (0..6).map(|i| doc(i, 9 * i as usize)).collect();
        let (_, mut buffer) = log(handle, std::slice::from_ref(&all));
        buffer.truncate_after(4).expect("cut");
        let (end, disk) = buffer.close().expect("close");
        let (end, store) = (end as usize, disk.view());
        assert!(end < store.len(), "nothing to cut");
        let now = &all[..4];
        for image in [&store[..end], &store] {
            let found = find(image);
            assert_eq!((found.end(), &found.documents[..]), (End::Clean, now));
        }
        for fill in [0x00, 0xFF] {
            for more in [1, 100, 5000] {
                let mut image = store[..end].to_vec();
                image.resize(end + more, fill);
                let found = find(&image);
                assert_eq!((found.end(), &found.documents[..]), (End::Clean, now));
            }
        }
        let log = format::read(&store).expect("a log");
        for below in format::HEADER..end {
            let found = find(&store[..below]);
            let whole = log
                .document_records()
                .filter(|record| record.end() <= below)
                .count();
            assert_eq!(found.documents, now[..whole], "cut at {below}");
            assert_ne!(found.end(), End::Clean, "cut at {below}");
        }
    }
    let buffer = DocumentBuffer::new(Disk::empty()).expect("new");
    assert_eq!(
        buffer.close().expect("close").0,
        0,
        "nothing was ever written"
    );
}

/// 67: the log stands in a bigger file, and is moved in it.
#[test]
fn a_log_counts_from_its_own_first_byte_and_can_be_moved() {
    let plain = |seed| {
        let mut buffer = options(seed).open(Cursor::new(Vec::new())).expect("new");
        buffer
            .push_all([doc(1, 50), doc(2, 700), doc(3, 9)])
            .expect("push");
        buffer.pop().expect("pop");
        buffer.sync().expect("sync");
        buffer.into_inner().into_inner()
    };
    for base in [1u64, 64, 1000] {
        let front = vec![0xEE; base as usize];
        let store = Embedded {
            store: Cursor::new(front.clone()),
            base,
            limit: u64::MAX,
        };
        let mut buffer = options(9).open(store).expect("new");
        buffer
            .push_all([doc(1, 50), doc(2, 700), doc(3, 9)])
            .expect("push");
        buffer.pop().expect("pop");
        buffer.sync().expect("sync");
        let end = buffer.stats().end;
        let whole = buffer.into_inner().store.into_inner();
        assert_eq!(whole[..base as usize], front, "the file around it");
        let log = &whole[base as usize..];
        assert_eq!(log, plain(9), "the same bytes as anywhere");
        assert_eq!(find(log).recovery.offset + format::END as u64, end);
        // Moved.
        let mut moved = vec![0x11; 12345];
        moved.extend(log);
        let store = Embedded {
            store: Cursor::new(moved),
            base: 12345,
            limit: u64::MAX,
        };
        let mut buffer = options(10).open(store).expect("moved");
        assert_eq!(contents(&mut buffer), [doc(1, 50), doc(2, 700)]);
        buffer.push("on").expect("push");
        buffer.sync().expect("sync");
    }
}

/// 68: a process was killed, the next one flushes with nothing to write, then the power fails.
#[test]
fn a_sync_of_what_an_earlier_process_only_wrote_makes_it_durable() {
    let disk = born();
    let mut buffer = open(&disk, 1, Handle::Syncs);
    buffer.push_all([doc(1, 20), doc(2, 20)]).expect("push");
    buffer.sync().expect("sync");
    buffer.push(doc(3, 20)).expect("push");
    buffer.flush().expect("flush");
    drop(buffer);
    let legal = [
        vec![],
        seq![doc(1, 20), doc(2, 20)],
        seq![doc(1, 20), doc(2, 20), doc(3, 20)],
    ];
    assert!(
        assert_legal(&disk, &[8], &legal).contains(&legal[1]),
        "not yet durable"
    );
    let mut again = open(&disk, 2, Handle::Syncs);
    assert_eq!(again.len(), 3);
    again.sync().expect("sync");
    assert_legal(&disk, &[8], &legal[2..]);
    // Also where the killed process popped, and where its END is missing.
    again.pop().expect("pop");
    again.flush().expect("flush");
    drop(again);
    let mut third = open(&disk, 3, Handle::Syncs);
    third.sync().expect("sync");
    assert_legal(&disk, &[8], &legal[1..2]);
    third.push(doc(4, 20)).expect("push");
    drop(third);
    let mut fourth = open(&disk, 4, Handle::Syncs);
    assert_eq!(fourth.len(), 3);
    assert_ne!(fourth.recovery().end, End::Clean);
    fourth.sync().expect("sync");
    let now = seq![doc(1, 20), doc(2, 20), doc(4, 20)];
    let count = images(&disk, &[8], |image| assert_eq!(find(image).documents, now));
    assert!(count > 0);
    let mut rng = Rng::new(1);
    let plan = CrashPlan::random(&mut rng);
    assert_eq!(find(&disk.get().crash(&mut rng, plan)).documents, now);
}
