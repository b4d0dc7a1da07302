//! Sizes and durations as people write them.

use std::time::Duration;

/// `4096`, `64KiB`, `64MiB`, `1GiB`; also `kB`, `MB`, `GB` of 1000.
pub(super) fn size(text: &str) -> Result<usize, String> {
    let (number, unit) = split(text)?;
    let factor: u64 = match unit {
        "" | "B" => 1,
        "K" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => {
            return Err(format!(
                "'{unit}' is no unit of size: use B, KiB, MiB or GiB"
            ));
        }
    };
    let bytes = number
        .checked_mul(factor)
        .and_then(|bytes| usize::try_from(bytes).ok());
    bytes.ok_or_else(|| "too large".to_owned())
}

/// `500ms`, `10s`, `2m`, `1h`; a bare number is in seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text)?;
    let millis: u64 = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        _ => return Err(format!("'{unit}' is no unit of time: use ms, s, m or h")),
    };
    let millis = number.checked_mul(millis).ok_or("too long")?;
    Ok(Duration::from_millis(millis))
}

fn split(text: &str) -> Result<(u64, &str), String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number = number
        .parse()
        .map_err(|_| "expected a whole number and a unit")?;
    Ok((number, unit.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(size("0"), Ok(0));
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("64 MiB"), Ok(64 << 20));
        assert_eq!(size("3kB"), Ok(3000));
        assert!(size("MiB").is_err());
        assert!(size("-1").is_err());
        assert!(size("1.5MiB").is_err());
        assert!(size("99999999999999999999").is_err());
        assert!(size("99999999999GiB").is_err());
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("10"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert!(duration("").is_err());
        assert!(duration("5 parsecs").is_err());
    }
}
