//! The JSON form of a document, one line each: the only copy of that form. Pure, no I/O.
//!
//! ```text
//! {"v":1,"position":0,"offset":80,"len":12,"crc":"9ae0daaf","encoding":"text","payload":"..."}
//! ```
//!
//! | field | meaning |
//! |---|---|
//! | v | version of this form: 1 |
//! | position, len | plain integers of up to 64 bits: which document, bytes of payload |
//! | offset, crc | where its record begins, and the record's checksum, 8 hex digits; not there for a journal |
//! | encoding | how `payload` holds the bytes: `text` a string, `base64` a string, `json` the JSON text itself |
//!
//! Reading needs `v`, `encoding` and `payload` only. Every byte string comes back as it was, also from
//! `json`, as long as nobody rewrites the line in between.

use std::borrow::Cow;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::ValueEnum;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// Version of the form.
pub(super) const VERSION: u64 = 1;

/// How payloads stand in JSON lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    /// Text where it is printable UTF-8, else base64
    Auto,
    /// The payload itself where it is JSON in one line, else as auto
    Json,
    /// Text where it is UTF-8, else base64
    Text,
    /// Always base64
    Base64,
}

/// A document to be shown.
pub(super) struct Item<'a> {
    pub(super) position: u64,
    /// Where its record begins, and the record's checksum; for a document of a file.
    pub(super) place: Option<(u64, u32)>,
    pub(super) bytes: &'a [u8],
}

#[derive(Serialize)]
struct Line<P> {
    v: u64,
    position: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    len: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    crc: Option<String>,
    encoding: &'static str,
    payload: P,
}

/// Appends the line of `item` to `out`, newline included.
pub(super) fn encode(item: &Item<'_>, form: Form, out: &mut Vec<u8>) -> io::Result<()> {
    let text = std::str::from_utf8(item.bytes).ok();
    let printable = text.filter(|text| is_printable(text));
    let json = printable.filter(|_| form == Form::Json).and_then(verbatim);
    let text = match form {
        Form::Text => text,
        Form::Base64 => None,
        Form::Auto | Form::Json => printable,
    };
    match (json, text) {
        (Some(json), _) => put(item, "json", json, out),
        (None, Some(text)) => put(item, "text", text, out),
        (None, None) => put(item, "base64", BASE64.encode(item.bytes), out),
    }
}

/// UTF-8 that a person can read in a terminal.
fn is_printable(text: &str) -> bool {
    !text
        .chars()
        .any(|c| c.is_control() && c != '\n' && c != '\t')
}

/// The text as JSON, where it is JSON that stands in one line exactly as it is.
fn verbatim(text: &str) -> Option<&RawValue> {
    let json: &RawValue = serde_json::from_str(text).ok()?;
    let whole = json.get().len() == text.len() && !text.contains('\n');
    whole.then_some(json)
}

fn put(
    item: &Item<'_>,
    encoding: &'static str,
    payload: impl Serialize,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    let line = Line {
        v: VERSION,
        position: item.position,
        offset: item.place.map(|(offset, _)| offset),
        len: item.bytes.len(),
        crc: item.place.map(|(_, crc)| format!("{crc:08x}")),
        encoding,
        payload,
    };
    line.serialize(&mut serde_json::Serializer::with_formatter(&mut *out, Tame))?;
    out.push(b'\n');
    Ok(())
}

/// Compact JSON in which no control character stands as it is: JSON escapes only those below 0x20.
struct Tame;

impl serde_json::ser::Formatter for Tame {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        for piece in fragment.split_inclusive(char::is_control) {
            match piece.chars().next_back().filter(|c| c.is_control()) {
                Some(c) => {
                    let rest = piece.strip_suffix(c).unwrap_or_default();
                    write!(writer, "{rest}\\u{:04x}", u32::from(c))?;
                }
                None => writer.write_all(piece.as_bytes())?,
            }
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Incoming<'a> {
    v: Option<u64>,
    #[serde(borrow)]
    encoding: Option<Cow<'a, str>>,
    /// `None` where there is none; the payload `null` is `Some`.
    #[serde(borrow, default, deserialize_with = "present")]
    payload: Option<&'a RawValue>,
}

fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// The document in a line, or what is wrong with the line.
pub(super) fn decode(line: &[u8]) -> Result<Vec<u8>, String> {
    if !line.trim_ascii_start().starts_with(b"{") {
        return Err("not a document in JSON: no object".to_owned());
    }
    let line: Incoming<'_> = serde_json::from_slice(line).map_err(|error| not_json(&error))?;
    match line.v {
        Some(VERSION) => {}
        Some(other) => {
            return Err(format!(
                "form {other} is not known to this docbuf: use a newer one"
            ));
        }
        None => return Err("no form version (\"v\")".to_owned()),
    }
    let encoding = line.encoding.ok_or("no \"encoding\"")?;
    let payload = line.payload.ok_or("no \"payload\"")?.get();
    let string = || {
        serde_json::from_str::<Cow<'_, str>>(payload)
            .map_err(|_| "the payload is not a string of valid Unicode")
    };
    match encoding.as_ref() {
        "json" => Ok(payload.as_bytes().to_vec()),
        "text" => Ok(string()?.into_owned().into_bytes()),
        "base64" => {
            let bytes = BASE64.decode(string()?.as_bytes());
            bytes.map_err(|error| format!("bad base64: {error}"))
        }
        other => Err(format!(
            "encoding {other:?} is not known: expected text, base64 or json"
        )),
    }
}

fn not_json(error: &serde_json::Error) -> String {
    let text = error.to_string();
    // The line number that serde_json knows is always 1.
    let text = text.replace(" at line 1 column ", " at column ");
    format!("not a document in JSON: {text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMS: [Form; 4] = [Form::Auto, Form::Json, Form::Text, Form::Base64];

    fn line(bytes: &[u8], form: Form) -> String {
        let mut out = Vec::new();
        let place = Some((80, 0x9ae0_daaf));
        let item = Item {
            position: 0,
            place,
            bytes,
        };
        encode(&item, form, &mut out).expect("memory takes everything");
        String::from_utf8(out).expect("JSON is UTF-8")
    }

    #[test]
    fn the_form_is_as_documented() {
        let text = r#"{"v":1,"position":0,"offset":80,"len":2,"crc":"9ae0daaf","encoding":"text","payload":"hi"}"#;
        assert_eq!(line(b"hi", Form::Auto), format!("{text}\n"));
        assert!(line(b"\r", Form::Auto).contains(r#""encoding":"base64","payload":"DQ==""#));
        assert!(
            line(br#"{"b": 1.10,"a":2}"#, Form::Json)
                .contains(r#""encoding":"json","payload":{"b": 1.10,"a":2}}"#)
        );
        assert!(line(b"{\"a\":\n1}", Form::Json).contains(r#""encoding":"text""#));
        assert!(line(b" 1", Form::Json).contains(r#""encoding":"text""#));
        assert_eq!(
            decode(line(b"null", Form::Json).as_bytes()),
            Ok(b"null".to_vec())
        );
        assert!(line(b"a\nb\tc", Form::Auto).contains(r#""payload":"a\nb\tc""#));
    }

    #[test]
    fn every_short_byte_string_comes_back() {
        for form in FORMS {
            for a in 0..=255 {
                for b in [0, 9, 10, 13, 34, 92, 0x7f, 0x80, 0x9b, 0xc2, 0xff] {
                    let line = line(&[a, b], form);
                    assert_eq!(line.matches('\n').count(), 1);
                    assert!(!line.trim_end().contains(char::is_control));
                    assert_eq!(decode(line.trim_end().as_bytes()), Ok(vec![a, b]));
                }
            }
            assert_eq!(decode(line(b"", form).as_bytes()), Ok(vec![]));
        }
    }

    #[test]
    fn wrong_lines_are_refused_with_a_reason() {
        for (wrong, reason) in [
            ("", "not a document"),
            ("hi", "not a document"),
            (r#"[1,"text","hi"]"#, "not a document"),
            (r#"{"encoding":"text","payload":"x"}"#, "version"),
            (r#"{"v":2,"content":1}"#, "form 2"),
            (r#"{"v":1,"payload":"x"}"#, "encoding"),
            (r#"{"v":1,"encoding":"text"}"#, "payload"),
            (r#"{"v":1,"encoding":"hex","payload":"00"}"#, "hex"),
            (r#"{"v":1,"encoding":"text","payload":5}"#, "string"),
            (r#"{"v":1,"encoding":"text","payload":"\ud800"}"#, "string"),
            (r#"{"v":1,"encoding":"base64","payload":"A"}"#, "base64"),
            (r#"{"v":1,"cut_back_to":7}"#, "encoding"),
        ] {
            let told = decode(wrong.as_bytes()).expect_err(wrong);
            assert!(told.contains(reason), "{wrong}: {told}");
        }
    }
}
