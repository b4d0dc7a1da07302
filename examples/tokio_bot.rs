//! Many tasks, one journal: a counter for every member of a chat, each kept by a task of its own.
//!
//! ```sh
//! cargo run --features tokio --example tokio_bot -- [DIRECTORY [MEMBERS [MESSAGES]]]
//! ```
//!
//! Every task appends its member's messages, `MEMBER NUMBER`, one after the other, and says `MEMBER NUMBER` on
//! standard output once the journal has made the message survive power loss. One more task follows the
//! journal and counts. Kill it at any moment: the next start takes up where each member was, and no message
//! that was answered is missing, or there twice.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;

use documentbuffer::journal::asynchronous::{AsyncJournal, Followed};

/// Messages of each member, by name.
type Counts = BTreeMap<u64, u64>;

fn parse(bytes: &[u8]) -> Option<(u64, u64)> {
    let (member, number) = str::from_utf8(bytes).ok()?.split_once(' ')?;
    Some((member.parse().ok()?, number.parse().ok()?))
}

/// What the journal says: each member's messages, without a gap.
fn count(counts: &mut Counts, bytes: &[u8]) -> Result<(), String> {
    let (member, number) = parse(bytes).ok_or("a document is no message")?;
    let next = counts.entry(member).or_default();
    if number != *next {
        return Err(format!(
            "member {member}: message {number} where {next} was due"
        ));
    }
    *next += 1;
    Ok(())
}

/// One member's messages, from the first that is not in the journal.
async fn talk(journal: AsyncJournal, member: u64, first: u64, messages: u64) -> Result<(), String> {
    for number in first..first.saturating_add(messages) {
        let message = format!("{member} {number}");
        journal
            .append(&message)
            .await
            .map_err(|error| error.to_string())?;
        let mut out = std::io::stdout().lock();
        let told = writeln!(out, "{message}").and_then(|()| out.flush());
        told.map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Counts what the journal has made durable, up to `until` documents.
async fn listen(journal: AsyncJournal, until: u64) -> Result<Counts, String> {
    let mut events = journal.follow(0).await.map_err(|error| error.to_string())?;
    let mut counts = Counts::new();
    for _ in 0..until {
        match events.next().await {
            Some(Ok(Followed::Document { bytes, .. })) => count(&mut counts, &bytes)?,
            other => return Err(format!("{other:?}")),
        }
    }
    Ok(counts)
}

async fn run(path: &str, members: u64, messages: u64) -> Result<(), Box<dyn Error>> {
    let journal = AsyncJournal::open(path).await?;
    let before = journal.journal().end();
    let counts = listen(journal.clone(), before).await?;
    eprintln!(
        "took up {before} messages of {} members from {path}",
        counts.len()
    );
    let all = before + members * messages;
    let listener = tokio::spawn(listen(journal.clone(), all));
    let talkers: Vec<_> = (0..members)
        .map(|member| {
            let first = counts.get(&member).copied().unwrap_or(0);
            tokio::spawn(talk(journal.clone(), member, first, messages))
        })
        .collect();
    for talker in talkers {
        talker.await??;
    }
    let counts = listener.await??;
    let stats = journal.close().await?;
    eprintln!(
        "{} messages, {} in this run in {} groups, the largest of {}",
        counts.values().sum::<u64>(),
        stats.group_documents,
        stats.groups,
        stats.largest_group
    );
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().unwrap_or_else(|| "chat".to_owned());
    let members = arguments.next().map_or(Ok(8), |members| members.parse())?;
    let messages = arguments
        .next()
        .map_or(Ok(100), |messages| messages.parse())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().build()?;
    runtime.block_on(run(&path, members, messages))
}
