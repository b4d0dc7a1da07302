//! A state that is what its events make of it: the newest good snapshot, and everything behind it.
//!
//! ```text
//!   record: encode -> decide -> append (durable) -> apply -> snapshot, where one is due
//!   open:   newest good snapshot -> replay the rest
//!   cut:    the state without what goes -> cut the log -> take that state
//! ```
//!
//! What is applied is always what a replay would read, so the state that a program goes on with and the one
//! it finds at its next start are the same. A snapshot is a cache: without any the log says the same.

mod load;
mod options;

pub use load::StateReport;
pub use options::ReplayedOptions;

use std::fmt;
use std::io::ErrorKind::NotFound;
use std::ops::Range;
use std::sync::Arc;

use super::Journal;
use super::chain::Chain;
use super::error::{Error, Result};
use super::events::{Codec, Events};
use super::mark::newest;
use super::snapshot::{Head, SnapshotError, SnapshotInfo, SnapshotStep, Snapshots};
use super::stats::Stats;
use load::Loaded;
use options::Rules;

/// What events make.
///
/// Applying the same events in the same order must always make the same state: no clock, no chance, no look
/// at the world outside.
pub trait State {
    /// What happens to it.
    type Event;

    /// Takes an event in. It has happened: there is no way to refuse it.
    fn apply(&mut self, event: &Self::Event);
}

/// A state on a journal: what is recorded is durable first, and applied then.
///
/// One at a time changes it; readers of the journal and subscribers see what was recorded. To append through
/// the journal itself is refused at the next [`record`](Replayed::record) with
/// [`Error::PositionMismatch`], to cut it with [`Error::CutBack`]; [`catch_up`](Replayed::catch_up) takes
/// either in.
///
/// Memory: the state; while one is made anew (cutting, catching up) and while a snapshot is checked, another;
/// while a snapshot is written or loaded, its bytes.
///
/// # Examples
///
/// ```
/// use documentbuffer::journal::{Cause, Codec, Replayed, State};
///
/// /// Numbers, as text.
/// struct Decimal;
///
/// impl Codec<i64> for Decimal {
///     fn name(&self) -> &str {
///         "decimal"
///     }
///     fn encode(&self, value: &i64, into: &mut Vec<u8>) -> Result<(), Cause> {
///         into.extend(value.to_string().bytes());
///         Ok(())
///     }
///     fn decode(&self, bytes: &[u8]) -> Result<i64, Cause> {
///         Ok(std::str::from_utf8(bytes)?.parse()?)
///     }
/// }
///
/// #[derive(Default)]
/// struct Purse(i64);
///
/// impl State for Purse {
///     type Event = i64;
///     fn apply(&mut self, paid: &i64) {
///         self.0 += paid;
///     }
/// }
/// # let dir = tempfile::tempdir().expect("a directory");
/// # let path = dir.path().join("journal");
///
/// let mut purse = Replayed::<Purse>::options(Decimal, Purse::default).open(&path)?;
/// purse.record(&30)?; // Survives power loss from here on.
/// purse.record(&-5)?;
/// assert_eq!(purse.state().0, 25);
/// purse.undo(1)?;
/// purse.close()?;
///
/// let purse = Replayed::<Purse>::options(Decimal, Purse::default).open(&path)?;
/// assert_eq!(purse.state().0, 30);
/// # Ok::<(), documentbuffer::journal::Error>(())
/// ```
pub struct Replayed<S: State> {
    events: Events<S::Event>,
    rules: Rules<S>,
    shelf: Snapshots,
    state: S,
    /// Documents in the state.
    position: u64,
    /// The segments when they were last looked at, and how many documents of the state were in them.
    chain: Arc<Chain>,
    written: u64,
    /// Whether no event is half applied.
    whole: bool,
    /// Where the newest snapshot was taken, or tried.
    saved: u64,
    report: StateReport,
    failure: Option<Error>,
}

impl<S: State> fmt::Debug for Replayed<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replayed")
            .field("position", &self.position)
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}

impl<S: State> Replayed<S> {
    /// How a state is opened whose events are written in `codec`, and which is `initial` before any.
    pub fn options(
        codec: impl Codec<S::Event> + 'static,
        initial: impl Fn() -> S + Send + Sync + 'static,
    ) -> ReplayedOptions<S> {
        ReplayedOptions::new(codec, initial)
    }

    fn begin(events: Events<S::Event>, rules: Rules<S>) -> Result<Replayed<S>> {
        let shelf = Snapshots::new(events.journal().owner.files.directory().clone());
        // What is left of a writer that died takes room, and does no other harm.
        let _ = shelf.clean();
        let loaded = load::load(&events, &rules, &shelf, None)?;
        Ok(Replayed {
            saved: loaded.base(),
            events,
            rules,
            shelf,
            state: loaded.state,
            position: loaded.position,
            written: loaded.position,
            chain: loaded.chain,
            whole: true,
            report: loaded.report,
            failure: None,
        })
    }

    /// The state.
    pub fn state(&self) -> &S {
        &self.state
    }

    /// How many documents are in the state: the position that the next event gets.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// How the state was made when it was last made from the log: by [`ReplayedOptions::open`], by a cut, or
    /// by [`catch_up`](Replayed::catch_up).
    pub fn report(&self) -> &StateReport {
        &self.report
    }

    /// The events behind the state: to replay, and to subscribe to.
    pub fn events(&self) -> &Events<S::Event> {
        &self.events
    }

    /// The journal itself.
    pub fn journal(&self) -> &Journal {
        self.events.journal()
    }

    /// Appends an event, then applies it; returns its position.
    ///
    /// What is applied is what a replay would read: the event as it was written, and as
    /// [`upcast`](ReplayedOptions::upcast) sees it. A snapshot that is due is taken then; if that fails, the
    /// event stands all the same, and [`snapshot_failure`](Replayed::snapshot_failure) has the reason.
    ///
    /// Durable on return: as [`Options::durability`](super::Options::durability) says.
    ///
    /// # Errors
    ///
    /// [`Error::Event`] where it cannot be written so that it can be read; [`Error::PositionMismatch`],
    /// [`Error::CutBack`] where somebody else changed the journal; else as [`Journal::append`]. Nothing was
    /// applied.
    ///
    /// # Panics
    ///
    /// If [`State::apply`] does. The event is durable then, and the state is of no use before
    /// [`catch_up`](Replayed::catch_up) has made it anew.
    pub fn record(&mut self, event: &S::Event) -> Result<u64> {
        let range = self.record_all([event])?;
        Ok(range.start)
    }

    /// Appends events as one, then applies them; returns their positions.
    ///
    /// After a crash all of them are there, or none; in all else as [`record`](Replayed::record).
    ///
    /// # Errors
    ///
    /// As [`record`](Replayed::record).
    ///
    /// # Panics
    ///
    /// As [`record`](Replayed::record).
    pub fn record_all<'e>(
        &mut self,
        events: impl IntoIterator<Item = &'e S::Event>,
    ) -> Result<Range<u64>>
    where
        S::Event: 'e,
    {
        self.check()?;
        let (mut documents, mut read) = (Vec::new(), Vec::new());
        let mut end = self.position;
        for event in events {
            let (document, event) = self.events.reading().round_trip(event, end)?;
            documents.push(document);
            read.extend(event);
            end = end.saturating_add(1);
        }
        let slices: Vec<&[u8]> = documents.iter().map(Vec::as_slice).collect();
        let owner = &self.journal().owner;
        owner
            .core
            .append(&slices, owner.durability, Some(self.position))?;
        self.check()?;
        let recorded = self.position..end;
        self.whole = false;
        self.position = end;
        for event in &read {
            self.state.apply(event);
        }
        self.whole = true;
        self.snapshot_if_due();
        Ok(recorded)
    }

    /// Takes the newest `count` documents back, from the log and the state.
    ///
    /// Durable on return: against power loss, and all or nothing. Takes as long as a replay from the newest
    /// snapshot that has none of them.
    ///
    /// # Errors
    ///
    /// [`Error::BeyondEnd`] where there are not so many; else as
    /// [`truncate_after`](Replayed::truncate_after).
    pub fn undo(&mut self, count: u64) -> Result<()> {
        match self.position.checked_sub(count) {
            Some(end) => self.truncate_after(end),
            None => Err(Error::BeyondEnd {
                position: count,
                end: self.position,
            }),
        }
    }

    /// Keeps the documents before position `end`, and takes the newer ones from the log and the state.
    ///
    /// As [`undo`](Replayed::undo) in everything else.
    ///
    /// # Errors
    ///
    /// [`Error::NoSnapshot`] where what the state would be made of was discarded, and [`Error::Event`] where
    /// a document is no event; else as [`Journal::truncate_after`]. Neither the log nor the state has moved,
    /// but for [`Error::Failed`].
    pub fn truncate_after(&mut self, end: u64) -> Result<()> {
        self.check()?;
        if end == self.position {
            return self.journal().truncate_after(end);
        }
        if end > self.position {
            let (position, end) = (end, self.position);
            return Err(Error::BeyondEnd { position, end });
        }
        // Made before anything is cut: where it cannot be made, nothing is.
        let loaded = load::load(&self.events, &self.rules, &self.shelf, Some(end))?;
        self.journal().truncate_after(end)?;
        self.take(loaded);
        Ok(())
    }

    /// Takes in what others have done to the journal: what they appended is applied, and where they cut, the
    /// state is made anew. So it is after a panic of [`State::apply`].
    ///
    /// Durable on return: what was appended, as by [`Journal::flush`].
    ///
    /// # Errors
    ///
    /// [`Error::Event`] at a document that is no event: the state has all before it. Else as
    /// [`ReplayedOptions::open`].
    ///
    /// # Panics
    ///
    /// If [`State::apply`] does.
    pub fn catch_up(&mut self) -> Result<()> {
        match self.check() {
            Ok(()) => {}
            Err(Error::CutBack { .. } | Error::Event { .. }) => {
                let loaded = load::load(&self.events, &self.rules, &self.shelf, None)?;
                self.take(loaded);
            }
            Err(error) => return Err(error),
        }
        let mut replay = self.events.replay(self.position)?;
        loop {
            let next = replay.next().transpose()?;
            self.whole = false;
            if let Some((_, event)) = &next {
                self.state.apply(event);
            }
            self.position = replay.position();
            self.whole = true;
            if next.is_none() {
                break;
            }
        }
        self.snapshot_if_due();
        Ok(())
    }

    fn take(&mut self, loaded: Loaded<S>) {
        self.saved = loaded.base();
        self.state = loaded.state;
        (self.position, self.written) = (loaded.position, loaded.position);
        self.chain = loaded.chain;
        self.report = loaded.report;
        self.whole = true;
    }

    /// Whether the state is what the log says up to its position.
    fn check(&mut self) -> Result<()> {
        if !self.whole {
            return Err(Error::Event {
                position: Some(self.position.saturating_sub(1)),
                reason: "applying it came to no end: `catch_up` makes the state anew".to_owned(),
            });
        }
        let (chain, written) = {
            let state = self.journal().core().lock();
            (state.view.chain.clone(), state.view.written)
        };
        self.look(chain, written)
    }

    /// Whether what was read of these segments when they were last looked at, is still in them.
    fn look(&mut self, chain: Arc<Chain>, written: u64) -> Result<()> {
        if !Arc::ptr_eq(&chain, &self.chain) {
            let common = chain.common(&self.chain, self.written);
            let to = common.unwrap_or_else(|| chain.first().min(self.written));
            if to < self.written {
                return Err(Error::CutBack { to });
            }
            self.chain = chain;
        }
        self.written = written.min(self.position);
        Ok(())
    }

    fn snapshot_if_due(&mut self) {
        let since = self.position.saturating_sub(self.saved);
        if self.rules.every.is_some_and(|every| since >= every.get()) {
            // The next one is tried when as many events are there again.
            self.saved = self.position;
            self.failure = self.snapshot().err();
        }
    }

    /// What went wrong with the last snapshot that was due, if anything did. Nothing is lost by it.
    pub fn snapshot_failure(&self) -> Option<&Error> {
        self.failure.as_ref()
    }

    /// Takes a snapshot now, and removes those that are over [`ReplayedOptions::keep`] and those that are of
    /// no use to this program any more.
    ///
    /// It is read back before it is written: the log may be discarded on the strength of it. Durable on
    /// return: everything recorded, and the snapshot, against power loss.
    ///
    /// # Errors
    ///
    /// [`Error::Snapshot`]: there is none; or there is, and an old one could not be removed.
    /// [`Error::PositionMismatch`], [`Error::CutBack`] where somebody else changed the journal; else as
    /// [`Journal::sync`].
    pub fn snapshot(&mut self) -> Result<SnapshotInfo> {
        self.check()?;
        let saving = self.rules.saving.clone().ok_or(SnapshotError::NoCodec)?;
        let bytes = saving.encode(&self.state)?;
        // Never ahead of the log: what it is taken behind is durable before.
        let synced = self.journal().core().alone(|writer| {
            writer.sync()?;
            Ok((writer.chain().clone(), writer.edge()))
        });
        let (chain, edge) = synced?;
        let mark = newest(&chain, edge).ok_or(Error::Closed)?;
        self.look(chain.clone(), mark.position)?;
        if mark.position != self.position {
            return Err(Error::PositionMismatch {
                expected: self.position,
                actual: mark.position,
            });
        }
        let head = Head {
            journal: chain.journal,
            schema: saving.schema,
            mark,
            codec: saving.codec.name().to_owned(),
        };
        let named = self.shelf.write(&head, &bytes)?;
        self.saved = self.position;
        let info = self.shelf.info(named.clone())?;
        let gone = || SnapshotError::io(SnapshotStep::Read, &named.name, NotFound.into());
        let info = info.ok_or_else(gone)?;
        let files = &self.journal().owner.files;
        let among = saving.among(&self.shelf, files, &chain, edge);
        self.shelf
            .prune(self.rules.keep, |named| among.worth(named))?;
        Ok(info)
    }

    /// The snapshots, newest first: what their names say, which nothing has checked, and their sizes.
    ///
    /// # Errors
    ///
    /// [`Error::Snapshot`] where the directory cannot be read.
    pub fn snapshots(&self) -> Result<Vec<SnapshotInfo>> {
        self.shelf.infos().map_err(Error::from)
    }

    /// Discards documents before `position`, by whole segments, as far as they are in a snapshot that can be
    /// loaded; returns the first position that is kept.
    ///
    /// Durable on return: as [`Journal::discard_before`].
    ///
    /// # Errors
    ///
    /// As [`Journal::discard_before`], and as [`snapshots`](Replayed::snapshots).
    pub fn discard_before(&mut self, position: u64) -> Result<u64> {
        self.check()?;
        let end = self.position;
        if position > end {
            return Err(Error::BeyondEnd { position, end });
        }
        let newest = load::newest(&self.events, &self.rules, &self.shelf)?;
        self.journal().discard_before(position.min(newest))
    }

    /// Ends the journal: see [`Journal::close`]. Takes no snapshot.
    ///
    /// # Errors
    ///
    /// As [`Journal::close`].
    pub fn close(self) -> Result<Stats> {
        self.events.close()
    }
}
