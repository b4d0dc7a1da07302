//! How a chain is put together, and what is refused.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::Chain;
use super::level::Level;
use super::report::Failure;
use super::state::{Bounded, Core, OnError};
use super::version::Versions;
use crate::clock::{Clock, SystemClock};
use crate::durability::Durability;
use crate::generation::Generations;
use crate::tier::{BoxTier, Capabilities, Error, Kind, Tier};

/// Levels that a chain has at most.
const MOST_LEVELS: usize = 64;

/// An edge that would acknowledge more than what lies under it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Overstated {
    /// What has survived when the edge acknowledges.
    pub acknowledges: Durability,
    /// What the tier under it keeps.
    pub keeps: Durability,
}

impl fmt::Display for Overstated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Overstated {
            acknowledges,
            keeps,
        } = self;
        write!(
            f,
            "it acknowledges {acknowledges:?}, and what lies under it keeps {keeps:?}"
        )
    }
}

impl std::error::Error for Overstated {}

/// Whether an edge may acknowledge so much above a tier that can `under`.
///
/// # Errors
///
/// [`Overstated`] where it must not: what survived above would be forgotten below.
///
/// # Examples
///
/// ```
/// use documentbuffer::chain::check_edge;
/// use documentbuffer::durability::Durability;
/// use documentbuffer::tier::Capabilities;
///
/// let under = Capabilities::new(Durability::Written);
/// assert!(check_edge(Durability::Memory, &under).is_ok());
/// assert!(check_edge(Durability::Synced, &under).is_err());
/// ```
pub fn check_edge(acknowledges: Durability, under: &Capabilities) -> Result<(), Overstated> {
    let keeps = under.durability;
    match acknowledges > keeps {
        true => Err(Overstated {
            acknowledges,
            keeps,
        }),
        false => Ok(()),
    }
}

/// Why a chain is not built.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// It has no tier.
    NoTier,
    /// It has more tiers than 64.
    TooMany {
        /// How many it has.
        tiers: usize,
    },
    /// A tier keeps more than the last one, which is the truth: after a crash it would answer with what the
    /// truth has forgotten.
    Overstated {
        /// Which tier; the fastest is 0.
        level: usize,
        /// Its name.
        tier: String,
        /// By how much.
        overstated: Overstated,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NoTier => write!(f, "a chain needs a tier"),
            Refusal::TooMany { tiers } => {
                write!(
                    f,
                    "a chain has at most {MOST_LEVELS} tiers, this has {tiers}"
                )
            }
            Refusal::Overstated {
                level,
                tier,
                overstated,
            } => write!(f, "tier {level}, {tier}: {overstated}"),
        }
    }
}

impl std::error::Error for Refusal {}

/// A chain that is not built: why, and its tiers as they were.
pub struct Refused<F> {
    refusal: Refusal,
    first: Option<F>,
    lower: Vec<BoxTier>,
}

impl<F> Refused<F> {
    /// Why.
    pub fn refusal(&self) -> &Refusal {
        &self.refusal
    }

    /// The tiers, for whoever opened them to close them: the first, and those below.
    pub fn into_tiers(self) -> (Option<F>, Vec<BoxTier>) {
        (self.first, self.lower)
    }
}

impl<F> fmt::Debug for Refused<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Refused").field(&self.refusal).finish()
    }
}

impl<F> fmt::Display for Refused<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.refusal.fmt(f)
    }
}

impl<F> std::error::Error for Refused<F> {}

impl<F> From<Refused<F>> for Error {
    fn from(refused: Refused<F>) -> Error {
        let refusal = refused.refusal;
        Error::new(Kind::Permanent, "chain", refusal.to_string()).source(refusal)
    }
}

/// No tier yet.
#[derive(Debug)]
pub struct NoTier(());

/// A chain that is being put together, its fastest tier of type `F`. See [`Chain::new`].
#[must_use = "it is no chain before it is built"]
pub struct Builder<F> {
    first: Option<F>,
    lower: Vec<BoxTier>,
    options: Options,
}

struct Options {
    name: String,
    clock: Option<Arc<dyn Clock>>,
    on_error: Option<OnError>,
    fills: u32,
    writes: u32,
    suspects: usize,
}

impl Builder<NoTier> {
    pub(super) fn new() -> Builder<NoTier> {
        let options = Options {
            name: "chain".to_owned(),
            clock: None,
            on_error: None,
            fills: 256,
            writes: 1024,
            suspects: 65_536,
        };
        Builder {
            first: None,
            lower: Vec::new(),
            options,
        }
    }

    /// The first tier, the fastest. A hit there costs nothing beyond it.
    pub fn tier<F: Tier>(self, first: F) -> Builder<F> {
        Builder {
            first: Some(first),
            lower: self.lower,
            options: self.options,
        }
    }

    /// All tiers, from the fastest down.
    pub fn tiers(self, tiers: impl IntoIterator<Item = BoxTier>) -> Builder<BoxTier> {
        let mut tiers = tiers.into_iter();
        Builder {
            first: tiers.next(),
            lower: tiers.collect(),
            options: self.options,
        }
    }
}

impl<F> Builder<F> {
    /// The name, in errors and metrics; `chain` where nobody says.
    pub fn name(mut self, name: impl Into<String>) -> Builder<F> {
        self.options.name = name.into();
        self
    }

    /// The clock for versions and expiry; the system's where nobody says.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Builder<F> {
        self.options.clock = Some(clock);
        self
    }

    /// Who is told what could not be written and no caller was told, one call for each failure.
    ///
    /// It is called in background tasks, with no turn and no lock held, and may call the chain. A panic in it
    /// ends with the call.
    pub fn on_error(mut self, told: impl Fn(Failure) + Send + Sync + 'static) -> Builder<F> {
        self.options.on_error = Some(Arc::new(told));
        self
    }

    /// How many entries are copied up at once (256); what would be more is left out, and counted.
    pub fn fills(mut self, most: u32) -> Builder<F> {
        self.options.fills = most;
        self
    }

    /// How many writes are under way at once (1024, at least 1); more of them wait. One that waits for the
    /// turn of its key is under way.
    pub fn writes(mut self, most: u32) -> Builder<F> {
        self.options.writes = most.max(1);
        self
    }

    /// Of how many keys each level remembers that it may hold an old value (65,536). Beyond that all of the
    /// level is passed over, until [`Chain::repair`].
    pub fn suspects(mut self, most: usize) -> Builder<F> {
        self.options.suspects = most;
        self
    }
}

impl<F: Tier> Builder<F> {
    /// The next tier, slower than those before. The last one is the truth.
    pub fn tier(mut self, next: impl Tier) -> Builder<F> {
        self.lower.push(BoxTier::new(next));
        self
    }

    /// The chain.
    ///
    /// # Errors
    ///
    /// [`Refused`], which gives the tiers back: a chain opens none, so it closes none.
    pub fn build(self) -> Result<Chain<F>, Refused<F>> {
        let Builder {
            first,
            lower,
            options,
        } = self;
        let refused = |refusal, first, lower| Refused {
            refusal,
            first,
            lower,
        };
        let Some(first) = first else {
            return Err(refused(Refusal::NoTier, None, lower));
        };
        let can = match capabilities(&first, &lower) {
            Ok(can) => can,
            Err(refusal) => return Err(refused(refusal, Some(first), lower)),
        };
        let first = Arc::new(first);
        let level = |tier| Level::new(tier, options.suspects);
        let mut uppers = vec![level(BoxTier::new(first.clone()))];
        uppers.extend(lower.into_iter().map(level));
        let Some(truth) = uppers.pop() else {
            return Err(refused(Refusal::NoTier, None, Vec::new()));
        };
        let system = || Arc::new(SystemClock::new()) as Arc<dyn Clock>;
        let core = Core {
            name: options.name,
            can,
            uppers,
            truth,
            generations: Generations::new(),
            versions: Versions::default(),
            clock: options.clock.unwrap_or_else(system),
            on_error: options.on_error,
            fills: Bounded::new(options.fills),
            writes: Bounded::new(options.writes),
            closed: AtomicBool::new(false),
            ended: Default::default(),
        };
        Ok(Chain {
            first,
            core: Arc::new(core),
        })
    }
}

impl<F> fmt::Debug for Builder<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.options.name)
            .field("lower", &self.lower)
            .finish_non_exhaustive()
    }
}

/// What the chain of these can: what its truth can, and it keeps as much as the least of those levels whose
/// contents outlive the process.
fn capabilities<F: Tier>(first: &F, lower: &[BoxTier]) -> Result<Capabilities, Refusal> {
    let tiers = lower.len() + 1;
    if tiers > MOST_LEVELS {
        return Err(Refusal::TooMany { tiers });
    }
    let mut can = lower
        .last()
        .map_or_else(|| first.capabilities(), Tier::capabilities);
    let truth = can;
    let lower = lower.iter().map(|tier| (tier.name(), tier.capabilities()));
    let all = [(first.name(), first.capabilities())]
        .into_iter()
        .chain(lower);
    for (level, (tier, upper)) in all.enumerate() {
        check_edge(upper.durability, &truth).map_err(|overstated| Refusal::Overstated {
            level,
            tier: tier.to_owned(),
            overstated,
        })?;
        if upper.outlives() {
            can.durability = can.durability.min(upper.durability);
        }
    }
    Ok(can)
}
