//! Docker's notations for sizes, processor counts, signals and variables.

use std::time::Duration;

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

/// Signals by number, as signal(7) lists them for this architecture family.
const SIGNALS: &[(&str, i32)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
    ("RTMIN", 34),
    ("RTMAX", 64),
];

/// A signal by number or by name, with or without `SIG`: `9`, `KILL`, `sigterm`, `RTMIN+3`.
pub(crate) fn signal(word: &str) -> Result<i32, BadWord> {
    if let Ok(number) = word.parse::<i32>() {
        return if (1..=64).contains(&number) { Ok(number) } else { Err(bad("signal", word, "is not one of 1 to 64")) };
    }
    let upper = word.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let (base, offset) = match name.split_once(['+', '-']) {
        Some((base, offset)) => (base, offset.parse::<i32>().map_err(|_| bad("signal", word, "is unknown"))?),
        None => (name, 0),
    };
    let number = SIGNALS.iter().find(|(known, _)| *known == base).map(|&(_, number)| number);
    let offset = if name.contains('-') { -offset } else { offset };
    match number.map(|number| number + offset) {
        Some(number) if offset == 0 || (34..=64).contains(&number) => Ok(number),
        _ => Err(bad("signal", word, "is unknown")),
    }
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
    fn signals() {
        for (word, expected) in
            [("9", 9), ("KILL", 9), ("SIGKILL", 9), ("sigterm", 15), ("RTMIN+3", 37), ("SIGRTMAX-1", 63)]
        {
            assert_eq!(signal(word), Ok(expected), "{word}");
        }
        for word in ["", "0", "65", "-9", "NOPE", "TERM+1", "RTMIN+x", "RTMAX+1"] {
            assert!(signal(word).is_err(), "{word}");
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
}
