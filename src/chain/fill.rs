//! Copying up what was found below, so that the next read finds it nearer.

use std::sync::Arc;

use super::contain::contained;
use super::level::count;
use super::report::Attempt;
use super::state::{Core, Mask, OLDEST};
use crate::generation::Token;
use crate::tier::{Applied, Entry, Key, KeyBuf, Op, Result, Tier, Version, When};

/// A version that nothing has.
const NOBODYS: Version = Version {
    fence: u64::MAX,
    number: u64::MAX,
};

impl Core {
    /// Copies what was found at a level to all above it, in the background; or takes out there what is in
    /// doubt, where nothing was found.
    pub(super) fn fill(
        self: &Arc<Core>,
        token: Token,
        found: usize,
        entry: Option<Entry>,
        force: Mask,
    ) {
        let above = || self.uppers.iter().take(found);
        if !token.is_live() {
            above().for_each(|level| count(&level.counts.refused));
            return;
        }
        let permit = self.fills.permits.clone().try_acquire_owned();
        let (Ok(permit), Ok(runtime)) = (permit, self.runtime()) else {
            above().for_each(|level| count(&level.counts.skipped));
            return;
        };
        let core = self.clone();
        runtime.spawn(async move {
            core.land(token, found, entry, force).await;
            drop(permit);
        });
    }

    async fn land(&self, token: Token, found: usize, entry: Option<Entry>, force: Mask) {
        let above = self.uppers.iter().enumerate().take(found).rev();
        let Ok(key) = KeyBuf::new(token.key()) else {
            return;
        };
        // Before and behind the wait: a repair kills tokens first, and ends doubts then.
        let doubted = self.truth.doubts.has(key.as_key());
        let Some(turn) = self.generations.land(token).await else {
            above.for_each(|(_, level)| count(&level.counts.refused));
            return;
        };
        if doubted || self.truth.doubts.has(key.as_key()) {
            // What was found may be replaced yet, by a write that nobody waits for any more.
            above.for_each(|(_, level)| count(&level.counts.refused));
            drop(turn);
            self.settle(&key).await;
            return;
        }
        let mut failures = Vec::new();
        for (at, level) in above {
            let forced = force.has(at) || level.doubts.has(key.as_key());
            if level.doubts.all() || (entry.is_none() && !forced) {
                continue;
            }
            match self.put_up(at, key.as_key(), entry.clone(), forced).await {
                Ok(Applied::Done) => {
                    level.doubts.remove(&key);
                    count(&level.counts.filled);
                }
                Ok(Applied::Refused { .. }) => count(&level.counts.refused),
                Err(error) => {
                    count(&level.counts.errors);
                    let attempt = match entry {
                        Some(_) => Attempt::Fill,
                        None => Attempt::Repair,
                    };
                    failures.push(self.failure(&key, at, attempt, error));
                }
            }
        }
        drop(turn);
        self.report(failures);
    }

    async fn put_up(
        &self,
        at: usize,
        key: Key<'_>,
        entry: Option<Entry>,
        forced: bool,
    ) -> Result<Applied> {
        let level = self.level(at);
        // Another process may have written there what is newer.
        let when = match &entry {
            _ if forced || !level.can.conditions => When::Always,
            Some(entry) if entry.version.is_none() => When::Absent,
            _ => When::Newer,
        };
        let op = entry.map_or(Op::Remove(OLDEST), Op::Put);
        contained(level.name(), level.tier.write(key, op, when)).await
    }

    /// Ends the doubt about the truth where it can do conditions: a change that is always refused comes
    /// behind the write whose outcome is unknown.
    pub(super) async fn settle(&self, key: &KeyBuf) {
        let truth = &self.truth;
        if !truth.can.conditions || truth.doubts.all() {
            return;
        }
        // As a write, for what was read before is as old as if it were one.
        let turn = self.generations.write(key.as_key().as_str()).await;
        if truth.doubts.has(key.as_key()) {
            let op = Op::Remove(OLDEST);
            let call = truth.tier.write(key.as_key(), op, When::Is(NOBODYS));
            match contained(truth.name(), call).await {
                Ok(_) => truth.doubts.remove(key),
                Err(_) => count(&truth.counts.errors),
            }
        }
        drop(turn);
    }
}
