//! The rules. Pure: no file, no clock, no chance of its own.
//!
//! [`State::decide`] turns a request into the event that would answer it, [`State::apply`] lets an event
//! happen. One request is one event, so no crash can fall between two halves of an answer; what follows from
//! an event (who has won) is worked out again when it is applied.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::card::{Card, NUMBERS, Rng};
use crate::event::{Event, Name};

const MAX_PLAYERS: usize = 24;

/// What a player may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Join(Name),
    Start(Option<u64>),
    Call,
}

/// The whole state of the bot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// How many made it.
    events: u64,
    rounds: u64,
    players: Vec<Player>,
    round: Option<Round>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Player {
    name: Name,
    wins: u64,
}

/// The newest round. It is over when somebody has won.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Round {
    seed: u64,
    /// By seat; who joins later has none.
    cards: Vec<Card>,
    called: Vec<u8>,
    /// Seats.
    winners: Vec<usize>,
}

impl State {
    /// The event that grants a request. `luck` is used where the request leaves something to chance.
    pub(crate) fn decide(&self, request: &Request, luck: u64) -> Result<Event, Refusal> {
        let event = match request {
            Request::Join(name) => Event::Joined { name: name.clone() },
            Request::Start(seed) => Event::Started {
                seed: seed.unwrap_or(luck),
            },
            Request::Call => Event::Called {
                number: self.running().ok_or(Refusal::NoRound)?.draw(),
            },
        };
        self.check(&event)?;
        Ok(event)
    }

    /// Lets an event happen, or leaves everything as it was.
    pub(crate) fn apply(&mut self, event: &Event) -> Result<(), Refusal> {
        self.check(event)?;
        self.events += 1;
        match event {
            Event::Joined { name } => self.players.push(Player {
                name: name.clone(),
                wins: 0,
            }),
            Event::Started { seed } => {
                self.rounds += 1;
                self.round = Some(Round::deal(*seed, self.players.len()));
            }
            Event::Called { number } => {
                if let Some(round) = &mut self.round {
                    round.call(*number);
                    for &seat in &round.winners {
                        self.players[seat].wins += 1;
                    }
                }
            }
        }
        Ok(())
    }

    fn check(&self, event: &Event) -> Result<(), Refusal> {
        match event {
            Event::Joined { .. } | Event::Started { .. } if self.running().is_some() => {
                Err(Refusal::Running)
            }
            Event::Joined { name } if self.seat(name).is_some() => {
                Err(Refusal::Plays(name.clone()))
            }
            Event::Joined { .. } if self.players.len() >= MAX_PLAYERS => Err(Refusal::Full),
            Event::Started { .. } if self.players.is_empty() => Err(Refusal::NoPlayers),
            Event::Joined { .. } | Event::Started { .. } => Ok(()),
            Event::Called { number } => {
                let round = self.running().ok_or(Refusal::NoRound)?;
                if !(1..=NUMBERS).contains(number) {
                    Err(Refusal::NoNumber(*number))
                } else if round.called.contains(number) {
                    Err(Refusal::Called(*number))
                } else {
                    Ok(())
                }
            }
        }
    }

    fn running(&self) -> Option<&Round> {
        self.round.as_ref().filter(|round| round.winners.is_empty())
    }

    fn seat(&self, name: &Name) -> Option<usize> {
        self.players.iter().position(|player| player.name == *name)
    }

    pub(crate) fn has_players(&self) -> bool {
        !self.players.is_empty()
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running().is_some()
    }

    /// Who won the newest round.
    pub(crate) fn winners(&self) -> Vec<&Name> {
        let seats = self.round.iter().flat_map(|round| &round.winners);
        seats.map(|&seat| &self.players[seat].name).collect()
    }

    /// The card of a player, as text.
    pub(crate) fn card(&self, name: &Name) -> Result<String, Refusal> {
        let seat = self
            .seat(name)
            .ok_or_else(|| Refusal::Stranger(name.clone()))?;
        let round = self.round.as_ref();
        let card = round.and_then(|round| Some(round.cards.get(seat)?.show(&round.called)));
        card.ok_or_else(|| Refusal::NoCard(name.clone()))
    }

    /// FNV-1a over the state's line and all cards: equal for equal states only, as far as 64 bits go.
    pub(crate) fn fingerprint(&self) -> u64 {
        let line = self.to_string().into_bytes();
        let cards = self
            .round
            .iter()
            .flat_map(|round| &round.cards)
            .flat_map(Card::numbers);
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        line.into_iter()
            .chain(cards)
            .fold(0xcbf2_9ce4_8422_2325, step)
    }
}

/// The state in one line, always the same for the same state.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |items: Vec<String>| match items.as_slice() {
            [] => "-".to_owned(),
            items => items.join(","),
        };
        let (seed, called) = match &self.round {
            None => ("-".to_owned(), Vec::new()),
            Some(round) => (
                round.seed.to_string(),
                round.called.iter().map(u8::to_string).collect(),
            ),
        };
        let winners = self.winners().iter().map(ToString::to_string).collect();
        let score = self
            .players
            .iter()
            .map(|player| format!("{}:{}", player.name, player.wins));
        write!(
            f,
            "events={} rounds={} seed={seed}",
            self.events, self.rounds
        )?;
        write!(f, " called={} winners={}", list(called), list(winners))?;
        write!(f, " score={}", list(score.collect()))
    }
}

impl Round {
    fn deal(seed: u64, players: usize) -> Round {
        let cards = (0..players).map(|seat| Card::deal(seed, seat)).collect();
        Round {
            seed,
            cards,
            called: Vec::new(),
            winners: Vec::new(),
        }
    }

    /// The next number. A round is won long before there is none left.
    fn draw(&self) -> u8 {
        let left: Vec<u8> = (1..=NUMBERS).filter(|n| !self.called.contains(n)).collect();
        let mut rng = Rng::new(!self.seed, self.called.len() as u64);
        left.get(rng.below(left.len())).copied().unwrap_or(0)
    }

    fn call(&mut self, number: u8) {
        self.called.push(number);
        let cards = self.cards.iter().enumerate();
        let bingo = cards.filter(|(_, card)| card.is_bingo(&self.called));
        self.winners = bingo.map(|(seat, _)| seat).collect();
    }
}

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Plays(Name),
    Stranger(Name),
    NoCard(Name),
    Full,
    NoPlayers,
    Running,
    NoRound,
    NoNumber(u8),
    Called(u8),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Plays(name) => write!(f, "{name} plays already"),
            Refusal::Stranger(name) => write!(f, "{name} does not play"),
            Refusal::NoCard(name) => write!(f, "{name} has no card before the next start"),
            Refusal::Full => write!(f, "all {MAX_PLAYERS} seats are taken"),
            Refusal::NoPlayers => write!(f, "nobody plays: join first"),
            Refusal::Running => write!(f, "a round is running: call until somebody wins"),
            Refusal::NoRound => write!(f, "no round is running: start one"),
            Refusal::NoNumber(number) => write!(f, "there is no number {number}"),
            Refusal::Called(number) => write!(f, "{number} was called before"),
        }
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn grant(state: &mut State, request: Request) -> Event {
        let event = state.decide(&request, 99).unwrap();
        state.apply(&event).unwrap();
        event
    }

    #[test]
    fn every_round_is_won_and_counted() {
        for seed in 0..50 {
            let mut state = State::default();
            grant(&mut state, Request::Join(name("alice")));
            grant(&mut state, Request::Join(name("bob")));
            grant(&mut state, Request::Start(Some(seed)));
            let mut events = 3;
            while state.is_running() {
                grant(&mut state, Request::Call);
                events += 1;
            }
            assert!(!state.winners().is_empty());
            assert_eq!(state.events, events);
            assert_eq!(state.decide(&Request::Call, 0), Err(Refusal::NoRound));
            assert!(state.to_string().contains(":1"), "{state}");
        }
    }

    #[test]
    fn a_refused_event_changes_nothing() {
        let mut state = State::default();
        assert_eq!(
            state.apply(&Event::Started { seed: 1 }),
            Err(Refusal::NoPlayers)
        );
        grant(&mut state, Request::Join(name("alice")));
        assert_eq!(
            state.apply(&Event::Joined {
                name: name("alice")
            }),
            Err(Refusal::Plays(name("alice")))
        );
        assert_eq!(
            grant(&mut state, Request::Start(None)),
            Event::Started { seed: 99 }
        );
        let before = (state.clone(), state.fingerprint());
        assert_eq!(
            state.apply(&Event::Joined { name: name("bob") }),
            Err(Refusal::Running)
        );
        assert_eq!(
            state.apply(&Event::Called { number: 76 }),
            Err(Refusal::NoNumber(76))
        );
        let Event::Called { number } = grant(&mut state.clone(), Request::Call) else {
            panic!("a call draws a number");
        };
        assert_eq!((state.clone(), state.fingerprint()), before);
        state.apply(&Event::Called { number }).unwrap();
        assert_eq!(
            state.apply(&Event::Called { number }),
            Err(Refusal::Called(number))
        );
    }

    #[test]
    fn the_line_and_the_fingerprint_tell_states_apart() {
        let mut state = State::default();
        let mut seen = vec![(state.to_string(), state.fingerprint())];
        let requests = [
            Request::Join(name("alice")),
            Request::Start(Some(1)),
            Request::Call,
            Request::Call,
        ];
        for request in requests {
            grant(&mut state, request);
            seen.push((state.to_string(), state.fingerprint()));
        }
        seen.sort();
        seen.dedup_by(|a, b| a.0 == b.0 || a.1 == b.1);
        assert_eq!(seen.len(), 5);
    }
}
