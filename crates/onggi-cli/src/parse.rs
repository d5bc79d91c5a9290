//! Docker's notations for sizes, processor counts, durations and points in time.

use std::time::Duration;

use jiff::Timestamp;

/// Why a word on the command line means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} `{word}` {why}")]
pub(crate) struct BadWord {
    what: &'static str,
    word: String,
    why: &'static str,
}

fn bad(what: &'static str, word: &str, why: &'static str) -> BadWord {
    BadWord { what, word: word.to_owned(), why }
}

/// A number of bytes: `64m`, `1.5g`, `2048`, `512KiB`; units are powers of 1024, as docker run reads them.
pub(crate) fn bytes(what: &'static str, word: &str) -> Result<u64, BadWord> {
    let digits = word.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(word.len());
    let (number, unit) = word.split_at(digits);
    let unit = unit.trim_start().to_ascii_lowercase();
    let power = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" if unit.starts_with('i') => None,
        "" => Some(0),
        "k" => Some(1),
        "m" => Some(2),
        "g" => Some(3),
        "t" => Some(4),
        "p" => Some(5),
        _ => None,
    };
    let power = power.ok_or_else(|| bad(what, word, "is not a size such as 64m or 2g"))?;
    let number: f64 = number.parse().map_err(|_| bad(what, word, "is not a size such as 64m or 2g"))?;
    let value = number * 1024_f64.powi(power);
    if !value.is_finite() || value >= 9.0e18 {
        return Err(bad(what, word, "is larger than any machine"));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in 0..9e18")]
    Ok(value as u64)
}

/// A processor count such as `1.5`, in billionths of a processor.
pub(crate) fn nano_cpus(word: &str) -> Result<u64, BadWord> {
    let what = "--cpus";
    let (whole, part) = word.split_once('.').unwrap_or((word, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && part.is_empty()) || !digits(whole) || !digits(part) || part.len() > 9 {
        return Err(bad(what, word, "is not a number such as 1.5"));
    }
    let billion = 1_000_000_000_u64;
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| bad(what, word, "is too large"))? };
    let part: u64 = format!("{part:0<9}").parse().map_err(|_| bad(what, word, "is not a number such as 1.5"))?;
    whole.checked_mul(billion).and_then(|nano| nano.checked_add(part)).ok_or_else(|| bad(what, word, "is too large"))
}

/// A key and its value, `KEY=VALUE`; the value is empty where there is no `=`.
pub(crate) fn key_value(word: &str) -> (String, String) {
    let (key, value) = word.split_once('=').unwrap_or((word, ""));
    (key.to_owned(), value.to_owned())
}

/// Go's notation of a duration: `300ms`, `1.5h`, `2h45m`.
pub(crate) fn duration(what: &'static str, word: &str) -> Result<Duration, BadWord> {
    let fault = || bad(what, word, "is not a duration such as 10m or 1h30m");
    let mut rest = word;
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(fault)?;
        let number: f64 = rest[..digits].parse().map_err(|_| fault())?;
        rest = &rest[digits..];
        let length = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let scale = match &rest[..length] {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(fault()),
        };
        total += number * scale;
        rest = &rest[length..];
    }
    if word.is_empty() { Err(fault()) } else { Duration::try_from_secs_f64(total).map_err(|_| fault()) }
}

/// A point in time: RFC 3339, a date, seconds since 1970, or how long ago.
pub(crate) fn time(what: &'static str, word: &str) -> Result<Timestamp, BadWord> {
    let fault = || bad(what, word, "is not a time such as 2026-01-02T15:04:05Z, 1767366245 or 10m");
    if let Ok(time) = word.parse::<Timestamp>() {
        return Ok(time);
    }
    if let Ok(seconds) = word.parse::<f64>() {
        return Timestamp::UNIX_EPOCH
            .checked_add(Duration::try_from_secs_f64(seconds).map_err(|_| fault())?)
            .map_err(|_| fault());
    }
    if let Ok(date) = word.parse::<jiff::civil::DateTime>() {
        return jiff::tz::TimeZone::UTC.to_timestamp(date).map_err(|_| fault());
    }
    let ago = duration(what, word).map_err(|_| fault())?;
    Timestamp::now().checked_sub(ago).map_err(|_| fault())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (word, expected) in [
            ("0", 0),
            ("2048", 2048),
            ("64m", 64 << 20),
            ("64M", 64 << 20),
            ("1.5g", 3 << 29),
            ("512KiB", 512 << 10),
            ("1kb", 1024),
            ("3b", 3),
        ] {
            assert_eq!(bytes("size", word), Ok(expected), "{word}");
        }
        for word in ["", "m", "-1", "64x", "64ib2", "1e3", "9999999999g", "64 megs"] {
            assert!(bytes("size", word).is_err(), "{word}");
        }
    }

    #[test]
    fn processors() {
        for (word, expected) in [("1", 1_000_000_000), ("1.5", 1_500_000_000), (".5", 500_000_000), ("0.000000001", 1)]
        {
            assert_eq!(nano_cpus(word), Ok(expected), "{word}");
        }
        for word in ["", ".", "x", "1e3", "-1", "1.0000000001"] {
            assert!(nano_cpus(word).is_err(), "{word}");
        }
    }

    #[test]
    fn durations() {
        assert_eq!(duration("d", "1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("d", "1.5s"), Ok(Duration::from_millis(1500)));
        for word in ["", "5", "m", "1x"] {
            assert!(duration("d", word).is_err(), "{word}");
        }
    }

    #[test]
    fn times() {
        let expected = Timestamp::from_second(1_767_366_245).unwrap();
        for word in ["2026-01-02T15:04:05Z", "1767366245", "2026-01-02T15:04:05"] {
            assert_eq!(time("t", word), Ok(expected), "{word}");
        }
        assert_eq!(time("t", "2026-01-02"), Ok(Timestamp::from_second(1_767_312_000).unwrap()));
        assert!(time("t", "10m").unwrap() < Timestamp::now());
        assert!(time("t", "yesterday").is_err());
    }
}
