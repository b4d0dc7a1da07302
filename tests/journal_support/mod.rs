//! What the journal's crash, fault and damage tests share. Each uses a part of it.
#![allow(dead_code)]

pub(crate) mod campaign;
pub(crate) mod driver;
pub(crate) mod lives;
pub(crate) mod model;
pub(crate) mod mortal;
pub(crate) mod scope;
