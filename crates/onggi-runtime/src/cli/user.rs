//! `--user UID[:GID]`, read to the last byte.

use crate::{Error, Result};

/// Reads `UID[:GID]`: decimal digits and nothing else (CVE-2026-30892).
pub(crate) fn parse(text: &str) -> Result<(u32, Option<u32>)> {
    let refuse = || Error::invalid("--user", format!("`{}` is not UID[:GID] in decimal digits", text.escape_debug()));
    let number = |part: &str| -> Result<u32> {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        // The largest number is "no change" to setresuid(2).
        let parsed = part.parse::<u32>().ok().filter(|&id| digits && id != u32::MAX);
        parsed.ok_or_else(refuse)
    };
    match text.split_once(':') {
        None => Ok((number(text)?, None)),
        Some((uid, gid)) => Ok((number(uid)?, Some(number(gid)?))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers() {
        assert_eq!(parse("1000").unwrap(), (1000, None));
        assert_eq!(parse("0:5").unwrap(), (0, Some(5)));
        for text in ["", "1:", ":1", "0x1", "1 2", "4294967296", "4294967295", "-1", "+1", "1:2:3", "root", "1\n"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
