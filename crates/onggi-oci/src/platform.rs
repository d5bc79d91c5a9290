//! What an image runs on.

use std::fmt;
use std::str::FromStr;

use onggi_diag::{Diagnose, Kind};
use serde::{Deserialize, Serialize};

use crate::digest::excerpt;

/// An operating system on an architecture, as an index says it and as `--platform` takes it.
///
/// The names are Go's (`linux`, `amd64`); other common ones (`x86_64`, `aarch64`) are understood by [`Platform::parse`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// `amd64`, `arm64`, ...
    pub architecture: String,
    /// `linux`, ...
    pub os: String,
    /// The level of the architecture: `v7` of `arm`, `v3` of `amd64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// The version of the operating system, where that matters (Windows).
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// What the operating system must have.
    #[serde(
        rename = "os.features",
        default,
        skip_serializing_if = "crate::image::is_empty",
        deserialize_with = "crate::image::nullable"
    )]
    pub os_features: Vec<String>,
}

impl Platform {
    /// An operating system and an architecture.
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let plain = Self {
            architecture: architecture.to_lowercase(),
            os: os.to_lowercase(),
            variant: variant.filter(|variant| !variant.is_empty()).map(str::to_lowercase),
            os_version: None,
            os_features: Vec::new(),
        };
        plain.normalised()
    }

    /// The machine that this runs on.
    pub fn host() -> Self {
        Self::new("linux", std::env::consts::ARCH, None)
    }

    /// Reads `os/architecture[/variant]`, or one of the first two alone, the host's being implied for the other.
    ///
    /// # Errors
    /// If there are more parts, or one is empty or has anything but letters, digits, `_`, `.` and `-` in it.
    pub fn parse(text: &str) -> Result<Self, PlatformError> {
        let malformed = || PlatformError::Malformed { text: excerpt(text) };
        let word = |part: &&str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
        };
        let parts: Vec<&str> = text.split('/').collect();
        if !parts.iter().all(word) {
            return Err(malformed());
        }
        match parts[..] {
            [os] if is_os(os) => Ok(Self::new(os, std::env::consts::ARCH, None)),
            [architecture] if is_architecture(architecture) => Ok(Self::new("linux", architecture, None)),
            [os, architecture] => Ok(Self::new(os, architecture, None)),
            [os, architecture, variant] => Ok(Self::new(os, architecture, Some(variant))),
            _ => Err(malformed()),
        }
    }

    /// The same with one spelling for what has several: `x86_64` is `amd64`, `arm64/v8` is `arm64`, `arm` is `arm/v7`.
    #[must_use]
    pub fn normalised(&self) -> Self {
        let given = self.variant.as_deref().unwrap_or_default();
        let (architecture, variant) = match (self.architecture.as_str(), given) {
            ("x86_64" | "x86-64" | "amd64", "v1" | "") => ("amd64", ""),
            ("x86_64" | "x86-64", other) => ("amd64", other),
            ("i386" | "i486" | "i586" | "i686" | "x86", _) => ("386", ""),
            ("aarch64" | "arm64", "8" | "v8" | "v8.0" | "") => ("arm64", ""),
            ("aarch64", other) => ("arm64", other),
            ("armhf", _) => ("arm", "v7"),
            ("armel", _) => ("arm", "v6"),
            ("arm", "" | "7") => ("arm", "v7"),
            ("arm", "5") => ("arm", "v5"),
            ("arm", "6") => ("arm", "v6"),
            ("arm", "8") => ("arm", "v8"),
            ("powerpc64", _) if cfg!(target_endian = "little") => ("ppc64le", ""),
            ("loongarch64", other) => ("loong64", other),
            (architecture, other) => (architecture, other),
        };
        let os = if self.os == "macos" { "darwin" } else { &self.os };
        Self {
            architecture: architecture.to_owned(),
            os: os.to_owned(),
            variant: (!variant.is_empty()).then(|| variant.to_owned()),
            os_version: self.os_version.clone(),
            os_features: self.os_features.clone(),
        }
    }

    /// Whether an image for `candidate` runs here, and how well it fits: 0 is exact, more is worse.
    ///
    /// An architecture runs its own lower variants, and its 32-bit ancestor after those.
    pub fn rank(&self, candidate: &Self) -> Option<u32> {
        let (this, other) = (self.normalised(), candidate.normalised());
        if this.os != other.os {
            return None;
        }
        let distance = level(&this).zip(level(&other)).and_then(|(own, theirs)| own.checked_sub(theirs));
        match (this.architecture.as_str(), other.architecture.as_str()) {
            (a, b) if a == b && this.variant == other.variant => Some(0),
            (a, b) if a == b => distance,
            ("amd64", "386") => Some(100),
            ("arm64", "arm") => level(&other).and_then(|theirs| 8_u32.checked_sub(theirs)).map(|lower| 100 + lower),
            _ => None,
        }
    }

    /// Whether an image for `candidate` runs here.
    pub fn matches(&self, candidate: &Self) -> bool {
        self.rank(candidate).is_some()
    }
}

/// The number in a variant; of none, the lowest the architecture has.
fn level(platform: &Platform) -> Option<u32> {
    match platform.variant.as_deref() {
        Some(variant) => variant.strip_prefix('v')?.split('.').next()?.parse().ok(),
        None if platform.architecture == "arm64" => Some(8),
        None => Some(1),
    }
}

fn is_os(word: &str) -> bool {
    matches!(word, "linux" | "windows" | "darwin" | "macos" | "freebsd" | "openbsd" | "netbsd" | "wasip1")
}

fn is_architecture(word: &str) -> bool {
    let known = ["386", "amd64", "arm", "arm64", "loong64", "mips64le", "ppc64le", "riscv64", "s390x"];
    known.contains(&Platform::new("linux", word, None).architecture.as_str())
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        Self::parse(text)
    }
}

/// Why there is no platform, or no image for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlatformError {
    /// Not of the form `os/architecture`.
    #[error("`{text}` is not a platform")]
    Malformed {
        /// What was given.
        text: String,
    },
    /// An index has nothing that runs on it.
    #[error("the image has no variant for {wanted}")]
    Missing {
        /// What was asked for.
        wanted: Box<Platform>,
        /// What there is.
        available: Vec<Platform>,
    },
}

impl Diagnose for PlatformError {
    fn kind(&self) -> Kind {
        match self {
            Self::Malformed { .. } => Kind::Invalid,
            Self::Missing { .. } => Kind::NotFound,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Malformed { .. } => Some("a platform is `os/architecture[/variant]`, as in `linux/arm64/v8`".into()),
            Self::Missing { available, .. } if available.is_empty() => None,
            Self::Missing { available, .. } => {
                let names: Vec<String> = available.iter().take(20).map(Platform::to_string).collect();
                Some(format!("`--platform` chooses from what it has: {}", names.join(", ")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_each() {
        for (typed, normal) in [
            ("linux/x86_64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux/arm64/v8", "linux/arm64"),
            ("Linux/AArch64", "linux/arm64"),
            ("arm64", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/arm/6", "linux/arm/v6"),
            ("linux/i686", "linux/386"),
            ("riscv64", "linux/riscv64"),
            ("windows/amd64", "windows/amd64"),
        ] {
            assert_eq!(Platform::parse(typed).unwrap().to_string(), normal, "{typed}");
        }
        for typed in ["", "/", "linux/", "a/b/c/d", "what", "linux/a b"] {
            assert!(Platform::parse(typed).is_err(), "{typed}");
        }
        assert_eq!(Platform::parse("linux").unwrap(), Platform::host());
    }

    #[test]
    fn runs_its_own_and_lesser_kinds() {
        let check = |own: &str, other: &str| Platform::parse(own).unwrap().rank(&Platform::parse(other).unwrap());
        assert_eq!(check("linux/amd64", "linux/amd64"), Some(0));
        assert_eq!(check("linux/amd64/v3", "linux/amd64/v2"), Some(1));
        assert_eq!(check("linux/amd64", "linux/amd64/v2"), None);
        assert_eq!(check("linux/arm/v7", "linux/arm/v6"), Some(1));
        assert_eq!(check("linux/arm/v6", "linux/arm/v7"), None);
        assert!(check("linux/arm64", "linux/arm/v7") > check("linux/arm64", "linux/arm64/v8"));
        assert!(check("linux/arm64", "linux/arm/v6") > check("linux/arm64", "linux/arm/v7"));
        assert!(check("linux/amd64", "linux/386").is_some());
        assert_eq!(check("linux/amd64", "windows/amd64"), None);
        assert_eq!(check("linux/amd64", "unknown/unknown"), None);
    }
}
