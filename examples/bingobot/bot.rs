//! The game and its journal: an event is durable before it is answered, and the state is what the events in
//! the journal make.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;

use documentbuffer::Accept;
use documentbuffer::journal::json::Json;
use documentbuffer::journal::{Error, Options, Replayed, State as Replay};
use serde::{Deserialize, Serialize};

use crate::card::Spoken;
use crate::event::{self, Event, Name, Version};
use crate::game::{Refusal, Request, State};

pub(crate) const HELP: &str = "\
join NAME     sit down
start [SEED]  deal cards; without a seed, a random one
call          draw the next number
card NAME     show a card
state, score  the whole state in one line
undo          take the newest event back
help, quit";

/// One line of the chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Play(Request),
    Card(Name),
    State,
    Undo,
    Help,
    Quit,
}

impl Command {
    /// The error is an answer for whoever wrote the line.
    pub(crate) fn parse(line: &str) -> Result<Command, String> {
        let name = |text| Name::new(text).map_err(|e| e.to_string());
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["join", who] => Ok(Command::Play(Request::Join(name(who)?))),
            ["start"] => Ok(Command::Play(Request::Start(None))),
            ["start", seed] => match seed.parse() {
                Ok(seed) => Ok(Command::Play(Request::Start(Some(seed)))),
                Err(_) => Err(format!("{seed:?} is no seed: a number below 2^64")),
            },
            ["call"] => Ok(Command::Play(Request::Call)),
            ["card", who] => Ok(Command::Card(name(who)?)),
            ["state" | "score"] => Ok(Command::State),
            ["undo"] => Ok(Command::Undo),
            ["help"] => Ok(Command::Help),
            ["quit"] => Ok(Command::Quit),
            _ => Err("not understood; help lists what is".to_owned()),
        }
    }
}

/// Snapshots are of no use to another form of the table: whoever changes it, counts this up.
const SCHEMA: u32 = 1;
/// A snapshot is taken whenever so many events are in none.
const SNAPSHOT_EVERY: u64 = 50;

/// The game, and the first event that cannot have happened in it, if there was one.
#[derive(Default, Serialize, Deserialize)]
struct Table {
    state: State,
    taken: u64,
    broken: Option<(u64, Event, String)>,
}

impl Replay for Table {
    type Event = Event;

    fn apply(&mut self, event: &Event) {
        let position = self.taken;
        self.taken += 1;
        if self.broken.is_some() {
            return;
        }
        if let Err(why) = self.state.apply(event) {
            self.broken = Some((position, event.clone(), why.to_string()));
        }
    }
}

/// The bot at the table.
pub(crate) struct Bot {
    table: Replayed<Table>,
}

impl Bot {
    /// Opens the journal: the newest snapshot, and every event behind it.
    pub(crate) fn open(path: &Path, accept: Accept, version: Version) -> Result<Bot, BotError> {
        let table = Replayed::options(version, Table::default)
            .journal(Options::new().accept(accept))
            .upcast(event::upcast)
            .snapshots(SCHEMA, Json)
            .snapshot_every(SNAPSHOT_EVERY)
            .open(path)?;
        match &table.state().broken {
            Some((position, event, why)) => Err(BotError::Rule {
                position: *position,
                event: event.clone(),
                why: why.clone(),
            }),
            None => Ok(Bot { table }),
        }
    }

    /// What was found when the journal was opened.
    pub(crate) fn greeting(&self, path: &Path) -> String {
        let report = self.table.report();
        let from = match &report.snapshot {
            Some(snapshot) => format!("{} of them from a snapshot", snapshot.position),
            None => "without a snapshot".to_owned(),
        };
        let events = self.table.position();
        format!("took up {events} events from {} ({from})", path.display())
    }

    pub(crate) fn state(&self) -> &State {
        &self.table.state().state
    }

    /// Answers a command. A refusal is an answer; an error means that the journal can no longer be relied on.
    pub(crate) fn answer(&mut self, command: &Command) -> Result<String, BotError> {
        let refused = |why: Refusal| format!("no: {why}");
        Ok(match command {
            Command::Play(request) => match self.state().decide(request, luck()) {
                Ok(event) => self.record(&event)?,
                Err(why) => refused(why),
            },
            Command::Card(name) => self.state().card(name).unwrap_or_else(refused),
            Command::State => {
                let (state, fingerprint) = (self.state(), self.state().fingerprint());
                format!("state {state} fingerprint={fingerprint:016x}")
            }
            Command::Undo => self.undo()?,
            Command::Help => HELP.to_owned(),
            Command::Quit => "bye".to_owned(),
        })
    }

    /// First the journal, then the state, then the answer: nobody is told what a crash could take back.
    fn record(&mut self, event: &Event) -> Result<String, BotError> {
        let position = self.table.record(event)?;
        let mut answer = format!("[{position}] {event}");
        match event {
            Event::Joined { .. } => {}
            Event::Started { .. } => answer += " - cards are dealt",
            Event::Called { number } => {
                answer += &format!(" - {}", Spoken(*number));
                for winner in self.state().winners() {
                    answer += &format!(", bingo for {winner}!");
                }
            }
        }
        Ok(answer)
    }

    /// Takes the newest event out of the journal. Events have no inverse: the state is made again from the rest.
    fn undo(&mut self) -> Result<String, BotError> {
        let Some(newest) = self.table.position().checked_sub(1) else {
            return Ok("no: nothing has happened yet".to_owned());
        };
        let event = self.table.events().replay(newest)?.next().transpose()?;
        self.table.undo(1)?;
        let event = event.map_or_else(String::new, |(_, event)| event.to_string());
        Ok(format!("undone [{newest}] {event}"))
    }

    /// Closes the journal. Nothing depends on it: all answers are durable.
    pub(crate) fn finish(self) -> Result<(), BotError> {
        Ok(self.table.close().map(drop)?)
    }
}

/// A random number in a readable size. The event keeps it, so a replay needs no luck.
fn luck() -> u64 {
    RandomState::new().build_hasher().finish() % 1_000_000
}

/// Why the bot cannot go on.
#[derive(Debug)]
pub(crate) enum BotError {
    Log(Error),
    /// An event that cannot have happened there.
    Rule {
        position: u64,
        event: Event,
        why: String,
    },
    Talk(std::io::Error),
}

impl fmt::Display for BotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BotError::Log(_) => write!(f, "the journal cannot be used"),
            BotError::Rule {
                position,
                event,
                why,
            } => {
                write!(
                    f,
                    "event {position}, {event}, cannot have happened there: {why}"
                )
            }
            BotError::Talk(_) => write!(f, "the chat broke off"),
        }
    }
}

impl std::error::Error for BotError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            BotError::Log(why) => Some(why),
            BotError::Rule { .. } => None,
            BotError::Talk(why) => Some(why),
        }
    }
}

impl From<Error> for BotError {
    fn from(why: Error) -> BotError {
        BotError::Log(why)
    }
}

impl From<std::io::Error> for BotError {
    fn from(why: std::io::Error) -> BotError {
        BotError::Talk(why)
    }
}
