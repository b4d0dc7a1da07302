//! What several test programs share. Each uses a part of it.
#![allow(dead_code)]

pub(crate) mod crash;
pub(crate) mod lives;
