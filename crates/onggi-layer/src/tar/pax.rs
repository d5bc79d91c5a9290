//! PAX extended headers: records of `LENGTH KEY=VALUE\n`.

use super::sparse::Extent;
use super::{Error, Time, Xattrs};

/// Attributes that a PAX header states; what it does not mention is `None`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Records {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) link: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) mtime: Option<Time>,
    pub(crate) atime: Option<Time>,
    pub(crate) xattrs: Xattrs,
    pub(crate) sparse: SparseRecords,
}

/// The `GNU.sparse.*` records of formats 0.0, 0.1 and 1.0.
#[derive(Debug, Clone, Default)]
pub(crate) struct SparseRecords {
    pub(crate) major: Option<u64>,
    pub(crate) minor: Option<u64>,
    pub(crate) name: Option<Vec<u8>>,
    pub(crate) real_size: Option<u64>,
    pub(crate) map: Option<Vec<Extent>>,
    /// Format 0.0 states each extent in two records, the offset first.
    pending_offset: Option<u64>,
}

impl Records {
    /// Reads the whole of an extended header.
    pub(crate) fn parse(mut data: &[u8]) -> Result<Self, Error> {
        let mut records = Self::default();
        while !data.is_empty() {
            let (key, value, rest) = split(data).ok_or(Error::Pax { key: "record".into() })?;
            records.take(key, value).ok_or_else(|| Error::Pax { key: String::from_utf8_lossy(key).into_owned() })?;
            data = rest;
        }
        Ok(records)
    }

    /// Lays `self` over what a global header said before it.
    pub(crate) fn over(mut self, global: &Self) -> Self {
        self.uid = self.uid.or(global.uid);
        self.gid = self.gid.or(global.gid);
        self.mtime = self.mtime.or(global.mtime);
        self.atime = self.atime.or(global.atime);
        self
    }

    /// Whether these records name one file, which a global header must not do.
    pub(crate) fn names_one_file(&self) -> bool {
        self.path.is_some() || self.link.is_some() || self.size.is_some() || self.sparse.is_used()
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            if name.is_empty() || name.contains(&0) {
                return None;
            }
            self.xattrs.push((name.to_vec(), value.to_vec()));
            return Some(());
        }
        if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
            return self.sparse.take(key, value);
        }
        match key {
            b"path" => self.path = optional(value, name)?,
            b"linkpath" => self.link = optional(value, name)?,
            b"size" => self.size = optional(value, decimal)?,
            b"uid" => self.uid = optional(value, id)?,
            b"gid" => self.gid = optional(value, id)?,
            b"mtime" => self.mtime = optional(value, time)?,
            b"atime" => self.atime = optional(value, time)?,
            _ => {}
        }
        Some(())
    }
}

impl SparseRecords {
    pub(crate) fn is_used(&self) -> bool {
        self.major.is_some() || self.real_size.is_some() || self.map.is_some() || self.name.is_some()
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        match key {
            b"major" => self.major = Some(decimal(value)?),
            b"minor" => self.minor = Some(decimal(value)?),
            b"name" => self.name = Some(name(value)?),
            b"size" | b"realsize" => self.real_size = Some(decimal(value)?),
            b"offset" => self.pending_offset = Some(decimal(value)?),
            b"numbytes" => {
                let extent = Extent { offset: self.pending_offset.take()?, length: decimal(value)? };
                self.map.get_or_insert_default().push(extent);
            }
            b"map" => self.map = Some(map(value)?),
            // `numblocks` says what the map says.
            _ => {}
        }
        Some(())
    }
}

/// The first record, and what follows it.
fn split(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = data.iter().take(20).position(|&byte| byte == b' ')?;
    let length = usize::try_from(decimal(&data[..space])?).ok()?;
    let record = data.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|&byte| byte == b'=').filter(|&position| position > 0)?;
    Some((&record[..equals], &record[equals + 1..], &data[length..]))
}

/// An empty value takes the record back.
fn optional<T>(value: &[u8], parse: fn(&[u8]) -> Option<T>) -> Option<Option<T>> {
    if value.is_empty() { Some(None) } else { parse(value).map(Some) }
}

fn name(value: &[u8]) -> Option<Vec<u8>> {
    (!value.contains(&0)).then(|| value.to_vec())
}

pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, &digit| match digit {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

fn id(value: &[u8]) -> Option<u32> {
    decimal(value).and_then(|value| u32::try_from(value).ok())
}

/// Seconds with a fraction of any length, which is cut to nanoseconds (towards the past).
fn time(value: &[u8]) -> Option<Time> {
    let (negative, value) = match value.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let mut halves = value.splitn(2, |&byte| byte == b'.');
    let seconds = i64::try_from(decimal(halves.next()?)?).ok()?;
    let fraction = halves.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().chain(std::iter::repeat(&b'0')).take(9);
    let nanoseconds = digits.fold(0u32, |value, digit| value * 10 + u32::from(digit - b'0'));
    let lost = fraction.iter().skip(9).any(|&digit| digit != b'0');
    match (negative, nanoseconds + u32::from(negative && lost)) {
        (false, nanoseconds) => Some(Time { seconds, nanoseconds }),
        (true, 0) => Some(Time { seconds: -seconds, nanoseconds: 0 }),
        (true, nanoseconds) => Some(Time { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds }),
    }
}

/// Format 0.1: `offset,length,offset,length...`.
fn map(value: &[u8]) -> Option<Vec<Extent>> {
    if value.is_empty() {
        return Some(Vec::new());
    }
    let numbers = value.split(|&byte| byte == b',').map(decimal).collect::<Option<Vec<u64>>>()?;
    let pairs = numbers.chunks_exact(2);
    let whole = pairs.remainder().is_empty();
    whole.then(|| pairs.map(|pair| Extent { offset: pair[0], length: pair[1] }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, value: &str) -> Vec<u8> {
        let rest = format!(" {key}={value}\n");
        let mut length = rest.len() + 1;
        while length != rest.len() + length.to_string().len() {
            length = rest.len() + length.to_string().len();
        }
        format!("{length}{rest}").into_bytes()
    }

    #[test]
    fn records_are_read_and_taken_back() {
        let data =
            [record("path", "a/\nb=c"), record("uid", "70000"), record("uid", ""), record("comment", "x")].concat();
        let records = Records::parse(&data).unwrap();
        assert_eq!(records.path.unwrap(), b"a/\nb=c");
        assert_eq!(records.uid, None);
    }

    #[test]
    fn nonsense_is_refused() {
        let refused = |data: &[u8]| assert!(Records::parse(data).is_err(), "{}", String::from_utf8_lossy(data));
        for data in [
            &b"5 a=b\n"[..],
            b"99 a=b\n",
            b"0 a=b\n",
            b"6 a=bc",
            b"6 =bc\n",
            b"-6 a=b\n",
            b"99999999999999999999999 a=b\n",
        ] {
            refused(data);
        }
        for (key, value) in [
            ("size", "-1"),
            ("size", "18446744073709551616"),
            ("uid", "4294967296"),
            ("mtime", "1.x"),
            ("path", "a\0b"),
            ("GNU.sparse.map", "1,2,3"),
            ("GNU.sparse.numbytes", "3"),
        ] {
            refused(&record(key, value));
        }
    }

    #[test]
    fn times_to_the_nanosecond_on_both_sides_of_the_epoch() {
        let check = |text: &str, seconds: i64, nanoseconds: u32| {
            assert_eq!(time(text.as_bytes()), Some(Time { seconds, nanoseconds }), "{text}");
        };
        check("1", 1, 0);
        check("1.5", 1, 500_000_000);
        check("1.1234567899", 1, 123_456_789);
        check("-1.25", -2, 750_000_000);
        check("-3", -3, 0);
        check("-0.0000000001", -1, 999_999_999);
    }
}
