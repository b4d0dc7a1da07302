//! What can happen in the game, and how it looks in the journal: one JSON value for each event.
//!
//! ```text
//! {"joined":{"name":"alice"}}     a player sat down
//! {"started":{"seed":154422}}     a round began; the seed deals the cards
//! {"called":{"number":62}}        a number was drawn
//! ```
//!
//! Everything that was left to chance stands in the event, so the same events always give the same game.
//!
//! The first version of the bot wrote `drawn` where this one writes `called`. Its journals are read all the
//! same: [`upcast`] says what each document is.

use std::fmt;

use documentbuffer::journal::json::Json;
use documentbuffer::journal::{Cause, Codec, Decision, Document};
use serde::{Deserialize, Serialize};

/// Something that happened. The state is made of these and of nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Event {
    Joined { name: Name },
    Started { seed: u64 },
    Called { number: u8 },
}

/// What the first version wrote and this one does not.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum First {
    Drawn { number: u8 },
}

/// How a version of the bot writes its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    First,
    Second,
}

impl Codec<Event> for Version {
    fn name(&self) -> &str {
        "json"
    }

    fn encode(&self, event: &Event, into: &mut Vec<u8>) -> Result<(), Cause> {
        match (self, event) {
            (Version::First, &Event::Called { number }) => {
                Json.encode(&First::Drawn { number }, into)
            }
            _ => Json.encode(event, into),
        }
    }

    fn decode(&self, bytes: &[u8]) -> Result<Event, Cause> {
        Json.decode(bytes)
    }
}

/// What a document is, with what this version took it for.
pub(crate) fn upcast(document: Document<'_>, event: Result<Event, Cause>) -> Decision<Event> {
    let cause = match event {
        Ok(event) => return Decision::Use(event),
        Err(cause) => cause,
    };
    match Json.decode(document.bytes) {
        Ok(First::Drawn { number }) => Decision::Use(Event::Called { number }),
        Err(_) => Decision::Stop(cause),
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Joined { name } => write!(f, "joined {name}"),
            Event::Started { seed } => write!(f, "started {seed}"),
            Event::Called { number } => write!(f, "called {number}"),
        }
    }
}

/// A player's name: 1 to 20 of `A-Z a-z 0-9 - _`, so that it needs no quoting in the log or in an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Name(String);

impl Name {
    pub(crate) const MAX: usize = 20;

    pub(crate) fn new(text: &str) -> Result<Name, BadName> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if (1..=Name::MAX).contains(&text.len()) && text.bytes().all(plain) {
            Ok(Name(text.to_owned()))
        } else {
            Err(BadName(text.to_owned()))
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What was given for a name and is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadName(pub(crate) String);

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, max) = (&self.0, Name::MAX);
        write!(
            f,
            "{name:?} is no name: 1 to {max} letters, digits, '-' or '_'"
        )
    }
}

impl TryFrom<String> for Name {
    type Error = BadName;

    fn try_from(text: String) -> Result<Name, BadName> {
        Name::new(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_by_both_versions() {
        let name = Name::new("Al-1_ce").unwrap();
        let started = |seed| Event::Started { seed };
        let called = |number| Event::Called { number };
        for event in [
            Event::Joined { name },
            started(0),
            started(u64::MAX),
            called(75),
        ] {
            for version in [Version::First, Version::Second] {
                let mut bytes = Vec::new();
                version.encode(&event, &mut bytes).unwrap();
                let read = version.decode(&bytes);
                let renamed = version == Version::First && matches!(event, Event::Called { .. });
                assert_eq!(read.is_err(), renamed);
                assert_eq!(renamed, bytes.starts_with(b"{\"drawn\""));
            }
        }
    }

    #[test]
    fn odd_names_are_refused() {
        for odd in [
            "",
            "a b",
            "a:b",
            "a,b",
            "\u{e4}",
            "tab\t",
            "123456789012345678901",
        ] {
            assert_eq!(Name::new(odd), Err(BadName(odd.to_owned())));
        }
    }
}
