//! What goes wrong, and at which call.

use std::io::ErrorKind;

/// A class of calls on a store or on a directory of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Every call, whatever its class.
    Any,
    /// `Read::read`.
    Read,
    /// `Write::write`.
    Write,
    /// `Seek::seek`.
    Seek,
    /// `Write::flush`.
    Flush,
    /// `Store::sync`.
    Sync,
    /// `Store::set_len`.
    SetLen,
    /// `Store::preserve`.
    Preserve,
    /// `Directory::list`.
    List,
    /// `Directory::create`.
    Create,
    /// `Directory::open`.
    Open,
    /// `Directory::read`.
    OpenRead,
    /// `Directory::rename`.
    Rename,
    /// `Directory::remove`.
    Remove,
    /// `Directory::sync`.
    DirSync,
    /// `Directory::lock`.
    Lock,
}

/// How many calls of each class arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Calls {
    /// Calls of `Read::read`.
    pub reads: u64,
    /// Calls of `Write::write`.
    pub writes: u64,
    /// Calls of `Seek::seek`.
    pub seeks: u64,
    /// Calls of `Write::flush`.
    pub flushes: u64,
    /// Calls of `Store::sync`.
    pub syncs: u64,
    /// Calls of `Store::set_len`.
    pub set_lens: u64,
    /// Calls of `Store::preserve`.
    pub preserves: u64,
}

impl Calls {
    /// Calls of all classes.
    pub fn total(&self) -> u64 {
        let io = self.reads + self.writes + self.seeks + self.flushes;
        io + self.syncs + self.set_lens + self.preserves
    }

    /// Calls of one class; 0 for those of a directory.
    pub fn of(&self, class: Class) -> u64 {
        match class {
            Class::Any => self.total(),
            Class::Read => self.reads,
            Class::Write => self.writes,
            Class::Seek => self.seeks,
            Class::Flush => self.flushes,
            Class::Sync => self.syncs,
            Class::SetLen => self.set_lens,
            Class::Preserve => self.preserves,
            _ => 0,
        }
    }

    pub(super) fn count(&mut self, class: Class) {
        match class {
            Class::Read => self.reads += 1,
            Class::Write => self.writes += 1,
            Class::Seek => self.seeks += 1,
            Class::Flush => self.flushes += 1,
            Class::Sync => self.syncs += 1,
            Class::SetLen => self.set_lens += 1,
            Class::Preserve => self.preserves += 1,
            _ => {}
        }
    }
}

/// How many calls of each class arrived at a directory and at all stores in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DirCalls {
    /// Calls of all stores together, those for reading included.
    pub stores: Calls,
    /// Calls of `Directory::list`.
    pub lists: u64,
    /// Calls of `Directory::create`.
    pub creates: u64,
    /// Calls of `Directory::open`.
    pub opens: u64,
    /// Calls of `Directory::read`.
    pub open_reads: u64,
    /// Calls of `Directory::rename`.
    pub renames: u64,
    /// Calls of `Directory::remove`.
    pub removes: u64,
    /// Calls of `Directory::sync`.
    pub dir_syncs: u64,
    /// Calls of `Directory::lock`.
    pub locks: u64,
}

impl DirCalls {
    /// Calls of all classes.
    pub fn total(&self) -> u64 {
        let found = self.lists + self.opens + self.open_reads + self.locks;
        let changed = self.creates + self.renames + self.removes + self.dir_syncs;
        self.stores.total() + found + changed
    }

    /// Calls of one class.
    pub fn of(&self, class: Class) -> u64 {
        match class {
            Class::Any => self.total(),
            Class::List => self.lists,
            Class::Create => self.creates,
            Class::Open => self.opens,
            Class::OpenRead => self.open_reads,
            Class::Rename => self.renames,
            Class::Remove => self.removes,
            Class::DirSync => self.dir_syncs,
            Class::Lock => self.locks,
            _ => self.stores.of(class),
        }
    }

    pub(super) fn count(&mut self, class: Class) {
        match class {
            Class::List => self.lists += 1,
            Class::Create => self.creates += 1,
            Class::Open => self.opens += 1,
            Class::OpenRead => self.open_reads += 1,
            Class::Rename => self.renames += 1,
            Class::Remove => self.removes += 1,
            Class::DirSync => self.dir_syncs += 1,
            Class::Lock => self.locks += 1,
            _ => self.stores.count(class),
        }
    }
}

/// One line of a fault script: what goes wrong, and at which call.
///
/// A kind that means nothing for the call it meets (a short seek) leaves that call alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: Kind,
    /// The calls that are counted.
    pub class: Class,
    /// Index of the call among them, from 0, since the store or directory was made or last
    /// [calmed](super::FaultStore::calm).
    pub at: u64,
    /// At every call from there on, not only at that one.
    pub sticky: bool,
}

/// What goes wrong at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An error of that kind, before anything is done. EIO is [`ErrorKind::Other`]; EFBIG, EROFS,
    /// `WouldBlock`, `TimedOut` and so on have kinds of their own.
    Fail(ErrorKind),
    /// The work is done, then an error of that kind all the same.
    After(ErrorKind),
    /// A full disk as it really happens: the write takes half and says so, the next one fails with
    /// [`ErrorKind::StorageFull`] (and all others, if sticky). A sync or `set_len` fails at once, and so do
    /// the creation and renaming of a store and the sync of its directory.
    Full,
    /// That many calls in a row are interrupted.
    Interrupted(u64),
    /// `Ok(0)` from a read or a write.
    Zero,
    /// A read or write moves one byte.
    One,
    /// A read or write moves half of the bytes, rounded down, but at least one.
    Half,
    /// A read or write moves all bytes but one, but at least one.
    AllButOne,
    /// A panic, before anything is done.
    Panic,
    /// The sync fails and the unsynced bytes stay as they are: a later sync may keep them. (Here and below: for
    /// the sync of a directory, what was done to its names.)
    SyncDirty,
    /// The sync fails and the view falls back to what is durable.
    SyncReverts,
    /// The sync fails; the unsynced bytes stay visible, but no later sync keeps them.
    SyncLoses,
    /// The sync fails; of the unsynced writes some are durable, the others are lost as by
    /// [`SyncLoses`](Kind::SyncLoses).
    SyncLosesSome,
    /// `Ok`, and nothing was done: a sync that keeps nothing, a write that is lost, a seek that
    /// does not move, a `set_len` that changes nothing. A read has one bit wrong.
    Lie,
    /// The write lands at this offset instead, and says nothing.
    Misdirect(u64),
}

impl Kind {
    pub(super) fn is_short(self) -> bool {
        matches!(self, Kind::One | Kind::Half | Kind::AllButOne)
    }

    /// How many of `count` bytes a short call moves.
    pub(super) fn shorten(self, count: usize) -> usize {
        let short = match self {
            Kind::One => 1,
            Kind::Half => count / 2,
            Kind::AllButOne => count.saturating_sub(1),
            _ => count,
        };
        short.max(1).min(count)
    }
}

/// How many bytes a read or write moves when no fault says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chunks {
    /// All that were asked for.
    #[default]
    Whole,
    /// One byte at a time.
    One,
    /// A random count, and one call in eight is interrupted.
    Random,
}

/// The line of a script that a call meets, by its index in its class and among all calls.
pub(super) fn met(faults: &[Fault], class: Class, own: u64, any: u64) -> Option<Fault> {
    let hit = faults.iter().find(|fault| {
        let index = if fault.class == Class::Any { any } else { own };
        let row = match fault.kind {
            Kind::Interrupted(times) => times,
            _ => 1,
        };
        let met = index >= fault.at && (fault.sticky || index - fault.at < row);
        met && (fault.class == Class::Any || fault.class == class) && applies(fault.kind, class)
    });
    hit.copied()
}

/// Whether a kind means anything for a class of calls.
fn applies(kind: Kind, class: Class) -> bool {
    use Class::{Create, DirSync, Flush, Preserve, Read, Rename, Seek, SetLen, Sync, Write};
    match kind {
        Kind::Fail(_) | Kind::After(_) | Kind::Interrupted(_) | Kind::Panic => true,
        Kind::Full => matches!(
            class,
            Write | Flush | Sync | SetLen | Preserve | Create | Rename | DirSync
        ),
        Kind::Zero | Kind::One | Kind::Half | Kind::AllButOne => matches!(class, Read | Write),
        Kind::SyncDirty | Kind::SyncReverts | Kind::SyncLoses | Kind::SyncLosesSome => {
            matches!(class, Sync | DirSync)
        }
        Kind::Lie => matches!(class, Read | Write | Seek | Sync | SetLen | DirSync),
        Kind::Misdirect(_) => class == Write,
    }
}
