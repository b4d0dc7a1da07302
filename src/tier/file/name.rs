//! Names of files: hashes of keys, so that no key is a path.

use sha2::{Digest, Sha256};

use crate::tier::key::hex;

/// 64 hexadecimal digits; the first two are those of the directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name(String);

impl Name {
    /// The name for that key.
    pub(super) fn of(key: &str) -> Name {
        let mut name = String::with_capacity(64);
        hex(&Sha256::digest(key), &mut name);
        Name(name)
    }

    /// None where it is no name of a file.
    pub(super) fn parse(text: &str) -> Option<Name> {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let fine = text.len() == 64 && text.bytes().all(digit);
        fine.then(|| Name(text.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The number of its directory.
    pub(super) fn shard(&self) -> u8 {
        let digits = self.0.get(..2).unwrap_or_default();
        u8::from_str_radix(digits, 16).unwrap_or_default()
    }
}

/// The name of a directory.
pub(super) fn directory(number: u8) -> String {
    format!("{number:02x}")
}
