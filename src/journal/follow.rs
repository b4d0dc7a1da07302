//! Follows a journal: what it has, then what comes, in this process or beside the one that writes.

use std::sync::Arc as StdArc;
use std::thread;
use std::time::Duration;

use super::chain::{self, ATTEMPTS, Chain};
use super::committer::Core;
use super::cursor::Cursor;
use super::error::{Action, Error, Result};
use super::files::{Files, Name, name, parse};
use super::mark;
use super::options::Durability;
use super::queue::View;
use super::read::{Document, SegmentReader};
use super::sync::Arc;
use crate::buffer::format::{Edge, Salt};

/// Between two looks at a journal that another process writes.
const POLL: Duration = Duration::from_millis(2);
/// A look at all names comes with every so many looks.
const LIST_EVERY: u32 = 16;

/// What a follower is told.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Step<'a> {
    /// The next document.
    Document(Document<'a>),
    /// The journal was cut back: documents from this position on, which were handed over, are void. What
    /// comes next has this position.
    CutBack {
        /// The position.
        to: u64,
    },
}

/// Where a follower begins.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Position(u64),
    Behind(Cursor),
}

/// Where a follower learns what is new.
enum Source {
    /// In the process that writes.
    Inside(Arc<Core>, Durability),
    /// From the directory alone.
    Outside { looks: u32 },
}

impl Source {
    /// Lets whoever is changing the directory show what became of it.
    fn let_pass(&self) {
        match self {
            Source::Inside(core, _) => core.let_pass(),
            Source::Outside { .. } => chain::pause(),
        }
    }
}

/// Hands over every document from a position on, in order, and then those to come.
///
/// In the process that writes, a document is handed over once it is as durable as the journal's
/// [`Options::durability`](super::Options::durability) (at least written); in another one, once it is
/// written, which may be before it survives power loss. A reader that is slow costs no memory: what it has
/// not read lies in the directory. What retention discards before it was read is [`Error::Discarded`].
///
/// Memory: one window of 512 KiB, and the document in hand where that is longer. Another process is watched
/// by a look at a few bytes every 2 ms.
///
/// # Examples
///
/// ```
/// use documentbuffer::journal::{Journal, Step};
/// # let dir = tempfile::tempdir().expect("a directory");
/// # let path = dir.path().join("journal");
///
/// let journal = Journal::open(&path)?;
/// journal.append("one")?;
/// let mut follower = journal.follow(0)?;
/// let Step::Document(first) = follower.next()? else { panic!() };
/// assert_eq!((first.position, first.bytes), (0, &b"one"[..]));
/// assert!(follower.try_next()?.is_none());
/// journal.truncate_after(0)?;
/// assert!(matches!(follower.next()?, Step::CutBack { to: 0 }));
/// # Ok::<(), documentbuffer::journal::Error>(())
/// ```
pub struct Follower {
    files: Files,
    source: Source,
    /// As it was when it was last looked at.
    chain: StdArc<Chain>,
    reader: Option<SegmentReader>,
    /// The next document's.
    position: u64,
    /// Where the last document that was handed over ends in its segment.
    behind: Edge,
    /// What it was to go on from, and is not told yet that it was cut back.
    cut: Option<(Cursor, u64)>,
    /// A segment was not there when it was to be read.
    gone: bool,
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower")
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

/// What taking a step came to.
enum Found {
    Document { position: u64, len: usize },
    CutBack { to: u64 },
    Nothing,
}

impl Follower {
    /// Begins where `place` says in view of what is to be seen.
    pub(super) fn inside(
        files: Files,
        core: Arc<Core>,
        durability: Durability,
        place: impl Fn(&View) -> Place,
    ) -> Result<Follower> {
        let begin = || {
            let view = core.lock().view.clone();
            let source = Source::Inside(core.clone(), durability);
            let follower = Follower::new(files.clone(), source, view.chain.clone());
            follower.begin(place(&view))
        };
        chain::again(|| core.let_pass(), begin)
    }

    pub(super) fn outside(files: Files, place: Place) -> Result<Follower> {
        chain::again(chain::pause, || {
            let chain = StdArc::new(chain::look(&files)?);
            let follower = Follower::new(files.clone(), Source::Outside { looks: 0 }, chain);
            follower.begin(place)
        })
    }

    fn new(files: Files, source: Source, chain: StdArc<Chain>) -> Follower {
        Follower {
            files,
            source,
            chain,
            reader: None,
            position: 0,
            behind: Edge::empty(Salt::new(0)),
            cut: None,
            gone: false,
        }
    }

    fn begin(mut self, place: Place) -> Result<Follower> {
        match place {
            Place::Position(position) => self.start(position)?,
            Place::Behind(cursor) => self.resume(&cursor)?,
        }
        Ok(self)
    }

    fn start(&mut self, position: u64) -> Result<()> {
        let first = self.chain.first();
        if position < first {
            return Err(Error::Discarded { position, first });
        }
        self.enter(position)
    }

    /// Goes on behind what `cursor` names; where that is not there any more, it says so first.
    fn resume(&mut self, cursor: &Cursor) -> Result<()> {
        if cursor.journal != self.chain.journal {
            return Err(Error::ForeignCursor);
        }
        let position = cursor.position();
        match self.start(position) {
            // Every log begins with nothing.
            Ok(()) if position == 0 || self.cursor() == *cursor => return Ok(()),
            Ok(()) | Err(Error::BeyondEnd { .. }) => {}
            Err(error) => return Err(error),
        }
        let first = self.chain.first();
        let to = self.chain.same_up_to(cursor.mark.segment);
        let to = to.unwrap_or(first.saturating_sub(1)).min(position);
        self.start(to)?;
        self.cut = Some((*cursor, to));
        Ok(())
    }

    /// The next position, as far as is told.
    pub fn position(&self) -> u64 {
        (self.cut).map_or(self.position, |(cursor, _)| cursor.position())
    }

    /// The place behind what was handed over last, to go on from at another time.
    pub fn cursor(&self) -> Cursor {
        if let Some((cursor, _)) = self.cut {
            return cursor;
        }
        let link = self.reader.as_ref().map(SegmentReader::link);
        let mark = link.map(|link| mark::at(link, self.behind));
        Cursor {
            journal: self.chain.journal,
            mark: mark.unwrap_or_default(),
        }
    }

    /// Stands in front of `position`.
    fn enter(&mut self, position: u64) -> Result<()> {
        let Some(link) = self.chain.holder(position).copied() else {
            return Err(Error::BeyondEnd { position, end: 0 });
        };
        let mut reader = SegmentReader::open(&self.files, &link, link.start, link.len())?;
        if link.end.is_none() {
            let limit = self.limit_of_live(link.sequence, &mut reader)?;
            reader.relimit(limit)?;
            if !reader.reach(position)? {
                let end = reader.position();
                return Err(Error::BeyondEnd { position, end });
            }
        } else {
            reader.skip_to(position)?;
        }
        self.position = position;
        self.behind = reader.edge();
        self.reader = Some(reader);
        Ok(())
    }

    /// Up to where a segment may be read that was live when it was looked at.
    fn limit_of_live(&self, sequence: u64, reader: &mut SegmentReader) -> Result<u64> {
        let Source::Inside(core, _) = &self.source else {
            return reader.store_len();
        };
        let state = core.lock();
        // The journal may have gone on to another segment since.
        match state.view.chain.link(sequence).map(|link| link.end) {
            Some(None) => Ok(state.view.edge.offset),
            Some(Some(end)) => Ok(end.offset),
            None => {
                let gone = std::io::ErrorKind::NotFound.into();
                let file = self.files.segment(sequence);
                Err(Error::io(Action::Read, file, gone))
            }
        }
    }

    /// The next step, if there is one already.
    ///
    /// # Errors
    ///
    /// [`Error::Discarded`], [`Error::Segment`] for damage, [`Error::Io`]; [`Error::Closed`] once a journal
    /// that was closed in this process has nothing more.
    pub fn try_next(&mut self) -> Result<Option<Step<'_>>> {
        let found = self.step()?;
        Ok(self.shown(&found))
    }

    /// The next step; waits for it.
    ///
    /// # Errors
    ///
    /// As [`try_next`](Follower::try_next).
    #[allow(clippy::should_implement_trait)] // It lends its documents.
    pub fn next(&mut self) -> Result<Step<'_>> {
        let found = loop {
            match self.step()? {
                Found::Nothing => self.wait(None)?,
                found => break found,
            }
        };
        self.shown(&found).ok_or(Error::Closed)
    }

    /// The next step, if it comes within `most`.
    ///
    /// # Errors
    ///
    /// As [`try_next`](Follower::try_next).
    pub fn next_timeout(&mut self, most: Duration) -> Result<Option<Step<'_>>> {
        let mut left = most;
        let found = loop {
            let found = self.step()?;
            if !matches!(found, Found::Nothing) || left.is_zero() {
                break found;
            }
            let slice = left.min(POLL);
            self.wait(Some(slice))?;
            left = left.saturating_sub(slice);
        };
        Ok(self.shown(&found))
    }

    fn shown(&self, found: &Found) -> Option<Step<'_>> {
        match *found {
            Found::Document { position, len } => {
                let bytes = self.reader.as_ref().map(|reader| reader.handed(len))?;
                Some(Step::Document(Document { position, bytes }))
            }
            Found::CutBack { to } => Some(Step::CutBack { to }),
            Found::Nothing => None,
        }
    }

    fn step(&mut self) -> Result<Found> {
        let mut attempts = 0;
        loop {
            match self.step_once() {
                // What is cut away or discarded vanishes between two calls: what became of it says the chain.
                Err(error) if error.is_not_found() && attempts < ATTEMPTS => {
                    attempts += 1;
                    self.gone = true;
                    self.source.let_pass();
                }
                done => {
                    self.gone = false;
                    return done;
                }
            }
        }
    }

    fn step_once(&mut self) -> Result<Found> {
        if let Some((_, to)) = self.cut.take() {
            return Ok(Found::CutBack { to });
        }
        if let Source::Inside(core, durability) = &self.source {
            let (view, last) = {
                let state = core.lock();
                (state.view.clone(), state.last.clone())
            };
            let visible = visible(&view, *durability);
            return self.step_inside(&view, visible, last);
        }
        self.step_outside()
    }

    fn step_inside(&mut self, view: &View, visible: u64, last: Option<Error>) -> Result<Found> {
        if let Some(to) = self.adopt(&view.chain)? {
            return Ok(Found::CutBack { to });
        }
        while self.position < visible {
            match (self.read(|_| Ok(view.edge.offset))?, &self.reader) {
                (None, _) => {}
                // It is known to be there.
                (Some(Found::Nothing), Some(reader)) => return Err(reader.short()),
                (Some(found), _) => return Ok(found),
            }
        }
        last.map_or(Ok(Found::Nothing), Err)
    }

    fn step_outside(&mut self) -> Result<Found> {
        if self.gone
            && let Some(to) = self.adopt(&StdArc::new(chain::look(&self.files)?))?
        {
            return Ok(Found::CutBack { to });
        }
        loop {
            match self.read(SegmentReader::store_len)? {
                None => continue,
                Some(Found::Nothing) => {}
                Some(found) => return Ok(found),
            }
            let Some(link) = self.reader.as_ref().map(|reader| *reader.link()) else {
                return Ok(Found::Nothing);
            };
            if !self.has_changed(link.sequence)? {
                return Ok(Found::Nothing);
            }
            let chain = StdArc::new(chain::look(&self.files)?);
            if chain.live().map(|live| live.sequence) == Some(link.sequence) {
                return Ok(Found::Nothing);
            }
            if let Some(to) = self.adopt(&chain)? {
                return Ok(Found::CutBack { to });
            }
        }
    }

    /// Whether there may be a newer segment than the one that was live.
    fn has_changed(&mut self, live: u64) -> Result<bool> {
        let Source::Outside { looks } = &mut self.source else {
            return Ok(false);
        };
        *looks = looks.wrapping_add(1);
        if *looks % LIST_EVERY != 0 {
            let next = name(live.saturating_add(1));
            return Ok(self.files.directory().read(&next).is_ok());
        }
        let names = self.files.list()?;
        Ok((names.iter()).any(|name| matches!(parse(name), Name::Segment(found) if found > live)))
    }

    /// Reads on; `None` where the segment ended and the next was entered.
    fn read(&mut self, limit: impl Fn(&mut SegmentReader) -> Result<u64>) -> Result<Option<Found>> {
        let Some(reader) = &mut self.reader else {
            return Ok(Some(Found::Nothing));
        };
        let sealed = reader.link().end.is_some();
        let mut next = reader.next_len()?;
        if next.is_none() && !sealed && reader.has_news()? {
            let limit = limit(reader)?;
            reader.relimit(limit)?;
            next = reader.next_len()?;
        }
        if let Some((position, len)) = next {
            self.position = position.saturating_add(1);
            self.behind = reader.edge();
            return Ok(Some(Found::Document { position, len }));
        }
        if !sealed {
            return Ok(Some(Found::Nothing));
        }
        reader.check_end()?;
        let sequence = reader.link().sequence;
        if self.chain.next(sequence).is_none() {
            return Ok(Some(Found::Nothing));
        }
        self.enter(self.position)?;
        Ok(None)
    }

    /// Takes note of what has become of the chain; says where it was cut back to, if that concerns what was
    /// handed over.
    fn adopt(&mut self, chain: &StdArc<Chain>) -> Result<Option<u64>> {
        if StdArc::ptr_eq(chain, &self.chain) {
            return Ok(None);
        }
        let old = std::mem::replace(&mut self.chain, chain.clone());
        let adopted = self.go_over(&old, chain);
        if adopted.is_err() {
            // Whoever asks again is told again.
            self.chain = old;
        }
        adopted
    }

    fn go_over(&mut self, old: &Chain, chain: &Chain) -> Result<Option<u64>> {
        let first = chain.first();
        let common = chain.common(old, self.position);
        let to = common.unwrap_or(first.min(self.position));
        if to < self.position {
            self.enter_again(to)?;
            return Ok(Some(to));
        }
        if self.position < first {
            let position = self.position;
            return Err(Error::Discarded { position, first });
        }
        let reading = self.reader.as_ref().map(|reader| reader.link().sequence);
        match reading.map(|sequence| chain.link(sequence).map(|link| link.end)) {
            Some(Some(Some(end))) => {
                self.reader
                    .as_mut()
                    .map_or(Ok(()), |reader| reader.sealed(end))?;
            }
            // What it stood in is gone, and it had read all that counts of it.
            Some(None) => self.enter_again(self.position)?,
            _ => {}
        }
        Ok(None)
    }

    fn enter_again(&mut self, position: u64) -> Result<()> {
        let first = self.chain.first();
        match self.enter(position) {
            Err(error) if error.is_not_found() && position < first => {
                Err(Error::Discarded { position, first })
            }
            done => done,
        }
    }

    fn wait(&self, most: Option<Duration>) -> Result<()> {
        match &self.source {
            Source::Inside(core, durability) => {
                let state = core.lock();
                let seen = StdArc::ptr_eq(&state.view.chain, &self.chain);
                if seen
                    && visible(&state.view, *durability) <= self.position
                    && state.last.is_none()
                {
                    drop(core.wait_for_news(state, most));
                }
            }
            Source::Outside { .. } => thread::sleep(most.map_or(POLL, |most| most.min(POLL))),
        }
        Ok(())
    }
}

/// Up to where a follower in this process may read.
pub(super) fn visible(view: &View, durability: Durability) -> u64 {
    match durability {
        Durability::Synced => view.synced,
        _ => view.written,
    }
}
