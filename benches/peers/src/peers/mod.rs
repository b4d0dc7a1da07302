//! One file for each peer.
use crate::store::Peer;

#[cfg(feature = "commitlog")]
mod commitlog;
#[cfg(feature = "fjall")]
mod fjall;
#[cfg(feature = "project")]
mod journal;
mod limits;
#[cfg(feature = "mrecordlog")]
mod mrecordlog;
#[cfg(feature = "okaywal")]
mod okaywal;
#[cfg(feature = "project")]
mod project;
#[cfg(feature = "queue-file")]
mod queue_file;
#[cfg(feature = "raft-engine")]
mod raft_engine;
#[cfg(feature = "redb")]
mod redb;
#[cfg(feature = "rocksdb-system")]
mod rocksdb;
#[cfg(feature = "sled")]
mod sled;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "walrus")]
mod walrus;
#[cfg(feature = "yaque")]
mod yaque;

/// Limits first: the report takes its ratios from them.
pub fn all() -> Vec<Box<dyn Peer>> {
    #[allow(unused_mut)]
    let mut v: Vec<Box<dyn Peer>> = limits::all();
    #[cfg(feature = "project")]
    v.push(Box::new(project::Project));
    #[cfg(feature = "project")]
    v.push(Box::new(journal::JournalPeer));
    #[cfg(feature = "okaywal")]
    v.push(Box::new(okaywal::OkayWal));
    #[cfg(feature = "raft-engine")]
    v.push(Box::new(raft_engine::RaftEngine));
    #[cfg(feature = "commitlog")]
    v.push(Box::new(commitlog::Commitlog));
    #[cfg(feature = "queue-file")]
    v.push(Box::new(queue_file::QueueFilePeer));
    #[cfg(feature = "yaque")]
    v.push(Box::new(yaque::Yaque));
    #[cfg(feature = "walrus")]
    v.push(Box::new(walrus::WalrusPeer));
    #[cfg(feature = "mrecordlog")]
    v.push(Box::new(mrecordlog::Mrecordlog));
    #[cfg(feature = "rocksdb-system")]
    v.push(Box::new(rocksdb::RocksDb));
    #[cfg(feature = "fjall")]
    v.push(Box::new(fjall::Fjall));
    #[cfg(feature = "redb")]
    v.push(Box::new(redb::Redb));
    #[cfg(feature = "sled")]
    v.push(Box::new(sled::Sled));
    #[cfg(feature = "sqlite")]
    v.extend(sqlite::all());
    v
}
