//! Signals as images and users write them.

use crate::RequestError;

/// Numbers by name: signal(7), for every architecture but alpha, mips, parisc and sparc.
const NAMES: [(&str, i32); 35] = [
    ("ABRT", 6),
    ("ALRM", 14),
    ("BUS", 7),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("FPE", 8),
    ("HUP", 1),
    ("ILL", 4),
    ("INT", 2),
    ("IO", 29),
    ("IOT", 6),
    ("KILL", 9),
    ("PIPE", 13),
    ("POLL", 29),
    ("PROF", 27),
    ("PWR", 30),
    ("QUIT", 3),
    ("SEGV", 11),
    ("STKFLT", 16),
    ("STOP", 19),
    ("SYS", 31),
    ("TERM", 15),
    ("TRAP", 5),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("USR1", 10),
    ("USR2", 12),
    ("VTALRM", 26),
    ("WINCH", 28),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("RTMIN", FIRST_REAL_TIME),
];

/// The first that the C library leaves to programs.
const FIRST_REAL_TIME: i32 = 34;
const LAST: i32 = 64;

/// The number of a signal written as a number or a name, with or without `SIG`: `9`, `KILL`, `sigterm`, `RTMIN+3`.
pub fn parse_signal(text: &str) -> Result<i32, RequestError> {
    let unknown = || RequestError::Signal(text.escape_debug().to_string());
    let number = match text.parse::<i32>() {
        Ok(number) => number,
        Err(_) => named(text).ok_or_else(unknown)?,
    };
    if (1..=LAST).contains(&number) { Ok(number) } else { Err(unknown()) }
}

fn named(text: &str) -> Option<i32> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let real_time = |digits: &str| digits.parse().ok().filter(|offset| (0..=LAST - FIRST_REAL_TIME).contains(offset));
    if let Some(offset) = name.strip_prefix("RTMIN+") {
        return real_time(offset).map(|offset| FIRST_REAL_TIME + offset);
    }
    if let Some(offset) = name.strip_prefix("RTMAX-") {
        return real_time(offset).map(|offset| LAST - offset);
    }
    if name == "RTMAX" {
        return Some(LAST);
    }
    NAMES.iter().find(|(known, _)| *known == name).map(|&(_, number)| number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        let good = [("9", 9), ("KILL", 9), ("sigterm", 15), ("SIGRTMIN+3", 37), ("RTMAX-1", 63), ("rtmax", 64)];
        for (text, expected) in good {
            assert_eq!(parse_signal(text), Ok(expected), "{text}");
        }
        for text in ["", "0", "65", "-9", "SIG", "NOPE", "TERM+1", "RTMIN+31", "RTMIN+-1", "SIGSIGTERM", "9 "] {
            assert!(parse_signal(text).is_err(), "{text}");
        }
    }
}
