//! Every interleaving of three callers who look, ask, create, fail and wait, to a depth; beside the plain truth.

use super::*;

const EXPIRY: u64 = 2;
const HARD: u64 = 3;
const ON_ERROR: u64 = 4;
const CALLERS: usize = 3;
const DEPTH: usize = 9;

fn ticks(ticks: u64) -> Duration {
    Duration::from_secs(ticks)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Caller {
    Idle,
    /// Has looked: how many had landed before, and when what it found was made.
    Looked(u64, Option<u64>),
    Creates(u64),
    /// For that creation.
    Waits(u64),
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Tick,
    Renounce,
    Look(usize),
    Enter(usize, bool),
    Land(usize, bool),
    GiveUp(usize),
    Defer(usize),
    Overdue,
}

#[derive(Clone)]
struct World {
    rules: Rules,
    desk: Desk,
    now: u64,
    /// When what is kept was made.
    kept: Option<u64>,
    callers: [Caller; CALLERS],
    /// The creation that counts.
    running: Option<u64>,
    /// When the last creation failed, if none has gone well since, and how many did in a row.
    failed: Option<(u64, u32)>,
    /// Until then another process creates.
    deferred: u64,
    path: Vec<Action>,
}

impl World {
    fn new(limit: Duration) -> World {
        World {
            rules: Rules {
                backoff: (ticks(1), ticks(2)),
                limit,
            },
            desk: Desk::default(),
            now: 0,
            kept: None,
            callers: [Caller::Idle; CALLERS],
            running: None,
            failed: None,
            deferred: 0,
            path: Vec::new(),
        }
    }

    fn grade(&self, made: u64) -> Grade {
        match self.now - made {
            age if age <= EXPIRY => Grade::Fresh,
            age if age <= HARD => Grade::Stale,
            _ => Grade::Dead,
        }
    }

    fn actions(&self) -> Vec<Action> {
        let mut actions = vec![Action::Tick];
        if self.desk.overdue(ticks(self.now)).is_some() {
            actions.push(Action::Overdue);
        }
        if self.path.len() < 4 {
            actions.push(Action::Renounce);
        }
        for (at, caller) in self.callers.iter().enumerate() {
            match *caller {
                Caller::Idle => actions.push(Action::Look(at)),
                Caller::Looked(_, Some(made)) if self.grade(made) == Grade::Fresh => {
                    actions.extend([Action::Enter(at, false), Action::Enter(at, true)]);
                }
                Caller::Looked(..) => actions.push(Action::Enter(at, false)),
                Caller::Creates(_) => {
                    actions.extend([Action::Land(at, true), Action::Land(at, false)]);
                    actions.push(Action::GiveUp(at));
                    if self.deferred == 0 {
                        actions.push(Action::Defer(at));
                    }
                }
                Caller::Waits(_) => {}
            }
        }
        actions
    }

    fn act(&mut self, action: Action) {
        self.path.push(action);
        match action {
            Action::Tick => self.now += 1,
            Action::Renounce => {
                self.desk.renounce();
                (self.kept, self.running) = (None, None);
            }
            Action::Look(at) => {
                self.callers[at] = Caller::Looked(self.desk.landed(), self.kept);
            }
            Action::Enter(at, early) => self.enter(at, early),
            Action::Land(at, good) => self.land(at, good),
            Action::GiveUp(at) | Action::Defer(at) => {
                let Caller::Creates(number) = self.callers[at] else {
                    unreachable!();
                };
                let counts = match action {
                    Action::Defer(_) => {
                        self.deferred = self.now + 1;
                        self.desk.defer(number, ticks(self.deferred))
                    }
                    _ => self.desk.give_up(number),
                };
                assert_eq!(counts, self.running == Some(number), "{:?}", self.path);
                self.end(number, counts);
            }
            Action::Overdue => {
                let number = self.desk.overdue(ticks(self.now)).expect("one");
                let now = ticks(self.now);
                assert!(self.desk.land(&self.rules, number, false, now, 0.0));
                self.fail();
                self.end(number, true);
            }
        }
    }

    /// Who waited for it goes on.
    fn end(&mut self, number: u64, counts: bool) {
        if counts {
            self.running = None;
        }
        for caller in &mut self.callers {
            if matches!(caller, Caller::Waits(other) | Caller::Creates(other) if *other == number) {
                *caller = Caller::Idle;
            }
        }
    }

    fn fail(&mut self) {
        let times = self.failed.map_or(0, |(_, times)| times) + 1;
        self.failed = Some((self.now, times));
    }

    fn land(&mut self, at: usize, good: bool) {
        let Caller::Creates(number) = self.callers[at] else {
            unreachable!();
        };
        let now = ticks(self.now);
        let counts = self.desk.land(&self.rules, number, good, now, 0.0);
        assert_eq!(counts, self.running == Some(number), "{:?}", self.path);
        if counts && good {
            (self.kept, self.failed) = (Some(self.now), None);
        } else if counts {
            self.fail();
        }
        self.end(number, counts);
    }

    fn enter(&mut self, at: usize, early: bool) {
        let Caller::Looked(seen, found) = self.callers[at] else {
            unreachable!();
        };
        let grade = found.map(|made| self.grade(made));
        let told = found.map(|made| Found {
            grade: self.grade(made),
            early,
            serves_on_error: self.now - made <= EXPIRY + ON_ERROR,
        });
        let step = self.desk.enter(&self.rules, seen, told, ticks(self.now));
        let path = &self.path;
        let delayed = self
            .failed
            .is_some_and(|(failed, times)| self.now < failed + if times > 1 { 2 } else { 1 });
        let mut next = Caller::Idle;
        match step {
            Step::Fresh => assert_eq!(grade, Some(Grade::Fresh), "{path:?}"),
            Step::Stale => {
                assert_eq!(grade, Some(Grade::Stale), "{path:?}");
                let made = self.running.is_some() || self.now < self.deferred;
                assert!(made, "nobody makes it anew: {path:?}");
            }
            Step::StaleOnError | Step::Refused(_) => {
                assert!(delayed && self.running.is_none(), "{path:?}");
                let serves = told.is_some_and(|told| told.serves_on_error);
                assert_eq!(step == Step::StaleOnError, serves, "{path:?}");
            }
            Step::Again => {
                assert_ne!(seen, self.desk.landed(), "for ever: {path:?}");
            }
            Step::Join => {
                next = Caller::Waits(self.running.expect("somebody to wait for"));
                assert!(!matches!(grade, Some(Grade::Fresh | Grade::Stale)));
            }
            Step::Elected(number) => {
                assert_eq!(self.running, None, "two create: {path:?}");
                assert!(!delayed, "before its time: {path:?}");
                let needless = self.kept.map(|made| self.grade(made)) == Some(Grade::Fresh);
                assert!(!needless || early, "one creation for each expiry: {path:?}");
                assert_eq!(self.kept, found, "by what is no longer there: {path:?}");
                self.running = Some(number);
                next = Caller::Creates(number);
            }
        }
        self.callers[at] = next;
    }
}

fn explore(world: &World, depth: usize, seen: &mut u64) {
    *seen += 1;
    if depth == 0 {
        return;
    }
    for action in world.actions() {
        let mut next = world.clone();
        next.act(action);
        explore(&next, depth - 1, seen);
    }
}

#[test]
fn every_interleaving_of_three_callers_creates_once_for_each_expiry() {
    for limit in [Duration::MAX, ticks(2)] {
        // Nothing there yet; a value that has just expired; one that has been dead for long.
        for (kept, now) in [(None, 0), (Some(0), EXPIRY + 1), (Some(0), 20)] {
            let mut world = World::new(limit);
            (world.kept, world.now) = (kept, now);
            let mut seen = 0;
            explore(&world, DEPTH, &mut seen);
            assert!(seen > 1_000_000, "{seen}");
        }
    }
}

#[test]
fn delays_double_up_to_the_longest_and_end_with_a_value() {
    let rules = Rules {
        backoff: (ticks(1), ticks(5)),
        limit: Duration::MAX,
    };
    let mut desk = Desk::default();
    let mut now = Duration::ZERO;
    for delay in [1, 2, 4, 5, 5] {
        let Step::Elected(number) = desk.enter(&rules, 0, None, now) else {
            panic!("not elected");
        };
        assert!(desk.land(&rules, number, false, now, 0.0));
        assert_eq!(
            desk.enter(&rules, 0, None, now),
            Step::Refused(ticks(delay))
        );
        now += ticks(delay);
    }
    let Step::Elected(number) = desk.enter(&rules, 0, None, now) else {
        panic!("not elected");
    };
    assert!(desk.land(&rules, number, true, now, 0.0));
    let Step::Elected(number) = desk.enter(&rules, 1, None, now) else {
        panic!("not elected");
    };
    assert!(desk.land(&rules, number, false, now, 1.0));
    let Step::Refused(delay) = desk.enter(&rules, 1, None, now) else {
        panic!("elected");
    };
    assert_eq!(delay, Duration::from_millis(750), "a quarter less at most");
}

#[test]
fn many_failures_do_not_wrap_the_delay_around() {
    let rules = Rules {
        backoff: (ticks(1), ticks(60)),
        limit: Duration::MAX,
    };
    let mut desk = Desk::default();
    let mut now = Duration::ZERO;
    for _ in 0..200 {
        let Step::Elected(number) = desk.enter(&rules, 0, None, now) else {
            panic!("not elected");
        };
        desk.land(&rules, number, false, now, 0.0);
        now += ticks(60);
    }
    let Step::Elected(number) = desk.enter(&rules, 0, None, now) else {
        panic!("not elected");
    };
    desk.land(&rules, number, false, now, 0.0);
    assert_eq!(desk.enter(&rules, 0, None, now), Step::Refused(ticks(60)));
}
