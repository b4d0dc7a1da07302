//! The rules that one caller can check.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::bench::{Bench, Outcome, entry, version};
use crate::tier::{Entry, Error, Kind, MAX_KEY, Op, Tier, Version, When};

/// In 1970.
const LONG_AGO: u64 = 1_000_000;
/// In 2200.
const FAR_OFF: u64 = 7_258_118_400_000_000;

pub(super) async fn absent<T: Tier>(bench: &Bench<T>) -> Outcome {
    bench.expect("nobody", None).await?;
    bench.remove("nobody").await?;
    bench.expect("nobody", None).await?;
    bench.put("empty", Entry::new("")).await?;
    bench.expect("empty", Some(Entry::new(""))).await?;
    bench.remove("empty").await?;
    bench.expect("empty", None).await?;
    bench.remove("empty").await?;
    bench.put("empty", Entry::new("back")).await?;
    bench.expect("empty", Some(Entry::new("back"))).await
}

pub(super) async fn overwrite<T: Tier>(bench: &Bench<T>) -> Outcome {
    for value in ["one", "a longer one", "", "2"] {
        bench.put("key", Entry::new(value)).await?;
        bench.expect("key", Some(Entry::new(value))).await?;
    }
    // Also by one that is older: nobody asked for a condition.
    bench.put("key", entry("new", 9)).await?;
    bench.put("key", entry("old", 3)).await?;
    bench.expect("key", Some(entry("old", 3))).await
}

/// Keys that somebody might make a path, a pattern or a terminated string of.
fn odd_keys() -> Vec<String> {
    let odd = [
        "", ".", "..", "/", "../x", "a/b", "a//b", "a", "A", "a/", " ", "\0", "a\0", "a\0b", "\n",
        "%2e", "*", "\\", "con", "é", "e\u{301}", "🦀", "lock", "new", "00", "~", "-", "\u{feff}",
    ];
    let mut keys: Vec<String> = odd.map(str::to_owned).to_vec();
    keys.push("k".repeat(MAX_KEY));
    keys.push("k".repeat(MAX_KEY - 1));
    keys.push("🦀".repeat(MAX_KEY / 4));
    keys
}

pub(super) async fn keys<T: Tier>(bench: &Bench<T>) -> Outcome {
    let keys = odd_keys();
    for key in &keys {
        bench.expect(key, None).await?;
        bench.put(key, Entry::new(format!("of {key}"))).await?;
    }
    for key in &keys {
        let kept = Entry::new(format!("of {key}"));
        bench.expect(key, Some(kept)).await?;
    }
    for (at, key) in keys.iter().enumerate() {
        bench.remove(key).await?;
        bench.expect(key, None).await?;
        for other in keys.get(at + 1..).unwrap_or_default() {
            let kept = Entry::new(format!("of {other}"));
            bench.expect(other, Some(kept)).await?;
        }
    }
    Ok(())
}

/// Bytes of which no two stretches are alike.
fn bytes(len: usize) -> Vec<u8> {
    let mut state = len as u64 | 1;
    let byte = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    };
    (0..len).map(byte).collect()
}

pub(super) async fn values<T: Tier>(bench: &Bench<T>) -> Outcome {
    for len in [0, 1, 7, 8, 9, 4095, 4096, 64 << 10, 1 << 20] {
        bench.put("key", Entry::new(bytes(len))).await?;
        bench.expect("key", Some(Entry::new(bytes(len)))).await?;
    }
    for byte in [0, 255] {
        bench.put("key", Entry::new(vec![byte; 1000])).await?;
        bench
            .expect("key", Some(Entry::new(vec![byte; 1000])))
            .await?;
    }
    Ok(())
}

pub(super) async fn owned<T: Tier>(bench: &Bench<T>) -> Outcome {
    bench.put("key", Entry::new("the first")).await?;
    let first = bench.get("key").await?;
    bench.put("key", Entry::new("THE NEXT!")).await?;
    bench.remove("key").await?;
    bench.put("key", Entry::new("something else")).await?;
    match first {
        Some(first) if first.value == "the first" => Ok(()),
        other => Err(format!("what get gave turned into {other:?}")),
    }
}

pub(super) async fn kept<T: Tier>(bench: &Bench<T>) -> Outcome {
    let top = Version {
        fence: u64::MAX,
        number: u64::MAX,
    };
    let entries = [
        Entry::new("a").version(version(1)).created(0),
        Entry::new("b")
            .version(top)
            .created(u64::MAX)
            .expires(u64::MAX),
        Entry::new("c")
            .created(1_700_000_000_000_001)
            .expires(FAR_OFF),
        Entry::new("d").version(Version {
            fence: 1,
            number: 0,
        }),
        Entry::new("e"),
    ];
    // A key for each: what is delivered later may be refused where a newer version stands.
    for (at, entry) in entries.into_iter().enumerate() {
        let key = format!("key {at}");
        bench.put(&key, entry.clone()).await?;
        bench.expect(&key, Some(entry)).await?;
    }
    Ok(())
}

pub(super) async fn expired<T: Tier>(bench: &Bench<T>) -> Outcome {
    for over in [0, LONG_AGO] {
        bench
            .put("key", Entry::new("alive").expires(FAR_OFF))
            .await?;
        bench.put("key", Entry::new("over").expires(over)).await?;
        bench.expect("key", None).await?;
    }
    let capabilities = bench.tier.capabilities();
    if capabilities.scan && !bench.scan(None, 10).await?.listed.is_empty() {
        return Err(String::from("what is over is listed"));
    }
    if capabilities.conditions {
        let put = Op::Put(Entry::new("next").expires(LONG_AGO));
        bench.applies("key", put, When::Absent).await?;
        let put = Op::Put(Entry::new("last"));
        bench.applies("key", put, When::Absent).await?;
        bench.expect("key", Some(Entry::new("last"))).await?;
    }
    bench.put("key", Entry::new("again")).await?;
    bench.expect("key", Some(Entry::new("again"))).await
}

pub(super) async fn conditions<T: Tier>(bench: &Bench<T>) -> Outcome {
    let put = |value: &'static str, number| Op::Put(entry(value, number));
    let is = |number| When::Is(version(number));
    bench.refuses("key", put("a", 1), is(1), None).await?;
    bench
        .refuses("key", Op::Remove(version(1)), is(1), None)
        .await?;
    bench.refuses("key", put("a", 1), is(0), None).await?;
    bench.applies("key", put("a", 5), When::Absent).await?;
    let held = Some(version(5));
    bench
        .refuses("key", put("b", 6), When::Absent, held)
        .await?;
    bench.refuses("key", put("b", 6), is(4), held).await?;
    bench
        .refuses("key", Op::Remove(version(6)), is(6), held)
        .await?;
    let fenced = Version {
        fence: 1,
        number: 5,
    };
    bench
        .refuses("key", put("b", 6), When::Is(fenced), held)
        .await?;
    bench.applies("key", put("b", 6), is(5)).await?;
    bench.expect("key", Some(entry("b", 6))).await?;
    // Older, but on the condition that was asked for.
    bench.applies("key", put("c", 2), is(6)).await?;
    bench.expect("key", Some(entry("c", 2))).await?;
    let remove = Op::Remove(version(3));
    bench
        .refuses("key", remove.clone(), When::Absent, Some(version(2)))
        .await?;
    bench.applies("key", remove, is(2)).await?;
    bench.expect("key", None).await?;
    // Nothing is there to have a version.
    let again = bench.write("key", put("d", 4), is(3)).await?;
    if again == crate::tier::Applied::Done {
        return Err(String::from("the version of a removal let a put through"));
    }
    bench.expect("key", None).await?;
    bench.applies("key", put("e", 1), When::Absent).await?;
    bench.put("unversioned", Entry::new("x")).await?;
    bench
        .applies("unversioned", put("y", 1), When::Is(Version::NONE))
        .await
}

/// What it does not claim it does not do, or, in two steps, right.
pub(super) async fn no_conditions<T: Tier>(bench: &Bench<T>) -> Outcome {
    let mut keys = 0;
    for held in [None, Some(version(5))] {
        for op in [Op::Put(entry("new", 6)), Op::Remove(version(6))] {
            for when in [When::Absent, When::Newer, When::Is(version(5))] {
                keys += 1;
                let key = format!("key {keys}");
                if let Some(held) = held {
                    bench.put(&key, Entry::new("held").version(held)).await?;
                }
                let right = when.allows(op.version(), held, held.is_some());
                bench
                    .does_not_or_does(&key, op.clone(), when, right)
                    .await?;
            }
        }
    }
    Ok(())
}

pub(super) async fn newer<T: Tier>(bench: &Bench<T>) -> Outcome {
    let put = |value: &'static str, number| Op::Put(entry(value, number));
    bench.applies("key", put("a", 5), When::Newer).await?;
    let held = Some(version(5));
    bench.refuses("key", put("b", 4), When::Newer, held).await?;
    bench.refuses("key", put("b", 5), When::Newer, held).await?;
    bench
        .refuses("key", Op::Remove(version(5)), When::Newer, held)
        .await?;
    bench
        .refuses("key", Op::Remove(Version::NONE), When::Newer, held)
        .await?;
    bench.applies("key", put("b", 6), When::Newer).await?;
    bench.expect("key", Some(entry("b", 6))).await?;
    // The fence comes first.
    let fenced = Version {
        fence: 2,
        number: 1,
    };
    let by_fence = Op::Put(Entry::new("c").version(fenced));
    bench.applies("key", by_fence, When::Newer).await?;
    bench
        .refuses("key", put("d", 900), When::Newer, Some(fenced))
        .await?;
    let last = Version {
        fence: 2,
        number: 2,
    };
    bench.applies("key", Op::Remove(last), When::Newer).await?;
    bench.expect("key", None).await
}

pub(super) async fn tombstones<T: Tier>(bench: &Bench<T>) -> Outcome {
    let put = |value: &'static str, number| Op::Put(entry(value, number));
    let held = Some(version(7));
    for key in ["was", "never was"] {
        if key == "was" {
            bench.put(key, entry("a", 5)).await?;
        }
        bench
            .applies(key, Op::Remove(version(7)), When::Newer)
            .await?;
        bench.expect(key, None).await?;
        bench
            .refuses(key, put("late", 6), When::Newer, held)
            .await?;
        bench
            .refuses(key, put("late", 7), When::Newer, held)
            .await?;
        bench
            .refuses(key, Op::Remove(version(6)), When::Newer, held)
            .await?;
        bench.applies(key, put("next", 8), When::Newer).await?;
        bench.expect(key, Some(entry("next", 8))).await?;
    }
    // It stands against what is older, and is no entry.
    bench
        .applies("was", Op::Remove(version(9)), When::Always)
        .await?;
    bench.applies("was", put("back", 1), When::Absent).await?;
    bench.expect("was", Some(entry("back", 1))).await
}

fn number(number: i64) -> Entry {
    Entry::new(number.to_le_bytes().to_vec())
}

pub(super) async fn merge<T: Tier>(bench: &Bench<T>) -> Outcome {
    let refused = |error: &Error| error.kind() == Kind::Permanent && !error.is_unknown();
    let merged = async |delta: i64, sum: i64| {
        bench.applies("sum", Op::Merge(delta), When::Always).await?;
        match bench.get("sum").await? {
            Some(entry) if entry.value == number(sum).value => Ok(()),
            other => Err(format!("a merge of {delta} to {sum} gave {other:?}")),
        }
    };
    merged(5, 5).await?;
    merged(-7, -2).await?;
    merged(0, -2).await?;
    bench.put("sum", number(i64::MAX - 1)).await?;
    merged(1, i64::MAX).await?;
    bench
        .fails("sum", Op::Merge(1), When::Always, refused)
        .await?;
    bench.put("sum", number(i64::MIN)).await?;
    bench
        .fails("sum", Op::Merge(-1), When::Always, refused)
        .await?;
    bench.put("sum", number(3).expires(LONG_AGO)).await?;
    merged(4, 4).await?;
    bench.remove("sum").await?;
    merged(i64::MIN, i64::MIN).await?;
    for value in ["", "seven", "9 bytes !"] {
        bench.put("text", Entry::new(value)).await?;
        bench
            .fails("text", Op::Merge(1), When::Always, refused)
            .await?;
    }
    Ok(())
}

pub(super) async fn no_merge<T: Tier>(bench: &Bench<T>) -> Outcome {
    let one = Op::Merge(1);
    bench
        .does_not_or_does("sum", one.clone(), When::Always, true)
        .await?;
    bench.put("other", number(1)).await?;
    bench
        .does_not_or_does("other", one, When::Always, true)
        .await
}

pub(super) async fn scan<T: Tier>(bench: &Bench<T>) -> Outcome {
    let empty = bench.scan(None, 10).await?;
    if !empty.listed.is_empty() {
        return Err(format!("a fresh tier lists {:?}", empty.listed));
    }
    let mut expected = BTreeMap::new();
    for (at, key) in odd_keys().into_iter().enumerate() {
        expected.insert(key, (at as u64, version(at as u64)));
    }
    for n in 0..100 {
        expected.insert(format!("key {n}"), (n, version(n)));
    }
    for (key, (len, version)) in &expected {
        let value = vec![7; *len as usize];
        bench.put(key, Entry::new(value).version(*version)).await?;
    }
    bench.put("gone", Entry::new("1")).await?;
    bench
        .applies("gone", Op::Remove(version(9)), When::Always)
        .await?;
    for limit in [1, 7, 1000] {
        let mut found = BTreeMap::new();
        let (mut from, mut pages): (Option<Bytes>, usize) = (None, 0);
        loop {
            let page = bench.scan(from.as_ref(), limit).await?;
            for line in page.listed {
                let key = line.key.to_string();
                let seen = found.insert(key, (line.bytes, line.version));
                if seen.is_some() {
                    return Err(format!("{:?} is listed twice", line.key));
                }
            }
            pages += 1;
            from = page.next;
            if from.is_none() {
                break;
            }
            if pages > 10_000 {
                return Err(format!("with a limit of {limit} the pages have no end"));
            }
        }
        if found != expected {
            let wrong = |key: &&String| found.get(*key) != expected.get(*key);
            let wrong = expected.keys().chain(found.keys()).find(wrong);
            let wrong = wrong.map(String::as_str).unwrap_or_default();
            let (found, expected) = (found.get(wrong), expected.get(wrong));
            return Err(format!(
                "{wrong:?} is listed as {found:?}, not {expected:?}"
            ));
        }
    }
    Ok(())
}

pub(super) async fn no_scan<T: Tier>(bench: &Bench<T>) -> Outcome {
    match bench.tier.scan(None, 10).await {
        Err(error) if error.kind() == Kind::Unsupported => Ok(()),
        other => Err(format!("a scan gave {other:?}, not unsupported")),
    }
}

pub(super) async fn close<T: Tier>(bench: &Bench<T>) -> Outcome {
    bench.put("key", Entry::new("v")).await?;
    for time in ["first", "second"] {
        let closed = bench.tier.close().await;
        closed.map_err(|error| format!("the {time} close failed: {error}"))?;
    }
    Ok(())
}
