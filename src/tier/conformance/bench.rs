//! Calls on the tier under check, with their outcome in words.

use std::sync::Arc;

use bytes::Bytes;

use crate::tier::{Applied, Entry, Error, Key, Kind, Op, Page, Tier, Version, When};

pub(super) type Outcome<T = ()> = Result<T, String>;

pub(super) struct Bench<T> {
    pub(super) tier: Arc<T>,
}

impl<T> Clone for Bench<T> {
    fn clone(&self) -> Bench<T> {
        Bench {
            tier: Arc::clone(&self.tier),
        }
    }
}

pub(super) fn version(number: u64) -> Version {
    Version { fence: 0, number }
}

pub(super) fn entry(value: impl Into<Bytes>, number: u64) -> Entry {
    Entry::new(value).version(version(number))
}

/// Of an entry as much as a message bears.
fn short(entry: &Option<Entry>) -> String {
    match entry {
        Some(entry) if entry.value.len() > 64 => {
            format!("an entry of {} bytes", entry.value.len())
        }
        Some(entry) => format!("{entry:?}"),
        None => String::from("nothing"),
    }
}

impl<T: Tier> Bench<T> {
    pub(super) async fn get(&self, key: &str) -> Outcome<Option<Entry>> {
        let got = self.tier.get(legal(key)?).await;
        got.map_err(|error| format!("get of {key:?} failed: {error}"))
    }

    pub(super) async fn expect(&self, key: &str, expected: Option<Entry>) -> Outcome {
        let mut got = self.get(key).await?;
        if let (Some(got), Some(expected)) = (&mut got, &expected)
            && expected.version.is_none()
        {
            // What came without, a chain gives both.
            (got.version, got.created) = (expected.version, expected.created);
        }
        if got == expected {
            return Ok(());
        }
        let (got, expected) = (short(&got), short(&expected));
        Err(format!("get of {key:?} gave {got}, not {expected}"))
    }

    pub(super) async fn write(&self, key: &str, op: Op, when: When) -> Outcome<Applied> {
        let what = format!("{} of {key:?} on {when:?}", name(&op));
        let wrote = self.tier.write(legal(key)?, op, when).await;
        wrote.map_err(|error| format!("{what} failed: {error}"))
    }

    pub(super) async fn applies(&self, key: &str, op: Op, when: When) -> Outcome {
        let what = format!("{} of {key:?} on {when:?}", name(&op));
        match self.write(key, op, when).await? {
            Applied::Done => Ok(()),
            refused => Err(format!("{what} gave {refused:?}")),
        }
    }

    /// Puts it, on no condition.
    pub(super) async fn put(&self, key: &str, entry: Entry) -> Outcome {
        self.applies(key, Op::Put(entry), When::Always).await
    }

    /// Removes it, on no condition.
    pub(super) async fn remove(&self, key: &str) -> Outcome {
        self.applies(key, Op::Remove(Version::NONE), When::Always)
            .await
    }

    pub(super) async fn refuses(
        &self,
        key: &str,
        op: Op,
        when: When,
        held: Option<Version>,
    ) -> Outcome {
        let what = format!("{} of {key:?} on {when:?}", name(&op));
        let before = self.get(key).await?;
        let expected = Applied::Refused { held };
        match self.write(key, op, when).await? {
            found if found == expected => self.expect(key, before).await,
            found => Err(format!("{what} gave {found:?}, not {expected:?}")),
        }
    }

    /// It fails with an error that this is right for, and changes nothing.
    pub(super) async fn fails(
        &self,
        key: &str,
        op: Op,
        when: When,
        right: impl Fn(&Error) -> bool,
    ) -> Outcome {
        let what = format!("{} of {key:?} on {when:?}", name(&op));
        let before = self.get(key).await?;
        match self.tier.write(legal(key)?, op, when).await {
            Err(error) if right(&error) => self.expect(key, before).await,
            Err(error) => Err(format!("{what} failed as {error:?}")),
            Ok(applied) => Err(format!("{what} gave {applied:?}, not an error")),
        }
    }

    /// It cannot, and changes nothing; or it does what the condition asks for.
    pub(super) async fn does_not_or_does(
        &self,
        key: &str,
        op: Op,
        when: When,
        right: bool,
    ) -> Outcome {
        let what = format!("{} of {key:?} on {when:?}", name(&op));
        let before = self.get(key).await?;
        let after = match (&op, right) {
            (_, false) => before.clone(),
            (Op::Put(entry), true) => Some(entry.clone()),
            (Op::Remove(_), true) => None,
            (Op::Merge(delta), true) => {
                let held = before.as_ref().map(|entry| entry.value.as_ref().try_into());
                let held = held
                    .transpose()
                    .map_err(|_| "the sum before is no number")?;
                let sum = held.map_or(0, i64::from_le_bytes).wrapping_add(*delta);
                Some(Entry::new(sum.to_le_bytes().to_vec()))
            }
        };
        match self.tier.write(legal(key)?, op, when).await {
            Err(error) if unsupported(&error) => self.expect(key, before).await,
            Ok(Applied::Done) if right => self.expect(key, after).await,
            Ok(Applied::Refused { .. }) if !right => self.expect(key, before).await,
            other => Err(format!("{what} gave {other:?}, which it does not claim")),
        }
    }

    pub(super) async fn scan(&self, from: Option<&Bytes>, limit: usize) -> Outcome<Page> {
        let page = self.tier.scan(from, limit).await;
        page.map_err(|error| format!("scan failed: {error}"))
    }
}

fn unsupported(error: &Error) -> bool {
    error.kind() == Kind::Unsupported && !error.is_unknown()
}

fn legal(key: &str) -> Outcome<Key<'_>> {
    Key::new(key).map_err(|bad| bad.to_string())
}

fn name(op: &Op) -> String {
    match op {
        Op::Put(entry) => format!("a put of {} bytes", entry.value.len()),
        other => format!("{other:?}"),
    }
}
