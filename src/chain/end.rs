//! How a chain ends, and how it is repaired.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use tokio::sync::watch;

use super::contain::contained;
use super::level::{Level, count};
use super::report::{Attempt, CloseError, Failure};
use super::state::{Core, OLDEST};
use crate::tier::{Applied, Error, KeyBuf, Kind, Op, Result, Tier, When};

/// How many keys a repair lists at once.
const PAGE: usize = 1000;

impl Core {
    /// Lets nothing begin, waits for what is under way, and closes all levels, once.
    pub(super) async fn close(self: &Arc<Core>) -> Result<()> {
        let runtime = self.runtime()?;
        let mut ended = {
            let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
            let begin = || {
                self.closed.store(true, Ordering::Release);
                let (tell, ended) = watch::channel(None);
                let core = self.clone();
                runtime.spawn(async move { tell.send_replace(Some(core.end().await)) });
                ended
            };
            ended.get_or_insert_with(begin).clone()
        };
        let ended = ended.wait_for(Option::is_some).await;
        let ended = ended.ok().and_then(|ended| ended.clone());
        ended.unwrap_or_else(|| Err(self.error(Kind::Closed, "the runtime ended before the chain")))
    }

    async fn end(&self) -> Result<()> {
        self.writes.drain().await;
        self.fills.drain().await;
        let mut errors = Vec::new();
        for level in self.levels() {
            let closed = contained(level.name(), level.tier.close()).await;
            errors.extend(closed.err());
        }
        match errors.first() {
            None => Ok(()),
            Some(first) => {
                let error = self.error(first.kind(), "some tiers are not closed well");
                Err(error.source(CloseError { errors }))
            }
        }
    }

    /// Takes out what levels must not answer with.
    pub(super) async fn repair(&self) -> Result<()> {
        let mut failures = Vec::new();
        let mut first = Ok(());
        for (at, level) in self.uppers.iter().enumerate() {
            let repaired = match level.doubts.all() {
                true => self.repair_all(level).await,
                false => Ok(()),
            };
            first = first.and(repaired);
            for key in level.doubts.keys() {
                let repaired = self.repair_key(at, level, &key, &mut failures).await;
                first = first.and(repaired);
            }
        }
        if self.truth.doubts.all() {
            // What was read in doubt is as old as if it had been written since.
            self.generations.kill_all();
            self.truth.doubts.forget_all();
        }
        for key in self.truth.doubts.keys() {
            self.settle(&key).await;
        }
        self.report(failures);
        first
    }

    async fn repair_key(
        &self,
        at: usize,
        level: &Level,
        key: &KeyBuf,
        failures: &mut Vec<Failure>,
    ) -> Result<()> {
        let turn = self.generations.write(key.as_key().as_str()).await;
        let emptied = empty(level, key).await;
        if emptied.is_ok() {
            level.doubts.remove(key);
        }
        drop(turn);
        emptied.inspect_err(|error| {
            failures.push(self.failure(key, at, Attempt::Repair, error.clone()));
        })
    }

    /// Empties a level that nothing is written to, since all its keys are in doubt.
    async fn repair_all(&self, level: &Level) -> Result<()> {
        level.doubts.begin_all();
        let mut from = None;
        loop {
            let page = contained(level.name(), level.tier.scan(from.as_ref(), PAGE)).await?;
            for listed in &page.listed {
                empty(level, &listed.key).await?;
            }
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        match level.doubts.end_all() {
            true => Ok(()),
            false => Err(self.error(Kind::Transient, "more came into doubt during the repair")),
        }
    }
}

async fn empty(level: &Level, key: &KeyBuf) -> Result<()> {
    let call = level
        .tier
        .write(key.as_key(), Op::Remove(OLDEST), When::Always);
    let emptied = match contained(level.name(), call).await {
        Ok(Applied::Done) => return Ok(()),
        Ok(_) => Error::new(
            Kind::Permanent,
            level.name(),
            "it refuses what has no condition",
        ),
        Err(error) => error,
    };
    count(&level.counts.errors);
    Err(emptied)
}
