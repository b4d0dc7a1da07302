//! Cards and chance. Everything here follows from the seed.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The numbers are 1 to 75, fifteen for each letter.
pub(crate) const NUMBERS: u8 = 75;
const LETTERS: [char; 5] = ['B', 'I', 'N', 'G', 'O'];
const PER_LETTER: u8 = 15;
/// The centre of a card, marked from the beginning.
const FREE: u8 = 0;

/// SplitMix64: small, and the same on every machine.
pub(crate) struct Rng(u64);

impl Rng {
    /// The `stream`th generator of a seed.
    pub(crate) fn new(seed: u64, stream: u64) -> Rng {
        let mut rng = Rng(seed);
        Rng(rng.next() ^ stream.wrapping_mul(0xD6E8_FEB8_6659_FD93))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Less than `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }
}

/// Five columns of five numbers, the centre free.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Card([[u8; 5]; 5]);

impl Card {
    /// The card of one seat in the round with this seed.
    pub(crate) fn deal(seed: u64, seat: usize) -> Card {
        let mut rng = Rng::new(seed, seat as u64 + 1);
        let mut columns = [[FREE; 5]; 5];
        for (first, column) in (1..).step_by(usize::from(PER_LETTER)).zip(&mut columns) {
            let mut pool: Vec<u8> = (first..first + PER_LETTER).collect();
            for cell in column {
                *cell = pool.swap_remove(rng.below(pool.len()));
            }
        }
        columns[2][2] = FREE;
        Card(columns)
    }

    /// Whether a row, a column or a diagonal is all marked.
    pub(crate) fn is_bingo(&self, called: &[u8]) -> bool {
        let bits = called
            .iter()
            .fold(1_u128 << FREE, |bits, &number| bits | 1 << number);
        let marked = |column: usize, row: usize| bits >> self.0[column][row] & 1 == 1;
        (0..5).any(|i| (0..5).all(|j| marked(i, j)) || (0..5).all(|j| marked(j, i)))
            || (0..5).all(|i| marked(i, i))
            || (0..5).all(|i| marked(i, 4 - i))
    }

    /// The card in six lines; called numbers stand in brackets.
    pub(crate) fn show(&self, called: &[u8]) -> String {
        let mut text: String = LETTERS
            .iter()
            .map(|letter| format!("  {letter} "))
            .collect();
        for row in 0..5 {
            text.push('\n');
            for column in &self.0 {
                text += &match column[row] {
                    FREE => " ** ".to_owned(),
                    number if called.contains(&number) => format!("[{number:2}]"),
                    number => format!(" {number:2} "),
                };
            }
        }
        text
    }

    /// All numbers, for a fingerprint.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u8> {
        self.0.iter().flatten().copied()
    }
}

/// A number as it is called out: `B 7`.
pub(crate) struct Spoken(pub(crate) u8);

impl fmt::Display for Spoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let column = usize::from(self.0.saturating_sub(1) / PER_LETTER);
        let letter = LETTERS.get(column).copied().unwrap_or('?');
        write!(f, "{letter} {}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_has_five_numbers_of_each_letter() {
        for seed in 0..100 {
            let Card(columns) = Card::deal(seed, 3);
            assert_eq!(columns[2][2], FREE);
            for (column, first) in columns.iter().zip([1, 16, 31, 46, 61]) {
                let mut numbers: Vec<u8> = column.iter().copied().filter(|&n| n != FREE).collect();
                assert!(numbers.iter().all(|n| (first..first + 15).contains(n)));
                let dealt = numbers.len();
                numbers.sort_unstable();
                numbers.dedup();
                assert_eq!(numbers.len(), dealt);
            }
        }
    }

    #[test]
    fn dealing_does_not_change() {
        // Logs hold seeds, not cards: other cards for the same seed would change games that were played.
        let dealt: Vec<u8> = Card::deal(8231, 0).numbers().collect();
        assert_eq!(dealt, GOLDEN);
    }

    #[rustfmt::skip]
    const GOLDEN: [u8; 25] = [
        12, 15,  7,  2,  3,
        28, 30, 22, 21, 24,
        43, 39,  0, 32, 35,
        55, 47, 48, 49, 57,
        67, 75, 74, 64, 69,
    ];

    #[test]
    fn rows_columns_and_diagonals_win() {
        let card = Card::deal(1, 0);
        let Card(c) = &card;
        assert!(!card.is_bingo(&[]));
        assert!(card.is_bingo(&c[4]));
        assert!(card.is_bingo(&[c[0][2], c[1][2], c[3][2], c[4][2]]));
        assert!(card.is_bingo(&[c[0][0], c[1][1], c[3][3], c[4][4]]));
        assert!(card.is_bingo(&[c[0][4], c[1][3], c[3][1], c[4][0]]));
        assert!(!card.is_bingo(&[c[0][0], c[1][1], c[3][3], c[4][3]]));
    }

    #[test]
    fn numbers_are_spoken_with_their_letter() {
        let spoken: Vec<String> = [1, 15, 16, 75].map(|n| Spoken(n).to_string()).into();
        assert_eq!(spoken, ["B 1", "B 15", "I 16", "O 75"]);
    }
}
