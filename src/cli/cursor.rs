//! A file that keeps how far a journal was printed.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use documentbuffer::journal::Cursor;

use super::error::{Code, Failure, Result, shown};

/// No cursor is longer, its line end included.
const MAX: u64 = 1 << 10;

pub(super) struct CursorFile {
    path: PathBuf,
    /// What it holds.
    kept: Option<Cursor>,
}

impl CursorFile {
    /// What is kept at `path`: nothing, where there is no file yet.
    pub(super) fn open(path: &Path) -> Result<CursorFile> {
        let text = match read(path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(Failure::io(path, "read the cursor", &error)),
        };
        let kept = text.map(|text| text.trim_end().parse()).transpose();
        let kept = kept.map_err(|_| {
            let message = "holds no cursor of this docbuf".to_owned();
            let next = format!("check the path, or begin anew: rm {}", shown(path));
            Failure::of(path, Code::Failed, message).next(next)
        })?;
        let path = path.to_owned();
        Ok(CursorFile { path, kept })
    }

    pub(super) fn kept(&self) -> Option<&Cursor> {
        self.kept.as_ref()
    }

    /// Keeps `cursor` in place of the one before: after a crash one of the two is there.
    pub(super) fn keep(&mut self, cursor: Cursor) -> Result<()> {
        if self.kept == Some(cursor) {
            return Ok(());
        }
        let written = replace(&self.path, &format!("{cursor}\n"));
        written.map_err(|error| Failure::io(&self.path, "keep the cursor", &error))?;
        self.kept = Some(cursor);
        Ok(())
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = fs::File::open(path)?;
    io::Read::read_to_string(&mut io::Read::take(file, MAX), &mut text)?;
    Ok(text)
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let mut new = tempfile::NamedTempFile::new_in(directory.unwrap_or(Path::new(".")))?;
    new.write_all(text.as_bytes())?;
    new.as_file().sync_data()?;
    new.persist(path)?;
    Ok(())
}
