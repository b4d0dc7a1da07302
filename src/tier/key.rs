//! Keys: any text of up to 256 bytes.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::error::{Error, Kind};

/// Bytes that a key has at most.
pub const MAX_KEY: usize = 256;

/// A key, borrowed: any UTF-8 of at most [`MAX_KEY`] bytes.
///
/// That is the whole rule. The empty key, `..`, NUL and upper case are keys like any other, and no tier
/// makes a path of them. Longer names go through [`KeyBuf::hashed`].
///
/// # Examples
///
/// ```
/// use documentbuffer::tier::{Key, MAX_KEY};
///
/// assert!(Key::new("../Etc/passwd").is_ok());
/// assert!(Key::new(&"k".repeat(MAX_KEY + 1)).is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key<'a>(&'a str);

impl<'a> Key<'a> {
    /// This text as a key.
    ///
    /// # Errors
    ///
    /// [`BadKey`] where it is longer than [`MAX_KEY`] bytes.
    pub fn new(text: &'a str) -> Result<Key<'a>, BadKey> {
        if text.len() > MAX_KEY {
            return Err(BadKey { bytes: text.len() });
        }
        Ok(Key(text))
    }

    /// Its text.
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

impl fmt::Debug for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A key, owned; cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyBuf(Arc<str>);

impl KeyBuf {
    /// This text as a key.
    ///
    /// # Errors
    ///
    /// [`BadKey`] where it is longer than [`MAX_KEY`] bytes.
    pub fn new(text: impl Into<Arc<str>>) -> Result<KeyBuf, BadKey> {
        let text = text.into();
        Key::new(&text)?;
        Ok(KeyBuf(text))
    }

    /// A key for a name of any length: `sha256:` and the hash of the name in hexadecimal digits.
    ///
    /// # Examples
    ///
    /// ```
    /// use documentbuffer::tier::KeyBuf;
    ///
    /// let key = KeyBuf::hashed(&"a very long name ".repeat(100));
    /// assert_eq!(key.as_key().as_str().len(), 71);
    /// ```
    pub fn hashed(name: impl AsRef<[u8]>) -> KeyBuf {
        let mut text = String::with_capacity(71);
        text.push_str("sha256:");
        hex(&Sha256::digest(name), &mut text);
        KeyBuf(text.into())
    }

    /// It, borrowed.
    pub fn as_key(&self) -> Key<'_> {
        Key(&self.0)
    }
}

/// Appends `bytes` in hexadecimal digits.
pub(super) fn hex(bytes: &[u8], text: &mut String) {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    text.extend(digits.filter_map(|digit| char::from_digit(digit.into(), 16)));
}

impl From<Key<'_>> for KeyBuf {
    fn from(key: Key<'_>) -> KeyBuf {
        KeyBuf(key.0.into())
    }
}

impl Borrow<str> for KeyBuf {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for KeyBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for KeyBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A key that is too long; no tier was touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BadKey {
    /// How long it is.
    pub bytes: usize,
}

impl fmt::Display for BadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.bytes;
        write!(
            f,
            "a key has at most {MAX_KEY} bytes, this has {bytes}: KeyBuf::hashed takes any length"
        )
    }
}

impl std::error::Error for BadKey {}

impl From<BadKey> for Error {
    fn from(bad: BadKey) -> Error {
        Error::new(Kind::Permanent, "key", bad.to_string())
    }
}
