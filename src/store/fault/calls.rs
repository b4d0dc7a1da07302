//! The calls of a [`FaultStore`]: each looks up its fault first.

use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::FaultStore;
use super::script::{Chunks, Class, Fault, Kind, met};
use crate::store::{Store, reserve};

impl FaultStore {
    /// Counts the call and looks up what goes wrong at it.
    fn enter(&mut self, class: Class) -> io::Result<Option<Kind>> {
        let (own, any) = (self.calls.of(class), self.calls.total());
        self.calls.count(class);
        let Some(Fault { kind, sticky, .. }) = met(&self.faults, class, own, any) else {
            return Ok(None);
        };
        self.fired += 1;
        match kind {
            Kind::Fail(kind) => Err(injected(kind)),
            Kind::Interrupted(_) => Err(injected(ErrorKind::Interrupted)),
            Kind::Panic => panic!("injected panic at {class:?} call {own}"),
            Kind::Full if class != Class::Write => Err(injected(ErrorKind::StorageFull)),
            Kind::Full => {
                self.full.get_or_insert(sticky);
                Ok(Some(kind))
            }
            _ => Ok(Some(kind)),
        }
    }

    /// How many of `count` bytes move, by the fault or else by the mode.
    fn count(&mut self, fault: Option<Kind>, count: usize) -> io::Result<usize> {
        if let Some(kind) = fault.filter(|kind| kind.is_short()) {
            return Ok(kind.shorten(count));
        }
        if count == 0 {
            return Ok(0);
        }
        match self.chunks {
            Chunks::Whole => Ok(count),
            Chunks::One => Ok(1),
            Chunks::Random if !self.interrupted && self.rng.below(8) == 0 => {
                self.interrupted = true;
                Err(injected(ErrorKind::Interrupted))
            }
            Chunks::Random => {
                self.interrupted = false;
                Ok(1 + self.rng.below(count as u64) as usize)
            }
        }
    }

    /// How many of `count` bytes fit at `at`.
    fn room(&self, at: u64, count: usize) -> io::Result<usize> {
        let Some(cap) = self.cap else {
            return Ok(count);
        };
        let room = cap.max(self.view.len() as u64).saturating_sub(at);
        if room == 0 && count > 0 {
            return Err(injected(ErrorKind::StorageFull));
        }
        Ok(usize::try_from(room).map_or(count, |room| room.min(count)))
    }
}

pub(super) fn injected(kind: ErrorKind) -> io::Error {
    io::Error::new(kind, "injected fault")
}

/// The error that a fault asks for once the work is done.
pub(super) fn after<T>(fault: Option<Kind>, value: T) -> io::Result<T> {
    match fault {
        Some(Kind::After(kind)) => Err(injected(kind)),
        _ => Ok(value),
    }
}

impl Read for FaultStore {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let fault = self.enter(Class::Read)?;
        if fault == Some(Kind::Zero) {
            return Ok(0);
        }
        let at = usize::try_from(self.position).unwrap_or(usize::MAX);
        let available = self.view.len().saturating_sub(at).min(buf.len());
        let count = self.count(fault, available)?;
        let Some(source) = self.view.get(at..).and_then(|rest| rest.get(..count)) else {
            return after(fault, 0);
        };
        buf[..count].copy_from_slice(source);
        for &(offset, mask) in &self.flips {
            let index = offset.checked_sub(self.position);
            let index = index.and_then(|index| usize::try_from(index).ok());
            if let Some(byte) = index.and_then(|index| buf[..count].get_mut(index)) {
                *byte ^= mask;
            }
        }
        if fault == Some(Kind::Lie) && count > 0 {
            buf[self.rng.below(count as u64) as usize] ^= 1 << self.rng.below(8);
        }
        self.position += count as u64;
        after(fault, count)
    }
}

impl Write for FaultStore {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let pending = self.full;
        let fault = self.enter(Class::Write)?;
        if let Some(sticky) = pending {
            self.full = sticky.then_some(true);
            return Err(injected(ErrorKind::StorageFull));
        }
        if fault == Some(Kind::Zero) {
            return Ok(0);
        }
        if fault == Some(Kind::Full) && buf.len() < 2 {
            self.full = self.full.filter(|&sticky| sticky);
            return Err(injected(ErrorKind::StorageFull));
        }
        let mut count = self.count(fault, buf.len())?;
        if fault == Some(Kind::Full) {
            count = buf.len() / 2;
        }
        let at = if self.append {
            self.view.len() as u64
        } else {
            self.position
        };
        count = self.room(at, count)?;
        match fault {
            _ if count == 0 => {}
            Some(Kind::Lie) => {}
            Some(Kind::Misdirect(to)) => self.put(to, &buf[..count])?,
            _ => self.put(at, &buf[..count])?,
        }
        self.position = at.saturating_add(count as u64);
        after(fault, count)
    }

    fn flush(&mut self) -> io::Result<()> {
        let fault = self.enter(Class::Flush)?;
        after(fault, ())
    }
}

impl Seek for FaultStore {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let fault = self.enter(Class::Seek)?;
        let position = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => (self.view.len() as u64).checked_add_signed(by),
        };
        let position = position.ok_or(ErrorKind::InvalidInput)?;
        if fault != Some(Kind::Lie) {
            self.position = position;
        }
        after(fault, position)
    }
}

#[deny(clippy::missing_trait_methods)]
impl Store for FaultStore {
    fn sync(&mut self) -> io::Result<()> {
        let fault = self.enter(Class::Sync)?;
        match fault {
            Some(Kind::Lie) => return Ok(()),
            Some(Kind::SyncDirty) => {}
            Some(Kind::SyncReverts) => {
                self.settle(|_| false);
                self.view.clone_from(&self.durable);
            }
            Some(Kind::SyncLoses) => self.settle(|_| false),
            Some(Kind::SyncLosesSome) => self.settle(|rng| rng.below(2) == 0),
            _ => {
                self.settle(|_| true);
                return after(fault, ());
            }
        }
        Err(injected(ErrorKind::Other))
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        let fault = self.enter(Class::SetLen)?;
        if fault == Some(Kind::Lie) {
            return Ok(());
        }
        let old = self.view.len() as u64;
        if len > old && self.cap.is_some_and(|cap| len > cap) {
            return Err(injected(ErrorKind::StorageFull));
        }
        let to = reserve(&mut self.view, len)?;
        match len.cmp(&old) {
            std::cmp::Ordering::Less => self.cut(to),
            std::cmp::Ordering::Equal => {}
            std::cmp::Ordering::Greater => self.extend(to),
        }
        after(fault, ())
    }

    fn lock(&mut self) -> io::Result<()> {
        if self.locked {
            return Err(injected(ErrorKind::WouldBlock));
        }
        Ok(())
    }

    fn preserve(&mut self, from: u64) -> io::Result<Option<PathBuf>> {
        let fault = self.enter(Class::Preserve)?;
        let rest = usize::try_from(from)
            .ok()
            .and_then(|from| self.view.get(from..));
        self.preserved
            .push((from, rest.unwrap_or_default().to_vec()));
        after(fault, Some(PathBuf::from(format!("behind-{from}"))))
    }

    fn name(&self) -> Option<&Path> {
        None
    }
}
