//! What every tier promises, as one call for its author.
//!
//! ```
//! use documentbuffer::tier::conformance;
//! # use documentbuffer::tier::*;
//! # use std::{collections::HashMap, sync::Mutex};
//! # #[derive(Default)]
//! # struct Mine(Mutex<HashMap<KeyBuf, Entry>>);
//! # impl Tier for Mine {
//! #     fn name(&self) -> &str { "mine" }
//! #     fn capabilities(&self) -> Capabilities { Capabilities::default() }
//! #     async fn get(&self, key: Key<'_>) -> Result<Option<Entry>> {
//! #         let held = self.0.lock().expect("no panic").get(key.as_str()).cloned();
//! #         Ok(held.filter(|entry| entry.is_live(1_700_000_000_000_000)))
//! #     }
//! #     async fn write(&self, key: Key<'_>, op: Op, when: When) -> Result<Applied> {
//! #         if when != When::Always { return Err(Error::new(Kind::Unsupported, "mine", "no conditions")); }
//! #         let mut held = self.0.lock().expect("no panic");
//! #         match op {
//! #             Op::Put(entry) => drop(held.insert(key.into(), entry)),
//! #             Op::Remove(_) => drop(held.remove(key.as_str())),
//! #             _ => return Err(Error::new(Kind::Unsupported, "mine", "no merge")),
//! #         }
//! #         Ok(Applied::Done)
//! #     }
//! # }
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! conformance::run(async || Mine::default()).await?;
//! # Ok::<(), conformance::Failure>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What survives a power cut cannot be seen from here; that stays the author's to show.

mod bench;
mod races;
mod rules;

use std::fmt;
use std::sync::Arc;

use super::{Capabilities, Tier};
use bench::{Bench, Outcome};

/// Checks the tiers that `make` gives: a fresh, empty one each time, about a dozen times, with room for
/// 4 MiB. What is checked follows from [`Tier::capabilities`].
///
/// Runs inside a tokio runtime, for the changes that race; on one of several threads they race better.
///
/// # Errors
///
/// The first rule that the tier breaks, and how.
///
/// # Panics
///
/// Outside a tokio runtime.
pub async fn run<T: Tier>(make: impl AsyncFn() -> T) -> Result<(), Failure> {
    for rule in Rule::ALL {
        let tier = Arc::new(make().await);
        check(*rule, Bench { tier })
            .await
            .map_err(|detail| Failure {
                rule: *rule,
                detail,
            })?;
    }
    Ok(())
}

async fn check<T: Tier>(rule: Rule, bench: Bench<T>) -> Outcome {
    let Capabilities {
        conditions,
        tombstones,
        merge,
        scan,
        ..
    } = bench.tier.capabilities();
    match rule {
        Rule::Absent => rules::absent(&bench).await,
        Rule::Overwrite => rules::overwrite(&bench).await,
        Rule::Keys => rules::keys(&bench).await,
        Rule::Values => rules::values(&bench).await,
        Rule::Owned => rules::owned(&bench).await,
        Rule::Kept => rules::kept(&bench).await,
        Rule::Expired => rules::expired(&bench).await,
        Rule::Conditions if conditions => rules::conditions(&bench).await,
        Rule::Conditions => rules::no_conditions(&bench).await,
        Rule::Newer if conditions => rules::newer(&bench).await,
        Rule::Tombstones if conditions && tombstones => rules::tombstones(&bench).await,
        Rule::Merge if merge => rules::merge(&bench).await,
        Rule::Merge => rules::no_merge(&bench).await,
        Rule::Scan if scan => rules::scan(&bench).await,
        Rule::Scan => rules::no_scan(&bench).await,
        Rule::OneWins if conditions => races::one_wins(&bench).await,
        Rule::NoneLost if conditions => races::none_lost(&bench).await,
        Rule::Sums if merge => races::sums(&bench).await,
        Rule::Newer | Rule::Tombstones | Rule::OneWins | Rule::NoneLost | Rule::Sums => Ok(()),
        Rule::Whole => races::whole(&bench).await,
        Rule::Close => rules::close(&bench).await,
    }
}

/// What a tier must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// Absent and empty are different answers, and removing what is absent succeeds.
    Absent,
    /// The last entry put is the one that is there.
    Overwrite,
    /// Every legal key is a key of its own.
    Keys,
    /// Values of any length come back as they were.
    Values,
    /// A value that was handed out does not change.
    Owned,
    /// Version, creation and expiry come back as they were.
    Kept,
    /// What is over is absent.
    Expired,
    /// A change is made exactly where its condition holds; without conditions they are refused as
    /// unsupported.
    Conditions,
    /// `Newer` lets only what is newer through.
    Newer,
    /// A removal that is remembered stands against what is older.
    Tombstones,
    /// A merge adds, or is refused and changes nothing.
    Merge,
    /// A scan lists everything once, page by page.
    Scan,
    /// Of many that put where nothing is, one succeeds.
    OneWins,
    /// Of changes on the condition of a version none is lost.
    NoneLost,
    /// Of merges at once none is lost.
    Sums,
    /// Who reads while others write sees one whole entry or another.
    Whole,
    /// It can be closed, twice.
    Close,
}

impl Rule {
    const ALL: &[Rule] = &[
        Rule::Absent,
        Rule::Overwrite,
        Rule::Keys,
        Rule::Values,
        Rule::Owned,
        Rule::Kept,
        Rule::Expired,
        Rule::Conditions,
        Rule::Newer,
        Rule::Tombstones,
        Rule::Merge,
        Rule::Scan,
        Rule::OneWins,
        Rule::NoneLost,
        Rule::Sums,
        Rule::Whole,
        Rule::Close,
    ];

    fn text(self) -> &'static str {
        match self {
            Rule::Absent => "absent and empty differ, and removing what is absent succeeds",
            Rule::Overwrite => "the last entry put is the one that is there",
            Rule::Keys => "every legal key is a key of its own",
            Rule::Values => "values of any length come back as they were",
            Rule::Owned => "a value that was handed out does not change",
            Rule::Kept => "version, creation and expiry come back as they were",
            Rule::Expired => "what is over is absent",
            Rule::Conditions => "a change is made exactly where its condition holds",
            Rule::Newer => "Newer lets only what is newer through",
            Rule::Tombstones => "a removal that is remembered stands against what is older",
            Rule::Merge => "a merge adds, or is refused and changes nothing",
            Rule::Scan => "a scan lists everything once, page by page",
            Rule::OneWins => "of many that put where nothing is, one succeeds",
            Rule::NoneLost => "of changes on the condition of a version none is lost",
            Rule::Sums => "of merges at once none is lost",
            Rule::Whole => "who reads while others write sees one whole entry or another",
            Rule::Close => "it can be closed, twice",
        }
    }
}

/// The rule that a tier broke, and how.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// The rule.
    pub rule: Rule,
    /// What was done, expected and found.
    pub detail: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rule, text) = (self.rule, self.rule.text());
        write!(f, "{rule:?} ({text}): {}", self.detail)
    }
}

/// As `Display`, since that is what a test that returns it prints.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Failure {}
