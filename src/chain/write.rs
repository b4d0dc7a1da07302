//! A write through all levels, in an order in which no crash and no failure lets an older value come back.

use super::contain::contained;
use super::level::{Level, count};
use super::report::{Attempt, Failure, LevelReport, LevelState, WriteError};
use super::state::{Core, OLDEST};
use crate::generation::Turn;
use crate::tier::judge::merged;
use crate::tier::{Applied, Entry, Error, KeyBuf, Kind, Op, Result, Tier, Version, When};

impl Core {
    /// Makes a change whose turn it is, and ends the turn.
    pub(super) async fn change(
        &self,
        key: KeyBuf,
        op: Op,
        when: When,
        turn: Turn,
    ) -> Result<Applied> {
        let mut change = Change {
            core: self,
            key: &key,
            states: vec![(LevelState::Old, None); self.uppers.len() + 1],
            failures: Vec::new(),
        };
        let made = change.make(op, when).await;
        let failures = change.failures;
        drop(turn);
        self.report(failures);
        made
    }

    /// Gives what has neither version nor time both.
    fn stamp(&self, op: Op) -> Op {
        if op.version().is_none() {
            let now = self.now();
            let version = self.versions.next(now);
            return match op {
                Op::Put(mut entry) => {
                    entry.version = version;
                    if entry.created == 0 {
                        entry.created = now;
                    }
                    Op::Put(entry)
                }
                Op::Remove(_) => Op::Remove(version),
                Op::Merge(delta) => Op::Merge(delta),
            };
        }
        self.versions.seen(op.version());
        op
    }
}

/// A change on its way through the levels.
struct Change<'a> {
    core: &'a Core,
    key: &'a KeyBuf,
    /// What each level has, and what it said.
    states: Vec<(LevelState, Option<Error>)>,
    failures: Vec<Failure>,
}

impl Change<'_> {
    async fn make(&mut self, op: Op, when: When) -> Result<Applied> {
        let (op, when) = match self.judge(op, when).await? {
            Ok(judged) => judged,
            Err(held) => {
                self.empty_all().await;
                return Ok(Applied::Refused { held });
            }
        };
        self.clear(&op, when).await?;
        let put = match &op {
            Op::Put(entry) => Some(entry.clone()),
            Op::Remove(_) | Op::Merge(_) => None,
        };
        let truth = &self.core.truth;
        let call = truth.tier.write(self.key.as_key(), op, when);
        match contained(truth.name(), call).await {
            Ok(Applied::Done) => {
                truth.doubts.remove(self.key);
                if let Some(entry) = put {
                    self.put_above(entry).await;
                }
                Ok(Applied::Done)
            }
            Ok(refused) => {
                truth.doubts.remove(self.key);
                // What is above may be why the caller expected something else.
                self.empty_all().await;
                Ok(refused)
            }
            Err(error) => {
                count(&truth.counts.errors);
                let state = match error.is_unknown() {
                    true => LevelState::Unknown,
                    false => LevelState::Old,
                };
                if error.is_unknown() {
                    truth.doubts.add(self.key);
                    self.empty_all().await;
                }
                let at = self.core.uppers.len();
                self.note(at, state, Some(error.clone()));
                Err(self.error(&error, "not written", error.is_unknown()))
            }
        }
    }

    /// What the truth is to do, stamped; or what stands against it. What the truth cannot do in one step is
    /// done here in two, which only this chain's writes are kept out of.
    async fn judge(&self, op: Op, when: When) -> Result<Result<(Op, When), Option<Version>>> {
        let truth = &self.core.truth;
        let merges = matches!(op, Op::Merge(_));
        if (truth.can.conditions || when == When::Always) && (truth.can.merge || !merges) {
            return Ok(Ok((self.core.stamp(op), when)));
        }
        let held = contained(truth.name(), truth.tier.get(self.key.as_key())).await;
        let held = held.inspect_err(|_| count(&truth.counts.errors))?;
        let held = held.filter(|held| self.core.is_live(held));
        let version = held.as_ref().map(|held| held.version);
        version
            .into_iter()
            .for_each(|version| self.core.versions.seen(version));
        let op = match op {
            Op::Merge(delta) => {
                // Its version is still to be given.
                let sum = merged(&self.core.name, held.as_ref(), delta)?;
                Op::Put(sum.version(Version::NONE))
            }
            other => other,
        };
        let op = self.core.stamp(op);
        Ok(match when.allows(op.version(), version, held.is_some()) {
            true => Ok((op, When::Always)),
            false => Err(version),
        })
    }

    /// Before the truth: what must not be found above it should the process die behind it.
    async fn clear(&mut self, op: &Op, when: When) -> Result<()> {
        let (everywhere, version) = match op {
            Op::Put(_) => (false, OLDEST),
            // It may not come to a removal.
            Op::Remove(_) if when != When::Always => (true, OLDEST),
            Op::Remove(version) => (true, *version),
            Op::Merge(_) => (true, OLDEST),
        };
        for (at, level) in self.core.uppers.iter().enumerate() {
            if !everywhere && !level.can.outlives() {
                continue;
            }
            if let Err(error) = self.empty(at, level, version).await {
                if level.can.outlives() {
                    let message = "not written: an old value would outlive the process";
                    return Err(self.error(&error, message, false));
                }
                self.doubt(at, level, Attempt::Remove, error);
            }
        }
        Ok(())
    }

    /// Behind the truth: all above it get the new entry, the nearest to it first.
    async fn put_above(&mut self, entry: Entry) {
        for (at, level) in self.core.uppers.iter().enumerate().rev() {
            if level.doubts.all() {
                continue;
            }
            let forced = level.doubts.has(self.key.as_key());
            let when = match level.can.conditions && !forced {
                true => When::Newer,
                false => When::Always,
            };
            let op = Op::Put(entry.clone());
            let call = level.tier.write(self.key.as_key(), op, when);
            match contained(level.name(), call).await {
                Ok(Applied::Done) => level.doubts.remove(self.key),
                // Somebody else's clock is ahead, or their write is later: the truth will tell.
                Ok(Applied::Refused { .. }) => self.empty_or_doubt(at, level).await,
                Err(error) => {
                    count(&level.counts.errors);
                    let failure = self.core.failure(self.key, at, Attempt::Put, error);
                    self.failures.push(failure);
                    self.empty_or_doubt(at, level).await;
                }
            }
        }
    }

    async fn empty_all(&mut self) {
        for (at, level) in self.core.uppers.iter().enumerate() {
            if !matches!(self.states.get(at), Some((LevelState::Absent, _))) {
                self.empty_or_doubt(at, level).await;
            }
        }
    }

    async fn empty_or_doubt(&mut self, at: usize, level: &Level) {
        if let Err(error) = self.empty(at, level, OLDEST).await {
            self.doubt(at, level, Attempt::Repair, error);
        }
    }

    fn doubt(&mut self, at: usize, level: &Level, attempt: Attempt, error: Error) {
        level.doubts.add(self.key);
        let failure = self.core.failure(self.key, at, attempt, error);
        self.failures.push(failure);
    }

    async fn empty(&mut self, at: usize, level: &Level, version: Version) -> Result<()> {
        let call = level
            .tier
            .write(self.key.as_key(), Op::Remove(version), When::Always);
        let emptied = match contained(level.name(), call).await {
            Ok(Applied::Done) => {
                level.doubts.remove(self.key);
                self.note(at, LevelState::Absent, None);
                return Ok(());
            }
            Ok(Applied::Refused { .. }) => Error::new(
                Kind::Permanent,
                level.name(),
                "it refuses what has no condition",
            ),
            Err(error) => error,
        };
        count(&level.counts.errors);
        let state = match emptied.is_unknown() {
            true => LevelState::Unknown,
            false => LevelState::Old,
        };
        self.note(at, state, Some(emptied.clone()));
        Err(emptied)
    }

    fn note(&mut self, at: usize, state: LevelState, error: Option<Error>) {
        if let Some(noted) = self.states.get_mut(at) {
            *noted = (state, error);
        }
    }

    /// The chain's error for what a level said, with what each level has.
    fn error(&self, error: &Error, message: &str, unknown: bool) -> Error {
        let levels = self.core.levels().zip(&self.states).enumerate();
        let levels = levels.map(|(level, (of, (state, error)))| LevelReport {
            level,
            tier: of.name().to_owned(),
            state: *state,
            error: error.clone(),
        });
        let levels = levels.collect();
        let told = self
            .core
            .error(error.kind(), message)
            .source(WriteError { levels });
        let told = error.delay().into_iter().fold(told, Error::retry_after);
        if unknown { told.unknown() } else { told }
    }
}
