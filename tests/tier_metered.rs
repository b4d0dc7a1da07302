//! What is counted of a tier, and told to the crate `metrics`.
#![cfg(all(feature = "tier", feature = "metrics"))]

mod tier_support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use documentbuffer::tier::facade::Facade;
use documentbuffer::tier::metered::{Metered, OPS_TOTAL, Operation, Outcome, SECONDS};
use documentbuffer::tier::{Error, Kind, Op, Tier, TierExt, When};
use metrics::{
    Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use tier_support::{Act, Fake, NoClock, TestClock, key, open, poll, put, shut};

/// `pressly/chainstore` `TestMetricsMgrStore`, which had nothing below; here below is what there is.
#[tokio::test]
async fn every_call_is_counted_by_its_outcome() {
    let fake = Fake::new();
    let tier = Metered::new(fake.clone());
    assert_eq!(tier.capabilities(), fake.capabilities);
    tier.put("key", "value").await.unwrap();
    tier.put("key", "value").await.unwrap();
    tier.value("key").await.unwrap();
    tier.value("nobody").await.unwrap();
    let refused = tier.write(key("key"), put("x"), When::Absent).await;
    refused.map(drop).unwrap();
    let merged = tier.write(key("sum"), Op::Merge(1), When::Always).await;
    merged.map(drop).unwrap();
    tier.remove("key").await.unwrap();
    tier.scan(None, 1).await.unwrap();
    let kinds = [
        (Kind::Transient, Outcome::Transient),
        (Kind::Throttled, Outcome::Throttled),
        (Kind::Permanent, Outcome::Permanent),
        (Kind::Unsupported, Outcome::Unsupported),
        (Kind::Closed, Outcome::Closed),
        (Kind::Corrupt, Outcome::Corrupt),
    ];
    for (kind, _) in kinds {
        fake.rule(move |_| Act::Fail(Error::new(kind, "fake", "as told")));
        tier.value("key").await.unwrap_err();
        tier.put("key", "value").await.unwrap_err();
    }
    let snapshot = tier.snapshot();
    assert_eq!(snapshot.tier(), "fake");
    for (_, outcome) in kinds {
        assert_eq!(snapshot.count(Operation::Get, outcome), 1);
        assert_eq!(snapshot.count(Operation::Put, outcome), 1);
    }
    let counts: Vec<_> = snapshot
        .counts()
        .filter(|(_, outcome, _)| kinds.iter().all(|(_, error)| error != outcome))
        .collect();
    let expected = [
        (Operation::Get, Outcome::Hit, 1),
        (Operation::Get, Outcome::Miss, 1),
        (Operation::Put, Outcome::Done, 2),
        (Operation::Put, Outcome::Refused, 1),
        (Operation::Remove, Outcome::Done, 1),
        (Operation::Merge, Outcome::Done, 1),
        (Operation::Scan, Outcome::Done, 1),
    ];
    assert_eq!(counts, expected);
}

#[tokio::test]
async fn what_is_dropped_on_its_way_is_counted_and_not_timed() {
    let fake = Fake::new();
    let tier = Metered::new(fake.clone()).sample(1);
    fake.on("put", Act::Wait(shut(), open()));
    let mut write = Box::pin(tier.put("key", "value"));
    assert!(poll(&mut write).await.is_none());
    assert_eq!(tier.snapshot().counts().count(), 0);
    drop(write);
    let snapshot = tier.snapshot();
    assert_eq!(snapshot.count(Operation::Put, Outcome::Cancelled), 1);
    assert_eq!(snapshot.histogram(Operation::Put).count(), 0);
}

#[tokio::test]
async fn one_call_in_so_many_is_timed() {
    let clock = TestClock::at(0);
    let timed = async |sample: u64, calls: u64| {
        let fake = Fake::new();
        let ticks = Arc::clone(&clock);
        fake.rule(move |_| {
            ticks.advance(Duration::from_nanos(1000));
            Act::Pass
        });
        let tier = Metered::new(fake).sample(sample).with_clock(clock.clone());
        for _ in 0..calls {
            tier.value("key").await.unwrap();
            // Its own count, so that it does not fall between those of others.
            tier.remove("key").await.unwrap();
        }
        let snapshot = tier.snapshot();
        assert_eq!(snapshot.count(Operation::Get, Outcome::Miss), calls);
        snapshot.histogram(Operation::Get).clone()
    };
    let all = timed(1, 10).await;
    assert_eq!((all.count(), all.sum()), (10, Duration::from_micros(10)));
    let bucket = (Duration::from_nanos(1023), 10);
    assert_eq!(all.buckets().collect::<Vec<_>>(), [bucket]);
    assert_eq!(timed(64, 1).await.count(), 1);
    assert_eq!(timed(64, 64).await.count(), 1);
    assert_eq!(timed(64, 65).await.count(), 2);
    assert_eq!(timed(0, 100).await.count(), 0);
}

#[tokio::test]
async fn without_a_sample_no_clock_is_read() {
    let tier = Metered::new(Fake::new())
        .sample(0)
        .with_clock(Arc::new(NoClock));
    tier.put("key", "value").await.unwrap();
    tier.value("key").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn threads_count_together() {
    let tier = Arc::new(Metered::new(Fake::new()));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let tier = Arc::clone(&tier);
        tasks.spawn(async move {
            for _ in 0..100 {
                tier.value("key").await.unwrap();
                tokio::task::yield_now().await;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    let snapshot = tier.snapshot();
    assert_eq!(snapshot.count(Operation::Get, Outcome::Miss), 2000);
}

/// What the recorder was told, by name and labels.
#[derive(Clone, Debug, Default)]
struct Heard(Arc<Mutex<BTreeMap<String, Vec<String>>>>);

struct One(Heard, String);

impl One {
    fn hear(&self, told: String) {
        let mut heard = self.0.0.lock().unwrap();
        heard.entry(self.1.clone()).or_default().push(told);
    }
}

impl CounterFn for One {
    fn increment(&self, value: u64) {
        self.hear(format!("+{value}"));
    }

    fn absolute(&self, value: u64) {
        self.hear(format!("={value}"));
    }
}

impl HistogramFn for One {
    fn record(&self, value: f64) {
        self.hear(format!("{:.0} ns", value * 1e9));
    }
}

fn series(key: &Key) -> String {
    let labels = key
        .labels()
        .map(|label| format!("{}={}", label.key(), label.value()));
    format!("{} {}", key.name(), labels.collect::<Vec<_>>().join(" "))
}

impl Recorder for Heard {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::new(One(self.clone(), series(key))))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::new(One(self.clone(), series(key))))
    }
}

#[tokio::test]
async fn the_facade_is_told_the_difference() {
    let clock = TestClock::at(0);
    let fake = Fake::new();
    let ticks = Arc::clone(&clock);
    fake.rule(move |_| {
        ticks.advance(Duration::from_nanos(1000));
        Act::Pass
    });
    let tier = Metered::new(fake).sample(1).with_clock(clock);
    let (heard, facade) = (Heard::default(), Facade::new());
    let report = || metrics::with_local_recorder(&heard, || facade.report(&tier.snapshot()));
    tier.put("key", "value").await.unwrap();
    tier.value("key").await.unwrap();
    tier.value("key").await.unwrap();
    let old = tier.snapshot();
    report();
    report();
    tier.value("key").await.unwrap();
    report();
    // An old one takes nothing back, and nothing is told twice for it.
    metrics::with_local_recorder(&heard, || facade.report(&old));
    report();
    // Another tier of that name adds to it.
    let other = Metered::new(Fake::new()).sample(0);
    other.put("key", "value").await.unwrap();
    metrics::with_local_recorder(&heard, || facade.report(&other.snapshot()));
    let heard = heard.0.lock().unwrap().clone();
    let told = |name: &str| {
        heard
            .get(name)
            .map(|told| told.join(" "))
            .unwrap_or_default()
    };
    assert_eq!(
        told(&format!("{OPS_TOTAL} tier=fake op=get outcome=hit")),
        "+2 +1"
    );
    assert_eq!(
        told(&format!("{OPS_TOTAL} tier=fake op=put outcome=done")),
        "+1 +1"
    );
    assert_eq!(
        told(&format!("{SECONDS} tier=fake op=get")),
        "767 ns 767 ns 767 ns"
    );
    assert_eq!(heard.len(), 4, "{heard:?}");
}
