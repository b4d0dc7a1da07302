//! Standard output: documents as JSON lines, as bytes, or as a terminal can bear them.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use serde::Serialize;

use super::args::Print;
use super::error::{Code, Failure, Result};
use super::line::{self, Form, Item};

/// Bytes gathered before they are written.
const BUFFER: usize = 64 << 10;

pub(super) struct Out {
    sink: BufWriter<StdoutLock<'static>>,
    style: Style,
    scratch: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Style {
    Json(Form),
    Bytes { end: u8 },
    Escaped { end: u8 },
}

impl Out {
    /// For text that is not documents.
    pub(super) fn text() -> Out {
        Out::with(Style::Bytes { end: b'\n' })
    }

    pub(super) fn lines(form: Form) -> Out {
        Out::with(Style::Json(form))
    }

    pub(super) fn documents(print: &Print) -> Out {
        let end = if print.null { 0 } else { b'\n' };
        Out::with(if print.json {
            Style::Json(print.payload)
        } else if io::stdout().is_terminal() && !print.raw {
            Style::Escaped { end }
        } else {
            Style::Bytes { end }
        })
    }

    fn with(style: Style) -> Out {
        Out {
            sink: BufWriter::with_capacity(BUFFER, io::stdout().lock()),
            style,
            scratch: Vec::new(),
        }
    }

    /// Whether documents are printed with the place of their record, among other things.
    pub(super) fn is_json(&self) -> bool {
        matches!(self.style, Style::Json(_))
    }

    pub(super) fn document(&mut self, item: &Item<'_>) -> Result<()> {
        let done = match self.style {
            Style::Json(form) => {
                self.scratch.clear();
                line::encode(item, form, &mut self.scratch)
                    .and_then(|()| self.sink.write_all(&self.scratch))
            }
            Style::Bytes { end } => {
                (self.sink.write_all(item.bytes)).and_then(|()| self.sink.write_all(&[end]))
            }
            Style::Escaped { end } => {
                escape(item.bytes, &mut self.sink).and_then(|()| self.sink.write_all(&[end]))
            }
        };
        done.map_err(failed)
    }

    /// Prints text of our own.
    pub(super) fn print(&mut self, text: &str) -> Result<()> {
        self.sink.write_all(text.as_bytes()).map_err(failed)
    }

    /// Prints one JSON object of our own.
    pub(super) fn json(&mut self, object: &impl Serialize) -> Result<()> {
        let text = serde_json::to_vec(object).map_err(io::Error::from);
        let done = text.and_then(|mut text| {
            text.push(b'\n');
            self.sink.write_all(&text)
        });
        done.map_err(failed)
    }

    /// Hands everything over to whoever reads.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.sink.flush().map_err(failed)
    }

    /// As [`flush`](Out::flush), and to the disk where the output is a file.
    pub(super) fn settle(&mut self) -> Result<()> {
        self.flush()?;
        sync_if_file().map_err(failed)
    }
}

#[cfg(unix)]
fn sync_if_file() -> io::Result<()> {
    use std::os::fd::AsFd;
    let file = std::fs::File::from(io::stdout().as_fd().try_clone_to_owned()?);
    match file.metadata() {
        Ok(about) if about.is_file() => file.sync_data(),
        _ => Ok(()),
    }
}

#[cfg(not(unix))]
fn sync_if_file() -> io::Result<()> {
    Ok(())
}

fn failed(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Failure::Closed;
    }
    Failure::new(
        Code::Failed,
        format!("cannot write to standard output: {error}"),
    )
}

/// Text as it is, except what would make a terminal do something.
fn escape(bytes: &[u8], to: &mut impl Write) -> io::Result<()> {
    for chunk in bytes.utf8_chunks() {
        for piece in chunk.valid().split_inclusive(unsafe_to_show) {
            match piece.chars().next_back().filter(|c| unsafe_to_show(*c)) {
                Some(c) => {
                    let rest = piece.strip_suffix(c).unwrap_or_default();
                    write!(to, "{rest}{}", c.escape_default())?;
                }
                None => to.write_all(piece.as_bytes())?,
            }
        }
        for byte in chunk.invalid() {
            write!(to, "\\x{byte:02x}")?;
        }
    }
    Ok(())
}

fn unsafe_to_show(c: char) -> bool {
    c.is_control() && c != '\n' && c != '\t'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_no_control_bytes() {
        let mut out = Vec::new();
        escape(b"a\tb\n\x1b[31m\x07\xff\xc3\xa9\xc2\x9b", &mut out)
            .expect("memory takes everything");
        assert_eq!(out, "a\tb\n\\u{1b}[31m\\u{7}\\xffé\\u{9b}".as_bytes());
    }
}
