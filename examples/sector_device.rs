//! A store that is not a file: a device of fixed size that moves whole sectors only.
//!
//! ```text
//! cargo run --example sector_device
//! cargo test --example sector_device --features testing
//! ```

use documentbuffer::store::Store;
use documentbuffer::{Error, Options};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};

const SECTOR: usize = 512;
type Sector = [u8; SECTOR];

/// The device: what a driver offers. A real one would talk to hardware here.
struct Device {
    sectors: Vec<Sector>,
}

impl Device {
    /// Erased.
    fn new(sectors: usize) -> Self {
        Self {
            sectors: vec![[0; SECTOR]; sectors],
        }
    }

    fn load(&self, number: usize) -> io::Result<Sector> {
        let sector = self.sectors.get(number).copied();
        sector.ok_or_else(|| ErrorKind::UnexpectedEof.into())
    }

    fn save(&mut self, number: usize, sector: &Sector) -> io::Result<()> {
        let place = self.sectors.get_mut(number);
        *place.ok_or(ErrorKind::StorageFull)? = *sector;
        Ok(())
    }
}

/// Bytes on the device, through one cached sector.
struct SectorStore {
    device: Device,
    position: u64,
    cache: Option<Cached>,
}

struct Cached {
    number: usize,
    sector: Sector,
    dirty: bool,
}

impl SectorStore {
    fn new(device: Device) -> Self {
        Self {
            device,
            position: 0,
            cache: None,
        }
    }

    fn capacity(&self) -> u64 {
        (self.device.sectors.len() * SECTOR) as u64
    }

    /// Sector, offset in it, and how many of `count` bytes lie in it; `None` at the end or behind.
    fn place(&self, count: usize) -> Option<(usize, usize, usize)> {
        if self.position >= self.capacity() {
            return None;
        }
        let position = self.position as usize;
        let inside = position % SECTOR;
        Some((position / SECTOR, inside, count.min(SECTOR - inside)))
    }

    fn write_back(&mut self) -> io::Result<()> {
        if let Some(cached) = self.cache.as_mut().filter(|cached| cached.dirty) {
            self.device.save(cached.number, &cached.sector)?;
            cached.dirty = false;
        }
        Ok(())
    }

    fn cached(&mut self, number: usize) -> io::Result<&mut Cached> {
        if self
            .cache
            .as_ref()
            .is_none_or(|cached| cached.number != number)
        {
            self.write_back()?;
            let sector = self.device.load(number)?;
            self.cache = Some(Cached {
                number,
                sector,
                dirty: false,
            });
        }
        self.cache.as_mut().ok_or_else(|| ErrorKind::Other.into())
    }
}

impl Read for SectorStore {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some((number, inside, count)) = self.place(buf.len()) else {
            return Ok(0);
        };
        let cached = self.cached(number)?;
        buf[..count].copy_from_slice(&cached.sector[inside..inside + count]);
        self.position += count as u64;
        Ok(count)
    }
}

impl Write for SectorStore {
    /// Ends at the end of a sector: short counts are fine, `Ok(0)` for a full device is not.
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let place = self.place(buf.len()).ok_or(ErrorKind::StorageFull)?;
        let (number, inside, count) = place;
        let cached = self.cached(number)?;
        cached.sector[inside..inside + count].copy_from_slice(&buf[..count]);
        cached.dirty = true;
        self.position += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_back()
    }
}

impl Seek for SectorStore {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.capacity().checked_add_signed(by),
        };
        self.position = position.ok_or(ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

impl Store for SectorStore {
    /// The cached sector goes out; a real driver would then tell the device to empty its cache.
    fn sync(&mut self) -> io::Result<()> {
        self.write_back()
    }

    /// A device has the size it has.
    fn set_len(&mut self, _: u64) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }
}

fn document(number: u64) -> String {
    format!("{number:>4}: {}", "reading ".repeat(20))
}

fn main() -> Result<(), Error> {
    let store = SectorStore::new(Device::new(32));
    let mut log = Options::new().memory(2048).open(store)?;

    // Each document is durable before the next one, until the device is full.
    let full = loop {
        log.push(document(log.len()))?;
        if let Err(error) = log.sync() {
            break error;
        }
    };
    let at = log.len();
    println!("with {at} documents: {full}");
    assert!(matches!(full, Error::Full { .. }));

    // Nothing is lost: the newest are in memory. Popping makes room, and it goes on.
    for number in (at - 10..at).rev() {
        assert_eq!(log.pop()?, Some(document(number).into_bytes()));
    }
    log.sync()?;
    println!("with {} documents: durable again", log.len());
    for _ in 0..5 {
        log.push(document(log.len()))?;
    }
    log.sync()?;

    // The power goes: what is left is the device.
    let device = log.into_inner().device;
    let mut log = Options::new().open(SectorStore::new(device))?;
    println!("after power loss: {} documents", log.len());
    assert_eq!(log.len(), at - 5);
    assert_eq!(log.pop()?, Some(document(at - 6).into_bytes()));
    Ok(())
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::*;
    use documentbuffer::store::conformance::{Failure, Profile};

    #[test]
    fn it_is_a_store() -> Result<(), Failure> {
        for sectors in [1, 2, 9] {
            let capacity = (sectors * SECTOR) as u64;
            let profile = Profile::new().fixed(capacity);
            profile.check(|| SectorStore::new(Device::new(sectors)))?;
        }
        Ok(())
    }

    #[test]
    fn the_example_runs() -> Result<(), Error> {
        main()
    }
}
