//! Where a journal is kept.

use std::path::PathBuf;
use std::sync::Arc;

use super::error::Result;
use crate::journal::{Journal, Options};
use crate::store::Directory;

#[derive(Clone)]
pub(super) enum Place {
    /// Nowhere.
    Memory,
    Path(PathBuf),
    Directory(Arc<dyn Directory>),
}

impl Place {
    /// Opens the journal there, if there is to be one. Blocks.
    pub(super) fn open(&self, options: &Options) -> Result<Option<Journal>> {
        Ok(match self {
            Place::Memory => None,
            Place::Path(path) => Some(options.open(path)?),
            Place::Directory(directory) => Some(options.open_in(Arc::clone(directory))?),
        })
    }
}
