//! The rules that need many callers.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::bench::{Bench, Outcome, entry, version};
use crate::tier::{Applied, Entry, Op, Tier, Version, When};

const CALLERS: u64 = 8;

/// So many callers at once; what each of them gave.
async fn all<R: Send + 'static, F>(call: impl Fn(u64) -> F) -> Outcome<Vec<R>>
where
    F: Future<Output = Outcome<R>> + Send + 'static,
{
    let mut set = JoinSet::new();
    for caller in 0..CALLERS {
        set.spawn(call(caller));
    }
    let mut given = Vec::new();
    while let Some(ended) = set.join_next().await {
        given.push(ended.map_err(|error| format!("a call panicked: {error}"))??);
    }
    Ok(given)
}

pub(super) async fn one_wins<T: Tier>(bench: &Bench<T>) -> Outcome {
    for round in 0..8 {
        let key: Arc<str> = format!("round {round}").into();
        let given = all(|caller| {
            let (bench, key) = (bench.clone(), Arc::clone(&key));
            async move {
                let put = Op::Put(entry(format!("of {caller}"), caller + 1));
                let applied = bench.write(&key, put, When::Absent).await?;
                Ok((caller, applied))
            }
        });
        let given = given.await?;
        let winners: Vec<_> = given
            .iter()
            .filter(|(_, applied)| *applied == Applied::Done)
            .collect();
        let [(winner, _)] = winners[..] else {
            return Err(format!(
                "of {CALLERS}, {} put where nothing was",
                winners.len()
            ));
        };
        let held = Some(version(winner + 1));
        let refused = Applied::Refused { held };
        if let Some((_, other)) = given
            .iter()
            .find(|(caller, found)| caller != winner && *found != refused)
        {
            return Err(format!("a loser was told {other:?}, not {refused:?}"));
        }
        let kept = entry(format!("of {winner}"), winner + 1);
        bench.expect(&key, Some(kept)).await?;
    }
    Ok(())
}

pub(super) async fn none_lost<T: Tier>(bench: &Bench<T>) -> Outcome {
    const EACH: u64 = 8;
    bench.put("count", entry("0", 1)).await?;
    all(|_| {
        let bench = bench.clone();
        async move {
            let mut left = EACH;
            while left > 0 {
                let held = bench.get("count").await?.ok_or("the count is gone")?;
                let count: u64 = std::str::from_utf8(&held.value)
                    .ok()
                    .and_then(|text| text.parse().ok())
                    .ok_or("the count is no number")?;
                let next = entry((count + 1).to_string(), held.version.number + 1);
                let is = When::Is(held.version);
                if bench.write("count", Op::Put(next), is).await? == Applied::Done {
                    left -= 1;
                }
            }
            Ok(())
        }
    })
    .await?;
    let sum = CALLERS * EACH;
    bench
        .expect("count", Some(entry(sum.to_string(), sum + 1)))
        .await
}

pub(super) async fn sums<T: Tier>(bench: &Bench<T>) -> Outcome {
    const EACH: i64 = 8;
    all(|caller| {
        let bench = bench.clone();
        async move {
            for _ in 0..EACH {
                let delta = Op::Merge(caller as i64);
                bench.applies("sum", delta, When::Always).await?;
            }
            Ok(())
        }
    })
    .await?;
    let sum = EACH * (0..CALLERS as i64).sum::<i64>();
    match bench.get("sum").await? {
        Some(entry) if entry.value[..] == sum.to_le_bytes() => Ok(()),
        other => Err(format!("merges to {sum} gave {other:?}")),
    }
}

/// Of every writer another byte and another length, so that a mixture shows.
fn mark(caller: u64, turn: u64) -> Entry {
    let byte = (caller * 16 + turn % 16) as u8;
    let len = 2000 + usize::from(byte) * 7;
    let number = u64::from(byte) + 1;
    Entry::new(vec![byte; len]).version(Version { fence: 0, number })
}

pub(super) async fn whole<T: Tier>(bench: &Bench<T>) -> Outcome {
    bench.put("key", mark(0, 0)).await?;
    all(|caller| {
        let bench = bench.clone();
        async move {
            for turn in 0..16 {
                if caller % 2 == 0 {
                    bench.put("key", mark(caller, turn)).await?;
                    continue;
                }
                let seen = bench.get("key").await?;
                let seen = seen.ok_or("an entry that is only overwritten was absent")?;
                let byte = seen.value.first().copied().unwrap_or_default();
                let expected = mark(u64::from(byte) / 16, u64::from(byte) % 16);
                if seen != expected {
                    let len = seen.value.len();
                    return Err(format!("a mixture of {len} bytes was read"));
                }
            }
            Ok(())
        }
    })
    .await
    .map(drop)
}
