//! The names of a directory: those that stand, those that are durable, and what was done in between.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// From names to stores.
pub(super) type Names = BTreeMap<String, u64>;

/// A change of names that no sync has made durable yet. It is about a store, not about the name that it had
/// then, so that each makes sense without those before it.
#[derive(Clone)]
pub(super) enum Change {
    Create {
        name: String,
        store: u64,
    },
    Rename {
        from: String,
        to: String,
        store: u64,
    },
    Remove {
        name: String,
        store: u64,
    },
}

impl Change {
    pub(super) fn apply(&self, names: &mut Names) {
        match self {
            Change::Create { name, store } => {
                names.insert(name.clone(), *store);
            }
            Change::Rename { to, store, .. } => {
                // Whatever name it has: none of the renames before need be there.
                names.retain(|_, other| other != store);
                names.insert(to.clone(), *store);
            }
            Change::Remove { store, .. } => names.retain(|_, other| other != store),
        }
    }

    fn store(&self) -> u64 {
        match self {
            Change::Create { store, .. }
            | Change::Rename { store, .. }
            | Change::Remove { store, .. } => *store,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Create { name, .. } => write!(f, "create {name}"),
            Change::Rename { from, to, .. } => write!(f, "rename {from} to {to}"),
            Change::Remove { name, .. } => write!(f, "remove {name}"),
        }
    }
}

#[derive(Clone, Default)]
pub(super) struct Table {
    now: Names,
    durable: Names,
    unsynced: Vec<Change>,
}

impl Table {
    pub(super) fn now(&self) -> &Names {
        &self.now
    }

    pub(super) fn unsynced(&self) -> &[Change] {
        &self.unsynced
    }

    pub(super) fn change(&mut self, change: Change) {
        change.apply(&mut self.now);
        self.unsynced.push(change);
    }

    /// A name that is durable at once.
    pub(super) fn put(&mut self, name: &str, store: u64) {
        self.now.insert(name.to_owned(), store);
        self.durable.insert(name.to_owned(), store);
    }

    /// Makes every change durable that `keep` says yes to; none is left over.
    pub(super) fn settle(&mut self, keep: impl FnMut(usize) -> bool) {
        self.durable = self.after(keep);
        self.unsynced.clear();
    }

    /// The names that stand fall back to the durable ones.
    pub(super) fn revert(&mut self) {
        self.settle(|_| false);
        self.now.clone_from(&self.durable);
    }

    /// The durable names and the changes that `keep` says yes to, in their order.
    pub(super) fn after(&self, mut keep: impl FnMut(usize) -> bool) -> Names {
        let mut names = self.durable.clone();
        for (index, change) in self.unsynced.iter().enumerate() {
            if keep(index) {
                change.apply(&mut names);
            }
        }
        names
    }

    /// What any choice of the changes gives, each outcome once.
    pub(super) fn outcomes(&self) -> BTreeSet<Names> {
        let mut outcomes = BTreeSet::from([self.durable.clone()]);
        for change in &self.unsynced {
            let changed: Vec<Names> = outcomes
                .iter()
                .map(|names| {
                    let mut names = names.clone();
                    change.apply(&mut names);
                    names
                })
                .collect();
            outcomes.extend(changed);
        }
        outcomes
    }

    /// Every store that has a name, had one, or may have one after a power cut.
    pub(super) fn stores(&self) -> BTreeSet<u64> {
        let named = self.now.values().chain(self.durable.values()).copied();
        named
            .chain(self.unsynced.iter().map(Change::store))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(name: &str, store: u64) -> Change {
        let name = name.to_owned();
        Change::Create { name, store }
    }

    fn rename(from: &str, to: &str, store: u64) -> Change {
        let (from, to) = (from.to_owned(), to.to_owned());
        Change::Rename { from, to, store }
    }

    fn remove(name: &str, store: u64) -> Change {
        let name = name.to_owned();
        Change::Remove { name, store }
    }

    /// Every outcome as `name:store` words, sorted.
    fn outcomes(durable: &[(&str, u64)], changes: Vec<Change>) -> Vec<String> {
        let mut table = Table::default();
        for (name, store) in durable {
            table.put(name, *store);
        }
        for change in changes {
            table.change(change);
        }
        let outcomes = table.outcomes();
        // The same from all choices one by one.
        let choices = 1usize << table.unsynced().len();
        let each: BTreeSet<Names> = (0..choices)
            .map(|choice| table.after(|index| choice >> index & 1 == 1))
            .collect();
        assert_eq!(outcomes, each);
        assert!(outcomes.contains(table.now()));
        let mut shown: Vec<String> = outcomes
            .iter()
            .map(|names| {
                let words = names.iter().map(|(name, store)| format!("{name}:{store}"));
                words.collect::<Vec<_>>().join(" ")
            })
            .collect();
        shown.sort();
        shown
    }

    #[test]
    fn each_change_may_be_there_or_not() {
        let both = vec![create("b", 2), remove("a", 1)];
        assert_eq!(outcomes(&[("a", 1)], both), ["", "a:1", "a:1 b:2", "b:2"]);
        assert_eq!(outcomes(&[("a", 1)], vec![]), ["a:1"]);
    }

    #[test]
    fn a_renamed_store_has_one_name_or_the_other() {
        assert_eq!(
            outcomes(&[("t", 1)], vec![rename("t", "a", 1)]),
            ["a:1", "t:1"]
        );
        let over = vec![rename("t", "a", 2)];
        assert_eq!(outcomes(&[("a", 1), ("t", 2)], over), ["a:1 t:2", "a:2"]);
        let twice = vec![rename("t", "u", 1), rename("u", "v", 1)];
        assert_eq!(outcomes(&[("t", 1)], twice), ["t:1", "u:1", "v:1"]);
    }

    #[test]
    fn a_rename_needs_none_of_the_changes_before_it() {
        let born = vec![create("t", 1), rename("t", "a", 1)];
        assert_eq!(outcomes(&[], born), ["", "a:1", "t:1"]);
        // The removal undone, the old store returns beside the new one.
        let reused = vec![remove("t", 1), create("t", 2), rename("t", "a", 2)];
        let expected = ["", "a:2", "a:2 t:1", "t:1", "t:2"];
        assert_eq!(outcomes(&[("t", 1)], reused), expected);
    }

    #[test]
    fn a_removal_is_of_the_store_that_had_the_name() {
        let replaced = vec![rename("t", "a", 2), remove("a", 2)];
        let expected = ["", "a:1", "a:1 t:2", "a:2"];
        assert_eq!(outcomes(&[("a", 1), ("t", 2)], replaced), expected);
    }

    #[test]
    fn changes_are_settled_or_reverted() {
        let mut table = Table::default();
        table.change(create("a", 1));
        table.change(create("b", 2));
        let shown: Vec<String> = table.unsynced().iter().map(Change::to_string).collect();
        assert_eq!(shown, ["create a", "create b"]);
        table.settle(|index| index == 1);
        assert_eq!((table.now().len(), table.unsynced().len()), (2, 0));
        assert_eq!(table.stores(), BTreeSet::from([1, 2]));
        table.change(rename("b", "c", 2));
        table.change(remove("a", 1));
        let shown: Vec<String> = table.unsynced().iter().map(Change::to_string).collect();
        assert_eq!(shown, ["rename b to c", "remove a"]);
        table.revert();
        assert_eq!(*table.now(), Names::from([("b".to_owned(), 2)]));
        assert_eq!(table.stores(), BTreeSet::from([2]));
    }
}
