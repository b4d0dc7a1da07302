//! What is counted of caches that refresh themselves, told to the crate `metrics`.
#![cfg(all(feature = "auto-refresh", feature = "metrics"))]

mod refresh_support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use documentbuffer::auto_refresh::facade::{EVENTS_TOTAL, Facade, ITEMS, SECONDS};
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use refresh_support::*;

/// What the recorder was told, by name and labels.
#[derive(Clone, Debug, Default)]
struct Heard(Arc<Mutex<BTreeMap<String, Vec<String>>>>);

struct One(Heard, String);

impl One {
    fn hear(&self, told: String) {
        let mut heard = self.0.0.lock().expect("what was heard");
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

impl GaugeFn for One {
    fn increment(&self, value: f64) {
        self.hear(format!("+{value}"));
    }

    fn decrement(&self, value: f64) {
        self.hear(format!("-{value}"));
    }

    fn set(&self, value: f64) {
        self.hear(format!("={value}"));
    }
}

impl HistogramFn for One {
    fn record(&self, value: f64) {
        self.hear(format!("{value:.1} s"));
    }
}

fn series(key: &Key) -> String {
    let labels = key.labels();
    let labels = labels.map(|label| format!("{}={}", label.key(), label.value()));
    format!("{} {}", key.name(), labels.collect::<Vec<_>>().join(" "))
}

impl Recorder for Heard {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::new(One(self.clone(), series(key))))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Arc::new(One(self.clone(), series(key))))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::new(One(self.clone(), series(key))))
    }
}

#[tokio::test(start_paused = true)]
async fn the_facade_is_told_the_difference() {
    let (heard, facade) = (Heard::default(), Facade::new());
    let report = |stats| metrics::with_local_recorder(&heard, || facade.report(&stats));
    let service = Service::default();
    service.shut();
    let cache = service.started(options());
    create(&cache, "a", 1);
    report(cache.stats());
    service.until_begun(1).await;
    pass(SECOND / 2).await;
    let old = cache.stats();
    service.open();
    service.until_ended(1).await;
    report(cache.stats());
    // What is older has nothing more to tell.
    report(old);
    cache.get("a");
    cache.get("a");
    report(cache.stats());
    // Another cache of that name adds to it.
    let other = service.built(options());
    create(&other, "a", 1);
    report(other.stats());
    cache.shutdown().await.expect("ended");

    let heard = heard.0.lock().expect("what was heard").clone();
    let told = |name: &str| heard.get(name).map(|told| told.join(" "));
    let event = |event: &str| told(&format!("{EVENTS_TOTAL} cache=numbers event={event}"));
    assert_eq!(event("create").as_deref(), Some("+1 +1"));
    assert_eq!(event("miss").as_deref(), Some("+1 +1"));
    assert_eq!(event("hit").as_deref(), Some("+2"));
    assert_eq!(event("update").as_deref(), Some("+1"));
    assert_eq!(event("sync_error"), None);
    let gauge = |what: &str| told(&format!("{ITEMS} cache=numbers what={what}"));
    assert_eq!(gauge("size").as_deref(), Some("=1 =1 =1 =1 =1"));
    assert_eq!(gauge("running").as_deref(), Some("=0 =0 =1 =0 =0"));
    // Half a second, in a bucket of 0.27 to 0.54 s.
    let seconds = told(&format!("{SECONDS} cache=numbers"));
    assert_eq!(seconds.as_deref(), Some("0.4 s"));
}
