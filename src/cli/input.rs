//! Documents from a stream: lines, NUL-ended pieces, JSON lines, or the whole. Bounded memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};

use super::error::{Failure, Result};
use super::line;

/// Bytes read at once.
const BUFFER: usize = 256 << 10;
/// Bytes of documents handed over at once, at most, if there is more than one.
const PIECE: usize = 1 << 20;
/// A JSON line may be longer than its document: six bytes for one (`\u0000`), and the other fields.
const JSON_GROWTH: usize = 6;
const JSON_FIELDS: usize = 4 << 10;

/// How a stream is cut into documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    Lines,
    Null,
    Json,
    Whole,
}

/// What is wrong with the input, in words that name the line.
#[derive(Debug)]
pub(super) struct Bad(pub(super) String);

pub(super) type Source = Box<dyn Read + Send>;

/// A file, or standard input for `None` and `-`.
pub(super) fn source(path: Option<&Path>) -> Result<(Source, Option<u64>)> {
    match path.filter(|path| *path != Path::new("-")) {
        None => Ok((Box::new(io::stdin()), None)),
        Some(path) => {
            let file = File::open(path).map_err(|error| Failure::io(path, "open", &error))?;
            let len = file.metadata().ok().filter(|about| about.is_file());
            Ok((Box::new(file), len.map(|about| about.len())))
        }
    }
}

/// A thread that reads documents.
pub(super) struct Reader {
    pub(super) pieces: Receiver<Result<Vec<Vec<u8>>, Bad>>,
    pub(super) thread: JoinHandle<()>,
}

/// Documents, one after the other.
pub(super) struct Documents {
    from: BufReader<Source>,
    cut: Cut,
    limit: usize,
    /// Lines or pieces read so far.
    count: u64,
    scratch: Vec<u8>,
}

impl Documents {
    pub(super) fn new(from: Source, cut: Cut, limit: usize) -> Documents {
        Documents {
            from: BufReader::with_capacity(BUFFER, from),
            cut,
            limit,
            count: 0,
            scratch: Vec::new(),
        }
    }

    fn end(&self) -> u8 {
        if self.cut == Cut::Null { 0 } else { b'\n' }
    }

    fn bad(&self, what: impl std::fmt::Display) -> Bad {
        match self.cut {
            Cut::Whole => Bad(format!("input: {what}")),
            Cut::Null => Bad(format!("input document {}: {what}", self.count)),
            Cut::Lines | Cut::Json => Bad(format!("input line {}: {what}", self.count)),
        }
    }

    /// Passes over one line; `false` at the end of the input.
    pub(super) fn skip(&mut self) -> Result<bool, Bad> {
        let end = self.end();
        match self.from.skip_until(end) {
            Ok(0) => Ok(false),
            Ok(_) => {
                self.count += 1;
                Ok(true)
            }
            Err(error) => Err(self.bad(error)),
        }
    }

    pub(super) fn next(&mut self) -> Result<Option<Vec<u8>>, Bad> {
        if self.cut == Cut::Whole {
            return self.whole();
        }
        let limit = if self.cut == Cut::Json {
            self.limit
                .saturating_mul(JSON_GROWTH)
                .saturating_add(JSON_FIELDS)
        } else {
            self.limit
        };
        let end = self.end();
        self.scratch.clear();
        let take = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        let read = (&mut self.from)
            .take(take)
            .read_until(end, &mut self.scratch);
        self.count += 1;
        match read {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(error) => return Err(self.bad(error)),
        }
        if self.scratch.last() == Some(&end) {
            self.scratch.pop();
        } else if self.scratch.len() > limit {
            return Err(self.too_large());
        }
        let document = if self.cut == Cut::Json {
            line::decode(&self.scratch).map_err(|what| self.bad(what))?
        } else {
            self.scratch.clone()
        };
        if document.len() > self.limit {
            return Err(self.too_large());
        }
        Ok(Some(document))
    }

    fn whole(&mut self) -> Result<Option<Vec<u8>>, Bad> {
        if self.count > 0 {
            return Ok(None);
        }
        self.count = 1;
        let take = u64::try_from(self.limit)
            .unwrap_or(u64::MAX)
            .saturating_add(1);
        let mut document = Vec::new();
        let read = (&mut self.from).take(take).read_to_end(&mut document);
        read.map_err(|error| self.bad(error))?;
        if document.len() > self.limit {
            return Err(self.too_large());
        }
        Ok(Some(document))
    }

    fn too_large(&self) -> Bad {
        self.bad(format!("more than {} bytes (--max-doc-size)", self.limit))
    }

    /// As many documents as are there without waiting, at least one; empty at the end.
    fn piece(&mut self) -> (Vec<Vec<u8>>, Option<Bad>) {
        let mut piece = Vec::new();
        let mut bytes = 0;
        loop {
            match self.next() {
                Ok(None) => return (piece, None),
                Err(bad) => return (piece, Some(bad)),
                Ok(Some(document)) => {
                    bytes += document.len();
                    piece.push(document);
                }
            }
            // What has begun but not ended may take its time.
            if bytes >= PIECE || !self.from.buffer().contains(&self.end()) {
                return (piece, None);
            }
        }
    }

    /// Reads on in a thread, so that whoever stores them can also keep time. It ends with the input, with
    /// the first bad line, or with its receiver; never joined while the input may still block.
    pub(super) fn spawn(mut self) -> Reader {
        let (sender, pieces) = sync_channel(2);
        let thread = thread::spawn(move || {
            loop {
                let (piece, bad) = self.piece();
                let over = piece.is_empty() || bad.is_some();
                if !piece.is_empty() && sender.send(Ok(piece)).is_err() {
                    return;
                }
                if let Some(bad) = bad {
                    // A receiver that has gone needs no reason.
                    let _ = sender.send(Err(bad));
                }
                if over {
                    return;
                }
            }
        });
        Reader { pieces, thread }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(input: &'static [u8], cut: Cut, limit: usize) -> Result<Vec<Vec<u8>>, Bad> {
        let mut documents = Documents::new(Box::new(input), cut, limit);
        let mut all = Vec::new();
        while let Some(document) = documents.next()? {
            all.push(document);
        }
        Ok(all)
    }

    #[test]
    fn streams_are_cut_where_they_should_be() {
        let lines = all(b"a\n\nb\r\nc", Cut::Lines, 9).expect("good");
        assert_eq!(lines, [&b"a"[..], b"", b"b\r", b"c"]);
        assert_eq!(
            all(b"a\n\0b\0", Cut::Null, 9).expect("good"),
            [&b"a\n"[..], b"b"]
        );
        assert_eq!(all(b"a\nb", Cut::Whole, 9).expect("good"), [b"a\nb"]);
        assert_eq!(all(b"", Cut::Whole, 9).expect("good"), [b""]);
        assert!(all(b"", Cut::Lines, 9).expect("good").is_empty());
    }

    #[test]
    fn the_limit_is_exact_and_names_the_line() {
        assert_eq!(all(b"12\n34", Cut::Lines, 2).expect("good").len(), 2);
        let Bad(told) = all(b"12\n345\n6", Cut::Lines, 2).expect_err("too long");
        assert!(
            told.contains("line 2") && told.contains("2 bytes"),
            "{told}"
        );
        assert!(all(b"345", Cut::Whole, 2).is_err());
        let json = br#"{"v":1,"encoding":"text","payload":"abc"}"#;
        assert!(all(json, Cut::Json, 3).is_ok());
        assert!(all(json, Cut::Json, 2).is_err());
    }
}
