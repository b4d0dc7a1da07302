#![doc = include_str!("durability.md")]

/// What a call has survived when it returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Durability {
    /// Nothing: it is in memory, in its place in the order.
    Memory,
    /// The death of this process: the system has it.
    Written,
    /// Power loss: the medium has it, if its sync is honest.
    #[default]
    Synced,
}
