//! What a logged tier tells the crate `tracing`.
#![cfg(all(feature = "tier", feature = "tracing"))]

mod tier_support;

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, LazyLock, Mutex};
use std::thread::{self, ThreadId};

use documentbuffer::tier::logged::Logged;
use documentbuffer::tier::{Error, Kind, Op, Tier, TierExt, Version, When};
use tier_support::{Act, Fake, key, open, poll, put, shut, transient};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// What was told on each thread: the level, and the fields in their order.
#[derive(Clone, Default)]
struct Listener(Arc<Mutex<HashMap<ThreadId, Vec<String>>>>);

/// One for all threads, for good: those that come and go for a thread are missed by events of the others.
static LISTENER: LazyLock<Listener> = LazyLock::new(|| {
    let listener = Listener::default();
    let subscriber = tracing_subscriber::registry().with(listener.clone());
    tracing::subscriber::set_global_default(subscriber).unwrap();
    listener
});

/// What was told on this thread since the last time.
fn told() -> Vec<String> {
    let mut told = LISTENER.0.lock().unwrap();
    told.remove(&thread::current().id()).unwrap_or_default()
}

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push_str(&format!(" {}={value:?}", field.name()));
    }
}

impl<S: Subscriber> Layer<S> for Listener {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        assert_eq!(metadata.target(), "documentbuffer::tier");
        let mut fields = Fields(metadata.level().to_string());
        event.record(&mut fields);
        let mut told = self.0.lock().unwrap();
        told.entry(thread::current().id())
            .or_default()
            .push(fields.0);
    }
}

/// `pressly/chainstore` `TestLogMgrStore`, which was commented out.
#[tokio::test]
async fn every_call_is_told_with_its_outcome() {
    let fake = Fake::new();
    let tier = Logged::new(fake.clone());
    assert_eq!(tier.capabilities(), fake.capabilities);
    told();
    tier.put("key", "secret").await.unwrap();
    tier.value("key").await.unwrap();
    tier.value("a \"b\"").await.unwrap();
    let is = When::Is(Version {
        fence: 1,
        number: 1,
    });
    let refused = tier.write(key("key"), put("secret"), is).await;
    refused.map(drop).unwrap();
    let merged = tier.write(key(""), Op::Merge(5), When::Always).await;
    merged.map(drop).unwrap();
    tier.remove("key").await.unwrap();
    tier.scan(None, 1).await.unwrap();
    fake.rule(|_| Act::Fail(transient()));
    tier.put("key", "secret").await.unwrap_err();
    let cannot = Error::new(Kind::Unsupported, "fake", "no");
    fake.rule(move |_| Act::Fail(cannot.clone()));
    tier.scan(None, 1).await.unwrap_err();
    fake.calm();
    tier.close().await.unwrap();
    let expected = [
        r#"DEBUG tier="fake" op="put" key="key" outcome="done""#,
        r#"DEBUG tier="fake" op="get" key="key" outcome="hit""#,
        r#"DEBUG tier="fake" op="get" key="a \"b\"" outcome="miss""#,
        r#"DEBUG tier="fake" op="put" key="key" outcome="refused""#,
        r#"DEBUG tier="fake" op="merge" key="" outcome="done""#,
        r#"DEBUG tier="fake" op="remove" key="key" outcome="done""#,
        r#"DEBUG tier="fake" op="scan" outcome="done""#,
        r#"WARN tier="fake" op="put" key="key" outcome="error" error=fake: not now (transient)"#,
        r#"DEBUG tier="fake" op="scan" outcome="error" error=fake: no (unsupported)"#,
        r#"DEBUG tier="fake" op="close" outcome="done""#,
    ];
    assert_eq!(told(), expected);
}

#[tokio::test]
async fn what_is_dropped_on_its_way_is_told_as_cancelled() {
    let fake = Fake::new();
    let tier = Logged::new(fake.clone());
    told();
    fake.on("put", Act::Wait(shut(), open()));
    let mut write = Box::pin(tier.put("key", "value"));
    assert!(poll(&mut write).await.is_none());
    assert!(told().is_empty());
    drop(write);
    assert_eq!(
        told(),
        [r#"DEBUG tier="fake" op="put" key="key" outcome="cancelled""#]
    );
}
