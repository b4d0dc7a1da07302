//! CRC-32, where crc32fast alone does not do: its last four bytes, forward and back.

/// The remainder of CRC-32 after four more bytes: one table for each byte.
static STEP: [[u32; 256]; 4] = step_tables();

#[allow(clippy::indexing_slicing)] // A byte, into 256 entries.
const fn step_tables() -> [[u32; 256]; 4] {
    let mut tables = [[0u32; 256]; 4];
    let mut byte = 0;
    while byte < 256 {
        let mut r = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            r = (r >> 1) ^ (0xEDB8_8320 & (r & 1).wrapping_neg());
            bit += 1;
        }
        tables[0][byte] = r;
        byte += 1;
    }
    let mut table = 1;
    while table < 4 {
        let mut byte = 0;
        while byte < 256 {
            let r = tables[table - 1][byte];
            tables[table][byte] = (r >> 8) ^ tables[0][(r & 0xFF) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
}

/// CRC-32 continued over the four bytes of `link`. By hand, since this is the one step of sealing that
/// waits for the record before: a call into crc32fast here costs more than all the rest at 64 bytes.
#[inline]
#[allow(clippy::indexing_slicing)] // A byte, into 256 entries.
pub(super) fn crc_step(crc: u32, link: u32) -> u32 {
    let [a, b, c, d] = (!crc ^ link).to_le_bytes();
    !(STEP[3][a as usize] ^ STEP[2][b as usize] ^ STEP[1][c as usize] ^ STEP[0][d as usize])
}

/// The checksum before [`crc_step`] came to `crc` over `link`.
#[allow(clippy::indexing_slicing)] // A byte, into 256 entries.
pub(super) fn crc_step_back(crc: u32, link: u32) -> u32 {
    let mut r = !crc;
    for _ in 0..4 {
        let byte = (STEP[0].iter()).position(|remainder| remainder >> 24 == r >> 24);
        let byte = byte.unwrap_or_default();
        r = (r ^ STEP[0][byte]) << 8 | byte as u32;
    }
    !(r ^ link)
}

/// CRC-32 of payloads; what it takes to find the fastest way on this processor is done once.
pub(super) struct Crc(crc32fast::Hasher);

impl Crc {
    #[inline]
    pub(super) fn new() -> Crc {
        Crc(crc32fast::Hasher::new())
    }

    #[inline]
    pub(super) fn of(&self, payload: &[u8]) -> u32 {
        let mut hasher = self.0.clone();
        hasher.update(payload);
        hasher.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn front_crc(initial: u32, front: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new_with_initial(initial);
        hasher.update(front);
        hasher.finalize()
    }

    #[test]
    fn crc_step_is_crc32() {
        let mut x = 1u32;
        for _ in 0..1000 {
            x = x.wrapping_mul(0x9E37_79B1).wrapping_add(7);
            let front = x.to_be_bytes();
            let link = x.rotate_left(9);
            let mut whole = crc32fast::Hasher::new_with_initial(x);
            whole.update(&front);
            let step = crc_step(whole.clone().finalize(), link);
            whole.update(&link.to_le_bytes());
            assert_eq!(whole.finalize(), step);
            assert_eq!(crc_step_back(step, link), front_crc(x, &front));
        }
    }
}
