//! What the fuzz targets share: the fuzzer's input as decisions, and a second reader of the format.

pub mod craft;
pub mod reference;

/// The fuzzer's bytes, taken one decision at a time; zeros behind their end.
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Input<'a> {
        Input(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn u8(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        first
    }

    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes([self.u8(), self.u8()])
    }

    pub fn u32(&mut self) -> u32 {
        u32::from(self.u16()) | u32::from(self.u16()) << 16
    }

    /// A number from 0 up to but not including `end`; 0 where `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        let raw = if end <= 256 {
            usize::from(self.u8())
        } else {
            self.u32() as usize
        };
        raw.checked_rem(end).unwrap_or(0)
    }

    /// Up to `len` bytes.
    pub fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub fn rest(self) -> &'a [u8] {
        self.0
    }

    /// A length: mostly short, sometimes longer than a window of the crate.
    pub fn len(&mut self) -> usize {
        match self.u8() {
            short @ 0..=191 => usize::from(short),
            page @ 192..=247 => usize::from(page - 191) * 31,
            _ => usize::from(self.u8()) << 12 | usize::from(self.u8()),
        }
    }
}
