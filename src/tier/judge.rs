//! What a change does to what a leaf holds: the one place where conditions and merges are understood.

use super::{Applied, Entry, Error, Kind, Op, Result, Version, When};

/// What a leaf holds under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// An entry; it may be over.
    Entry(Entry),
    /// A removal that is remembered.
    Removed(Version),
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing: that is the answer.
    Refuse(Applied),
    /// This is held from now on.
    Put(Entry),
    /// No entry is held from now on.
    Remove(Version),
}

impl Held {
    fn version(&self) -> Version {
        match self {
            Held::Entry(entry) => entry.version,
            Held::Removed(version) => *version,
        }
    }

    /// The entry, unless it is over.
    fn live(&self, now: impl FnOnce() -> u64) -> Option<&Entry> {
        match self {
            Held::Entry(entry) if entry.expiry.is_none() => Some(entry),
            Held::Entry(entry) => Some(entry).filter(|entry| entry.is_live(now())),
            Held::Removed(_) => None,
        }
    }
}

/// Whether `op` on the condition `when` can be judged without what is held.
pub(super) fn is_blind(op: &Op, when: When) -> bool {
    when == When::Always && !matches!(op, Op::Merge(_))
}

/// What `op` does where `held` is held; `now` is asked for only where an expiry stands.
///
/// # Errors
///
/// A merge that the value does not take.
pub(super) fn judge(
    tier: &str,
    held: Option<&Held>,
    op: Op,
    when: When,
    now: impl FnOnce() -> u64,
) -> Result<Verdict> {
    let live = held.and_then(|held| held.live(now));
    let version = held.map(Held::version);
    if !when.allows(op.version(), version, live.is_some()) {
        return Ok(Verdict::Refuse(Applied::Refused { held: version }));
    }
    Ok(match op {
        Op::Put(entry) => Verdict::Put(entry),
        Op::Remove(version) => Verdict::Remove(version),
        Op::Merge(delta) => Verdict::Put(merged(tier, live, delta)?),
    })
}

/// The entry with `delta` added to its value; all else about it stays.
pub(crate) fn merged(tier: &str, live: Option<&Entry>, delta: i64) -> Result<Entry> {
    let Some(entry) = live else {
        return Ok(Entry::new(delta.to_le_bytes().to_vec()));
    };
    let refused = |why: String| Error::new(Kind::Permanent, tier, why);
    let number: [u8; 8] = entry.value.as_ref().try_into().map_err(|_| {
        let bytes = entry.value.len();
        refused(format!(
            "a merge needs a number of 8 bytes, the value has {bytes}"
        ))
    })?;
    let number = i64::from_le_bytes(number);
    let sum = number
        .checked_add(delta)
        .ok_or_else(|| refused(format!("{number} and {delta} is beyond 64 bits")))?;
    let mut entry = entry.clone();
    entry.value = sum.to_le_bytes().to_vec().into();
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: Version = Version {
        fence: 0,
        number: 1,
    };
    const V2: Version = Version {
        fence: 0,
        number: 2,
    };

    fn never() -> u64 {
        panic!("the clock is read without need")
    }

    #[test]
    fn the_clock_is_read_only_for_an_expiry() {
        let held = Held::Entry(Entry::new("v").version(V1));
        let put = Op::Put(Entry::new("w").version(V2));
        for held in [None, Some(&held), Some(&Held::Removed(V1))] {
            for when in [When::Always, When::Absent, When::Newer, When::Is(V1)] {
                assert!(judge("t", held, put.clone(), when, never).is_ok());
            }
        }
    }

    #[test]
    fn what_is_over_is_absent_and_its_version_remembered() {
        let held = Held::Entry(Entry::new("v").version(V2).expires(10));
        let put = |version| Op::Put(Entry::new("w").version(version));
        let refused = Verdict::Refuse(Applied::Refused { held: Some(V2) });
        let judged = |version, when, now| judge("t", Some(&held), put(version), when, || now);
        assert_eq!(judged(V1, When::Absent, 9).unwrap(), refused);
        assert!(matches!(judged(V1, When::Absent, 10), Ok(Verdict::Put(_))));
        assert_eq!(judged(V1, When::Newer, 10).unwrap(), refused);
        assert_eq!(judged(V1, When::Is(V2), 10).unwrap(), refused);
    }

    #[test]
    fn a_merge_keeps_all_but_the_value() {
        let held = |number: i64| {
            let entry = Entry::new(number.to_le_bytes().to_vec());
            Held::Entry(entry.version(V1).created(7).expires(99))
        };
        let merge = |held: &Held, delta| {
            judge("t", Some(held), Op::Merge(delta), When::Always, || 50).map(|verdict| {
                match verdict {
                    Verdict::Put(entry) => Held::Entry(entry),
                    other => panic!("{other:?}"),
                }
            })
        };
        assert_eq!(merge(&held(40), 2).unwrap(), held(42));
        assert_eq!(merge(&held(40), -42).unwrap(), held(-2));
        assert!(merge(&held(i64::MAX), 1).is_err());
        assert!(merge(&held(i64::MIN), -1).is_err());
        assert!(merge(&Held::Entry(Entry::new("seven")), 1).is_err());
    }
}
