//! Who creates, who waits, who passes: decided without I/O, lock, or a clock of its own.
//!
//! ```text
//!   age               0 ··· expiry ········· hard ········· expiry + stale_if_error
//!   nobody creates    fresh │ stale: elected │ elected
//!   somebody creates  fresh │ stale: passes  │ waits
//!   it has failed     fresh │ passes, told of the error, until the time of the next try │ error
//! ```

use std::time::Duration;

/// What holds for all values of a key.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// The first delay after a failure, and the longest.
    pub(super) backoff: (Duration, Duration),
    /// How long a creation may take.
    pub(super) limit: Duration,
}

/// A value that a caller has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) grade: Grade,
    /// It is fresh, and this caller is to make it anew before it is not.
    pub(super) early: bool,
    /// It is good enough where the creator has failed.
    pub(super) serves_on_error: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grade {
    Fresh,
    Stale,
    /// Not to be shown, unless the creator has failed.
    Dead,
}

/// What a caller is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Take what was found: it is fresh.
    Fresh,
    /// Take what was found: somebody makes it anew.
    Stale,
    /// Take what was found: it cannot be made anew now, and was tried.
    StaleOnError,
    /// Look again: a value was made since.
    Again,
    /// Create.
    Elected(u64),
    /// Wait for who creates.
    Join,
    /// Fail, as the last try did; the next is made after so long.
    Refused(Duration),
}

/// What is remembered of a key.
#[derive(Clone, Debug, Default)]
pub(super) struct Desk {
    running: Option<Running>,
    last: u64,
    /// Creations that gave a value, and whatever else made what was found before it old.
    landed: u64,
    /// In a row.
    failures: u32,
    /// When the next creation may begin.
    again: Duration,
    /// Until then another process creates, as far as is known.
    deferred: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    number: u64,
    /// When it counts as failed.
    until: Duration,
}

impl Desk {
    pub(super) fn landed(&self) -> u64 {
        self.landed
    }

    /// The creation that has taken too long.
    pub(super) fn overdue(&self, now: Duration) -> Option<u64> {
        let running = self.running.filter(|running| running.until <= now);
        running.map(|running| running.number)
    }

    /// Whoever looked when `seen` creations had landed, and found this.
    pub(super) fn enter(
        &mut self,
        rules: &Rules,
        seen: u64,
        found: Option<Found>,
        now: Duration,
    ) -> Step {
        let grade = found.map(|found| found.grade);
        let early = found.is_some_and(|found| found.early);
        if grade == Some(Grade::Fresh) && !early {
            return Step::Fresh;
        }
        if seen != self.landed {
            return Step::Again;
        }
        if self.running.is_some() {
            return match grade {
                Some(Grade::Fresh) => Step::Fresh,
                Some(Grade::Stale) => Step::Stale,
                Some(Grade::Dead) | None => Step::Join,
            };
        }
        if now < self.deferred {
            // Who has nothing to show goes and sees for itself.
            match grade {
                Some(Grade::Fresh) => return Step::Fresh,
                Some(Grade::Stale) => return Step::Stale,
                Some(Grade::Dead) | None => {}
            }
        }
        if self.failures > 0 && now < self.again {
            return match found {
                Some(_) if grade == Some(Grade::Fresh) => Step::Fresh,
                Some(found) if found.serves_on_error => Step::StaleOnError,
                _ => Step::Refused(self.delay(now)),
            };
        }
        self.last += 1;
        self.running = Some(Running {
            number: self.last,
            until: now.saturating_add(rules.limit),
        });
        Step::Elected(self.last)
    }

    /// A creation is over; false where it is no longer the one that counts. `jitter` is from 0 to 1.
    pub(super) fn land(
        &mut self,
        rules: &Rules,
        number: u64,
        good: bool,
        now: Duration,
        jitter: f64,
    ) -> bool {
        if self.running.is_none_or(|running| running.number != number) {
            return false;
        }
        self.running = None;
        if good {
            self.failures = 0;
            self.landed += 1;
            return true;
        }
        let (first, longest) = rules.backoff;
        let doubled = first.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        // Up to a quarter less, so that many processes do not come back at the same moment.
        let delay = doubled.min(longest).div_f64(1.0 + jitter / 3.0);
        self.failures = self.failures.saturating_add(1);
        self.again = now.saturating_add(delay);
        true
    }

    /// How long no creation begins.
    pub(super) fn delay(&self, now: Duration) -> Duration {
        self.again.saturating_sub(now)
    }

    /// Who creates has given up, and nothing is known of it: the next one may.
    pub(super) fn give_up(&mut self, number: u64) -> bool {
        let own = self.running.is_some_and(|running| running.number == number);
        if own {
            self.running = None;
        }
        own
    }

    /// Another process creates: who has something to show need not try before that time.
    pub(super) fn defer(&mut self, number: u64, until: Duration) -> bool {
        self.deferred = self.deferred.max(until);
        self.give_up(number)
    }

    /// Whether it knows of anything that keeps callers from creating.
    pub(super) fn remembers(&self, now: Duration) -> bool {
        self.failures > 0 || now < self.deferred
    }

    /// What was found until now, and what is being created, is old.
    pub(super) fn renounce(&mut self) {
        self.running = None;
        self.landed += 1;
    }
}

#[cfg(test)]
mod tests;
