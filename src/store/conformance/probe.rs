//! Calls on the store under check, with their outcome in words.

use std::io::{self, ErrorKind, SeekFrom};

use crate::store::Store;

/// That many interrupted calls in a row are no progress any more.
const PATIENCE: u32 = 10_000;

/// The detail of what went wrong.
pub(super) type Outcome = Result<(), String>;

/// Calls until it is not interrupted any more.
pub(super) fn patient<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for _ in 0..PATIENCE {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
    Err(io::Error::other(format!(
        "interrupted {PATIENCE} times in a row"
    )))
}

pub(super) struct Probe<S> {
    pub(super) store: S,
}

impl<S: Store> Probe<S> {
    /// Calls until it is not interrupted any more.
    pub(super) fn patient<T>(
        &mut self,
        mut call: impl FnMut(&mut S) -> io::Result<T>,
    ) -> io::Result<T> {
        patient(|| call(&mut self.store))
    }

    pub(super) fn call(
        &mut self,
        what: &str,
        call: impl FnMut(&mut S) -> io::Result<()>,
    ) -> Outcome {
        self.patient(call)
            .map_err(|error| format!("{what} failed: {error}"))
    }

    pub(super) fn seek(&mut self, to: SeekFrom, expected: u64) -> Outcome {
        match self.patient(|store| store.seek(to)) {
            Ok(position) if position == expected => Ok(()),
            Ok(position) => Err(format!("{to:?} gave position {position}, not {expected}")),
            Err(error) => Err(format!("{to:?} failed: {error}")),
        }
    }

    /// Writes all, and looks after each part where the position is.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Outcome {
        let start = self.patient(|store| store.stream_position());
        let start = start.map_err(|error| format!("stream_position failed: {error}"))?;
        let mut done = 0;
        while done < bytes.len() {
            let rest = &bytes[done..];
            let at = start + done as u64;
            match self.patient(|store| store.write(rest)) {
                Ok(0) => return Err(format!("write of {} bytes at {at} gave Ok(0)", rest.len())),
                Ok(count) if count > rest.len() => {
                    return Err(format!(
                        "write of {} bytes at {at} gave {count}",
                        rest.len()
                    ));
                }
                Ok(count) => done += count,
                Err(error) => {
                    return Err(format!(
                        "write of {} bytes at {at} failed: {error}",
                        rest.len()
                    ));
                }
            }
            self.seek(SeekFrom::Current(0), start + done as u64)
                .map_err(|detail| format!("after a write at {at}: {detail}"))?;
        }
        Ok(())
    }

    /// Reads until the buffer is full or the store ends; how many bytes that were.
    pub(super) fn read(&mut self, bytes: &mut [u8]) -> Result<usize, String> {
        let mut done = 0;
        while done < bytes.len() {
            let rest = &mut bytes[done..];
            let room = rest.len();
            match self.patient(|store| store.read(&mut *rest)) {
                Ok(0) => break,
                Ok(count) if count > room => {
                    return Err(format!("read of {room} bytes gave {count}"));
                }
                Ok(count) => done += count,
                Err(error) => return Err(format!("read of {room} bytes failed: {error}")),
            }
        }
        Ok(done)
    }

    /// These bytes stand at `at`, and the position is behind them once they are read.
    pub(super) fn expect(&mut self, at: u64, expected: &[u8]) -> Outcome {
        self.seek(SeekFrom::Start(at), at)?;
        let mut found = vec![0xA5; expected.len()];
        let count = self.read(&mut found)?;
        found.truncate(count);
        let differs = found
            .iter()
            .zip(expected)
            .position(|(one, other)| one != other);
        if let Some(index) = differs {
            let (offset, found, expected) = (at + index as u64, found[index], expected[index]);
            return Err(format!(
                "offset {offset} holds {found:#04x}, not {expected:#04x}"
            ));
        }
        if count < expected.len() {
            return Err(format!(
                "read ended at {}, not at {}",
                at + count as u64,
                at + expected.len() as u64
            ));
        }
        self.seek(SeekFrom::Current(0), at + count as u64)
            .map_err(|detail| format!("after a read at {at}: {detail}"))
    }

    pub(super) fn expect_end(&mut self, whence: &str) -> Outcome {
        let before = self.patient(|store| store.stream_position());
        let before = before.map_err(|error| format!("stream_position failed: {error}"))?;
        match self.read(&mut [0; 16])? {
            0 => self.seek(SeekFrom::Current(0), before),
            count => Err(format!("a read {whence}, at {before}, gave {count} bytes")),
        }
    }
}
