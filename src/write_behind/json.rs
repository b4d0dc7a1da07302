//! Sums as one JSON object.

use std::collections::BTreeMap;
use std::fmt::Write;

/// `{"key":1}`, keys in order; valid JSON whatever the keys are.
pub(super) fn object<'a>(sums: impl IntoIterator<Item = (&'a str, i128)>) -> String {
    let sums: BTreeMap<&str, i128> = sums.into_iter().collect();
    let mut json = String::from("{");
    for (key, sum) in sums {
        if json.len() > 1 {
            json.push(',');
        }
        string(key, &mut json);
        let _ = write!(json, ":{sum}");
    }
    json.push('}');
    json
}

/// Appends a text in quotes.
fn string(text: &str, json: &mut String) {
    json.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(json, "\\u{:04x}", u32::from(c));
            }
            c => json.push(c),
        }
    }
    json.push('"');
}
