//! JSON for events and snapshots, through serde.
//!
//! JSON names variants and fields. An event that an older program wrote is read as long as its names are
//! known and its new fields have defaults; a variant that is not known is an error, and never another event.
//! Formats that count variants do not have that: with one of them, an old message was read as a ban once a
//! variant had been inserted, without an error.
//!
//! So do not tell variants apart by what they hold (`#[serde(untagged)]`), and do not give all unknown ones
//! one name (`#[serde(other)]`): say by [`EventOptions::upcast`] what becomes of them.
//!
//! # Examples
//!
//! ```
//! use documentbuffer::journal::json::Json;
//! use documentbuffer::journal::{Replayed, State};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! enum Event {
//!     Joined { name: String },
//!     Left { name: String },
//! }
//!
//! #[derive(Default, Serialize, Deserialize)]
//! struct Room {
//!     names: Vec<String>,
//! }
//!
//! impl State for Room {
//!     type Event = Event;
//!     fn apply(&mut self, event: &Event) {
//!         match event {
//!             Event::Joined { name } => self.names.push(name.clone()),
//!             Event::Left { name } => self.names.retain(|here| here != name),
//!         }
//!     }
//! }
//! # let dir = tempfile::tempdir().expect("a directory");
//! # let path = dir.path().join("journal");
//!
//! let options = Replayed::<Room>::json().snapshots(1, Json).snapshot_every(1000);
//! let mut room = options.open(&path)?;
//! room.record(&Event::Joined { name: "alice".into() })?;
//! room.record(&Event::Joined { name: "bob".into() })?;
//! room.record(&Event::Left { name: "alice".into() })?;
//! room.close()?;
//!
//! assert_eq!(options.open(&path)?.state().names, ["bob"]);
//! # Ok::<(), documentbuffer::journal::Error>(())
//! ```

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::Result;
use super::events::{Cause, Codec, EventOptions, Events};
use super::state::{Replayed, ReplayedOptions, State};

/// The codec named `json`.
///
/// Numbers come back as they were; those that JSON has no form for (NaN, the infinities) do not, and are
/// refused where they would be appended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json;

impl<T: Serialize + DeserializeOwned> Codec<T> for Json {
    fn name(&self) -> &str {
        "json"
    }

    fn encode(&self, value: &T, into: &mut Vec<u8>) -> Result<(), Cause> {
        Ok(serde_json::to_writer(into, value)?)
    }

    fn decode(&self, bytes: &[u8]) -> Result<T, Cause> {
        Ok(serde_json::from_slice(bytes)?)
    }
}

impl<E: Serialize + DeserializeOwned> Events<E> {
    /// How events in JSON are opened.
    pub fn json() -> EventOptions<E> {
        EventOptions::new(Json)
    }

    /// Opens a journal of events in JSON in the directory at `path`, or begins one there, with the default
    /// [`Options`](super::Options).
    ///
    /// # Errors
    ///
    /// As [`EventOptions::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Events<E>> {
        Events::json().open(path)
    }
}

impl<S> Replayed<S>
where
    S: State + Default + 'static,
    S::Event: Serialize + DeserializeOwned,
{
    /// How a state is opened whose events are in JSON.
    pub fn json() -> ReplayedOptions<S> {
        ReplayedOptions::new(Json, S::default)
    }

    /// Opens a state whose events are in JSON, with the defaults: without snapshots.
    ///
    /// # Errors
    ///
    /// As [`ReplayedOptions::open`].
    ///
    /// # Panics
    ///
    /// If [`State::apply`] does.
    pub fn open(path: impl AsRef<Path>) -> Result<Replayed<S>> {
        Replayed::json().open(path)
    }
}
