//! Tokens and turns: every interleaving of small scripts, polled by hand.

#![cfg(feature = "tier")]

mod generation_support;

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use documentbuffer::generation::{Generations, Landing, Mark, Token, Turn, Write};
use generation_support::Model;

const KEY: &str = "key";

struct Flag(AtomicBool);

impl Flag {
    fn new() -> Arc<Flag> {
        Arc::new(Flag(AtomicBool::new(true)))
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn turn<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(turn) => turn,
        Poll::Pending => panic!("not its turn"),
    }
}

/// What one actor does, step by step.
#[derive(Clone, Copy, Debug)]
enum Script {
    /// Asks to write, waits, has its turn, ends it.
    Write,
    /// Asks to write, and gives up when it was polled once and had to wait.
    GivesUp,
    /// Takes a token; lands, waits, has its turn or not.
    Land,
    /// The same with a mark.
    LandSince,
    /// Takes a token, asks to land, and gives up likewise.
    GivesUpLanding,
    /// Takes a token; writes if it is live: waits, has its turn.
    WriteIf,
    /// The same with a mark.
    WriteIfSince,
}

enum State {
    Begins,
    Token(Token, u64),
    Mark(Mark, u64),
    Writing(Write, u64),
    Landing(Landing, u64, u64),
    Turn(Turn, u64),
    Over,
}

struct Actor {
    script: Script,
    state: State,
    flag: Arc<Flag>,
}

impl Actor {
    fn new(script: &Script) -> Actor {
        Actor {
            script: *script,
            state: State::Begins,
            flag: Flag::new(),
        }
    }

    /// Whether a step can be made: who waits makes one when it is woken.
    fn can(&self) -> bool {
        let waits = matches!(self.state, State::Writing(..) | State::Landing(..));
        !matches!(self.state, State::Over) && (!waits || self.flag.0.load(Ordering::SeqCst))
    }

    fn step(&mut self, generations: &Generations, model: &mut Model) {
        let waker = Waker::from(self.flag.clone());
        let context = &mut Context::from_waker(&waker);
        self.state = match std::mem::replace(&mut self.state, State::Over) {
            State::Begins => self.begin(generations, model),
            State::Token(token, since) if matches!(self.script, Script::WriteIf) => {
                let live = model.is_live(KEY, since);
                writing(generations.write_if(token, KEY), live, model)
            }
            State::Mark(mark, since) if matches!(self.script, Script::WriteIfSince) => {
                let live = model.is_live(KEY, since);
                writing(generations.write_if(&mark, KEY), live, model)
            }
            State::Token(token, since) => {
                assert_eq!(token.is_live(), model.is_live(KEY, since));
                let ticket = model.asks_to_land(KEY, since);
                State::Landing(generations.land(token), since, ticket)
            }
            State::Mark(mark, since) => {
                let ticket = model.asks_to_land(KEY, since);
                State::Landing(generations.land_since(&mark, KEY), since, ticket)
            }
            State::Writing(mut write, ticket) => {
                self.flag.0.store(false, Ordering::SeqCst);
                match Pin::new(&mut write).poll(context) {
                    Poll::Ready(turn) => {
                        model.begins(KEY, ticket);
                        State::Turn(turn, ticket)
                    }
                    Poll::Pending if matches!(self.script, Script::GivesUp) => {
                        drop(write);
                        model.ends(KEY, ticket);
                        State::Over
                    }
                    Poll::Pending => State::Writing(write, ticket),
                }
            }
            State::Landing(mut landing, since, ticket) => {
                self.flag.0.store(false, Ordering::SeqCst);
                match Pin::new(&mut landing).poll(context) {
                    Poll::Ready(Some(turn)) => {
                        assert!(model.is_live(KEY, since), "landed an old view");
                        model.begins(KEY, ticket);
                        State::Turn(turn, ticket)
                    }
                    Poll::Pending if !matches!(self.script, Script::GivesUpLanding) => {
                        State::Landing(landing, since, ticket)
                    }
                    ended => {
                        assert!(ended.is_pending() || !model.is_live(KEY, since), "refused");
                        drop(landing);
                        model.ends(KEY, ticket);
                        State::Over
                    }
                }
            }
            State::Turn(turn, ticket) => {
                drop(turn);
                model.ends(KEY, ticket);
                State::Over
            }
            State::Over => unreachable!(),
        };
    }

    fn begin(&self, generations: &Generations, model: &mut Model) -> State {
        match self.script {
            Script::Write | Script::GivesUp => {
                State::Writing(generations.write(KEY), model.asks_to_write(KEY))
            }
            Script::Land | Script::GivesUpLanding | Script::WriteIf => {
                State::Token(generations.token(KEY), model.tick())
            }
            Script::LandSince | Script::WriteIfSince => {
                State::Mark(generations.mark(), model.tick())
            }
        }
    }
}

/// A write that was asked for on a condition: it has a place where the view was live, and none else.
fn writing(asked: Option<Write>, live: bool, model: &mut Model) -> State {
    assert_eq!(asked.is_some(), live);
    match asked {
        Some(write) => State::Writing(write, model.asks_to_write(KEY)),
        None => State::Over,
    }
}

/// Runs the scripts in every order in which they can go; the answer is how many there were.
fn every_interleaving(scripts: &[Script]) -> usize {
    let mut path: Vec<(usize, usize)> = Vec::new();
    let mut runs = 0;
    loop {
        let generations = Generations::new();
        let mut model = Model::default();
        let mut actors: Vec<Actor> = scripts.iter().map(Actor::new).collect();
        let mut depth = 0;
        loop {
            let can: Vec<usize> = (0..actors.len()).filter(|at| actors[*at].can()).collect();
            if can.is_empty() {
                break;
            }
            if depth == path.len() {
                path.push((0, can.len()));
            }
            actors[can[path[depth].0]].step(&generations, &mut model);
            depth += 1;
        }
        let over = |actor: &Actor| matches!(actor.state, State::Over);
        assert!(
            actors.iter().all(over),
            "somebody waits for ever: {scripts:?} {path:?}"
        );
        assert!(
            generations.is_empty(),
            "{generations:?} after {scripts:?} {path:?}"
        );
        runs += 1;
        while path.last().is_some_and(|(at, of)| at + 1 == *of) {
            path.pop();
        }
        match path.last_mut() {
            Some((at, _)) => *at += 1,
            None => return runs,
        }
    }
}

#[test]
fn no_old_view_lands_and_turns_are_taken_in_order() {
    let all = [
        Script::Write,
        Script::GivesUp,
        Script::Land,
        Script::LandSince,
        Script::GivesUpLanding,
        Script::WriteIf,
        Script::WriteIfSince,
    ];
    let mut runs = 0;
    for (first, a) in all.iter().enumerate() {
        for (second, b) in all.iter().enumerate().skip(first) {
            for c in all.iter().skip(second) {
                runs += every_interleaving(&[*a, *b, *c]);
            }
        }
    }
    runs += every_interleaving(&[Script::Write, Script::Write]);
    assert!(runs > 50_000, "{runs}");
}

#[test]
fn a_write_kills_tokens_when_it_is_asked_for() {
    let generations = Generations::new();
    let token = generations.token(KEY);
    assert!(token.is_live());
    let first = generations.write(KEY);
    assert!(!token.is_live(), "before the first poll");
    let during = generations.token(KEY);
    let turn_of_first = turn(first);
    assert!(turn(generations.land(token)).is_none());
    assert!(!during.is_live());
    drop(turn_of_first);
    assert!(!during.is_live(), "it may have seen the old value");
    assert!(turn(generations.land(during)).is_none());
    let after = generations.token(KEY);
    assert!(turn(generations.land(after)).is_some());
    assert!(generations.is_empty());
}

#[test]
fn a_dead_token_stays_dead_whatever_comes() {
    let generations = Generations::new();
    let turn_of_write = turn(generations.write(KEY));
    let dead = generations.token(KEY);
    assert!(dead.is_shared());
    drop(turn_of_write);
    assert!(!dead.is_live() && !dead.is_shared());
    // Nor is it the same again when another write is under way.
    let another = turn(generations.write(KEY));
    assert!(!dead.is_live() && !dead.is_shared());
    drop(another);
    assert!(turn(generations.land(dead)).is_none());
    assert!(generations.is_empty());
}

#[test]
fn keys_do_not_wait_for_each_other() {
    let generations = Generations::new();
    let keys: Vec<String> = (0..200).map(|n| format!("key {n}")).collect();
    let turns: Vec<Turn> = keys
        .iter()
        .map(|key| turn(generations.write(key)))
        .collect();
    assert_eq!(generations.len(), 200);
    assert_eq!(turns[7].key(), "key 7");
    drop(turns);
    assert!(generations.is_empty());
}

#[test]
fn a_landing_kills_no_token_and_waits_for_its_turn() {
    let generations = Generations::new();
    let [first, second] = [(); 2].map(|()| generations.token(KEY));
    let turn_of_first = turn(generations.land(first)).unwrap();
    let mut landing = generations.land(second);
    assert!(poll(&mut landing).is_pending());
    drop(turn_of_first);
    let Poll::Ready(Some(turn_of_second)) = poll(&mut landing) else {
        panic!("not landed");
    };
    let mut write = generations.write(KEY);
    assert!(poll(&mut write).is_pending());
    drop(turn_of_second);
    assert!(poll(&mut write).is_ready());
    drop((landing, write));
    assert!(generations.is_empty());
}

#[test]
fn what_is_of_other_generations_does_not_land() {
    let [ours, others] = [Generations::new(), Generations::new()];
    assert!(turn(ours.land(others.token(KEY))).is_none());
    assert!(turn(ours.land_since(&others.mark(), KEY)).is_none());
    assert!(ours.write_if(others.token(KEY), KEY).is_none());
    assert!(ours.write_if(&others.mark(), KEY).is_none());
    assert!(ours.write_if(ours.token("another"), KEY).is_none());
    assert!(ours.is_empty() && others.is_empty());
}

#[test]
fn a_mark_knows_what_was_written_since() {
    let generations = Generations::new();
    drop(turn(generations.write("before")));
    let under_way = turn(generations.write("under way"));
    let mark = generations.mark();
    drop(under_way);
    drop(turn(generations.write("since")));
    for (key, lands) in [
        ("before", true),
        ("under way", false),
        ("since", false),
        ("never", true),
    ] {
        assert_eq!(
            turn(generations.land_since(&mark, key)).is_some(),
            lands,
            "{key}"
        );
    }
    let later = generations.mark();
    assert!(turn(generations.land_since(&later, "since")).is_some());
    drop(turn(generations.write("last")));
    // The older one goes: what only it needs goes with it.
    assert_eq!(generations.len(), 3);
    drop(mark);
    assert_eq!(generations.len(), 1);
    assert!(turn(generations.land_since(&later, "last")).is_none());
    drop(later);
    assert!(generations.is_empty());
}

#[test]
fn all_are_killed_at_once() {
    let generations = Generations::new();
    let tokens: Vec<Token> = (0..100)
        .map(|n| generations.token(&n.to_string()))
        .collect();
    let mark = generations.mark();
    generations.kill_all();
    for token in tokens {
        assert!(!token.is_live());
        assert!(turn(generations.land(token)).is_none());
    }
    assert!(turn(generations.land_since(&mark, KEY)).is_none());
    let (token, mark) = (generations.token(KEY), generations.mark());
    assert!(turn(generations.land_since(&mark, KEY)).is_some());
    assert!(turn(generations.land(token)).is_some());
    drop(mark);
    assert!(generations.is_empty());
}

#[test]
fn nothing_is_kept_without_marks() {
    let generations = Generations::new();
    for n in 0..10_000 {
        drop(turn(generations.write(&format!("{n}"))));
    }
    assert!(generations.is_empty());
}

#[test]
fn a_landing_makes_a_token_no_older_for_who_waits_for_it_and_a_write_does() {
    let generations = Generations::new();
    let (own, beside) = (generations.token("key"), generations.token("key"));
    drop(generations.write_if(own, "key").expect("it is live"));
    assert!(!beside.is_live() && beside.is_shared());
    let next = generations.token("key");
    drop(generations.write("key"));
    assert!(!next.is_shared() && !beside.is_shared());
}
