//! What lies behind all handles of a [`FaultDirectory`](super::FaultDirectory).

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use super::calls::injected;
use super::names::{Names, Table};
use super::script::met;
use super::{Chunks, Class, DirCalls, Fault, FaultStore, Rng};
use crate::store::Store;

#[derive(Clone)]
pub(super) struct Disk {
    /// Of the process that lives; those before it were killed.
    generation: u64,
    nodes: BTreeMap<u64, Node>,
    next: u64,
    pub(super) names: Table,
    pub(super) locked: bool,
    pub(super) script: Vec<Fault>,
    pub(super) calls: DirCalls,
    pub(super) fired: u64,
    pub(super) cap: Option<u64>,
    pub(super) chunks: Chunks,
    /// As that of a store, but for the next write to any.
    full: Option<bool>,
    rng: Rng,
}

/// A store by whatever name, or by none any more.
#[derive(Clone)]
struct Node {
    store: FaultStore,
    /// Handles of the process that lives.
    handles: u64,
    /// One of them is for writing.
    written: bool,
}

impl Disk {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            generation: 0,
            nodes: BTreeMap::new(),
            next: 0,
            names: Table::default(),
            locked: false,
            script: Vec::new(),
            calls: DirCalls::default(),
            fired: 0,
            cap: None,
            chunks: Chunks::Whole,
            full: None,
            rng: Rng::new(seed),
        }
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn kill(&mut self) -> u64 {
        self.generation += 1;
        self.locked = false;
        for node in self.nodes.values_mut() {
            (node.handles, node.written) = (0, false);
        }
        self.forget();
        self.generation
    }

    pub(super) fn calm(&mut self) {
        self.script.clear();
        self.calls = DirCalls::default();
        self.fired = 0;
        self.cap = None;
        self.chunks = Chunks::Whole;
        self.full = None;
    }

    /// A store without a name that holds these bytes, all durable.
    pub(super) fn add(&mut self, bytes: Vec<u8>) -> u64 {
        let id = self.next;
        self.next += 1;
        let node = Node {
            store: FaultStore::with_contents(self.rng.next_u64(), bytes),
            handles: 0,
            written: false,
        };
        self.nodes.insert(id, node);
        id
    }

    /// Cuts a store to nothing.
    pub(super) fn empty(&mut self, store: u64) {
        if let Some(node) = self.nodes.get_mut(&store)
            && !node.store.view.is_empty()
        {
            node.store.cut(0);
        }
    }

    pub(super) fn find(&self, name: &str) -> io::Result<u64> {
        let found = self.names.now().get(name).copied();
        found.ok_or_else(|| io::Error::new(ErrorKind::NotFound, format!("there is no {name}")))
    }

    pub(super) fn is_written(&self, store: u64) -> bool {
        self.nodes.get(&store).is_some_and(|node| node.written)
    }

    /// A handle more.
    pub(super) fn open(&mut self, store: u64, writes: bool) {
        if let Some(node) = self.nodes.get_mut(&store) {
            node.handles += 1;
            node.written |= writes;
        }
    }

    /// A handle less.
    pub(super) fn close(&mut self, store: u64, writes: bool) {
        if let Some(node) = self.nodes.get_mut(&store) {
            node.handles = node.handles.saturating_sub(1);
            node.written &= !writes;
        }
    }

    /// Drops every store that nobody can reach any more.
    pub(super) fn forget(&mut self) {
        let named = self.names.stores();
        self.nodes
            .retain(|id, node| node.handles > 0 || named.contains(id));
    }

    /// Makes some of the changes of names durable; the others are lost, though they stand.
    pub(super) fn settle_some(&mut self) {
        let rng = &mut self.rng;
        self.names.settle(|_| rng.below(2) == 0);
    }

    /// How many bytes more fit; `None` without a cap.
    pub(super) fn room(&self) -> Option<u64> {
        let cap = self.cap?;
        let named: BTreeSet<u64> = self.names.now().values().copied().collect();
        let kept = self
            .nodes
            .iter()
            .filter(|(id, node)| node.handles > 0 || named.contains(id));
        let used = kept.map(|(_, node)| node.store.view.len() as u64);
        Some(cap.saturating_sub(used.sum()))
    }

    /// Counts a call and looks up what goes wrong at it.
    pub(super) fn hit(&mut self, class: Class) -> Option<Fault> {
        let (own, any) = (self.calls.of(class), self.calls.total());
        self.calls.count(class);
        let fault = met(&self.script, class, own, any);
        self.fired += u64::from(fault.is_some());
        fault
    }

    /// One call of a store, from and to that position.
    pub(super) fn call<T>(
        &mut self,
        id: u64,
        class: Class,
        position: &mut u64,
        call: impl FnOnce(&mut FaultStore) -> io::Result<T>,
    ) -> io::Result<T> {
        let fault = self.hit(class);
        let room = self.room();
        let node = self.nodes.get_mut(&id).ok_or(ErrorKind::NotFound)?;
        let store = &mut node.store;
        let at = store.calls.total();
        let class = Class::Any;
        store.faults = Vec::from_iter(fault.map(|fault| Fault { class, at, ..fault }));
        store.cap = room.map(|room| room.saturating_add(store.view.len() as u64));
        store.chunks = self.chunks;
        store.full = self.full;
        store.position = *position;
        let outcome = call(store);
        *position = store.position;
        self.full = store.full;
        outcome
    }

    /// What `Store::preserve` of a store gave: a store of its own under a name of its own, durable.
    pub(super) fn keep(&mut self, id: u64, name: &str) -> io::Result<Option<PathBuf>> {
        let node = self.nodes.get_mut(&id).ok_or(ErrorKind::NotFound)?;
        let Some((from, bytes)) = node.store.preserved.pop() else {
            return Ok(None);
        };
        if bytes.is_empty() {
            return Ok(None);
        }
        if self.room().is_some_and(|room| room < bytes.len() as u64) {
            return Err(injected(ErrorKind::StorageFull));
        }
        let base = format!("{name}.behind-{from}");
        let mut kept = base.clone();
        for number in 1u64.. {
            if !self.names.now().contains_key(&kept) {
                break;
            }
            kept = format!("{base}.{number}");
        }
        let copy = self.add(bytes);
        self.names.put(&kept, copy);
        Ok(Some(PathBuf::from(kept)))
    }

    /// Stores by these names, with what `contents` says of each.
    pub(super) fn image(
        &self,
        names: &Names,
        mut contents: impl FnMut(&FaultStore) -> Vec<u8>,
    ) -> BTreeMap<String, Vec<u8>> {
        let stores = names
            .iter()
            .filter_map(|(name, id)| Some((name, self.nodes.get(id)?)));
        stores
            .map(|(name, node)| (name.clone(), contents(&node.store)))
            .collect()
    }

    /// Calls [`Store::preserve`], and keeps what it gave even where the fault is an error afterwards.
    pub(super) fn preserve(
        &mut self,
        id: u64,
        name: &str,
        position: &mut u64,
        from: u64,
    ) -> io::Result<Option<PathBuf>> {
        let outcome = self.call(id, Class::Preserve, position, |store| store.preserve(from));
        let kept = self.keep(id, name)?;
        outcome.map(|_| kept)
    }
}
