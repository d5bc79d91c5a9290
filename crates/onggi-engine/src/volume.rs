//! `-v`, read once.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use crate::{Name, Propagation, RequestError, Volume, VolumeSource};

impl FromStr for Volume {
    type Err = RequestError;

    /// Reads `/host:/path[:options]`, `name:/path[:options]` or `/path`; options are `ro`, `rw`, `nocopy`, a mount
    /// propagation, and SELinux' `z` and `Z`.
    fn from_str(text: &str) -> Result<Self, RequestError> {
        let invalid = |why| RequestError::Volume { given: text.escape_debug().to_string(), why };
        let parts: Vec<&str> = text.split(':').collect();
        let (source, destination, options) = match parts[..] {
            [destination] => (VolumeSource::Anonymous, destination, ""),
            [source, destination] => (self::source(source).map_err(invalid)?, destination, ""),
            [source, destination, options] => (self::source(source).map_err(invalid)?, destination, options),
            _ => return Err(invalid("it has too many parts")),
        };
        let mut volume = Self {
            source,
            destination: self::destination(destination).map_err(invalid)?,
            read_only: false,
            propagation: Propagation::default(),
            no_copy: false,
            relabel: false,
        };
        for option in options.split(',').filter(|option| !option.is_empty()) {
            volume.apply(option).map_err(invalid)?;
        }
        Ok(volume)
    }
}

impl fmt::Display for Volume {
    /// As `-v` takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            VolumeSource::Host(path) => write!(f, "{}:", path.display())?,
            VolumeSource::Named(name) => write!(f, "{name}:")?,
            VolumeSource::Anonymous => {}
        }
        write!(f, "{}", self.destination.display())?;
        let propagation = (self.propagation != Propagation::default()).then(|| self.propagation.as_str());
        let flags = [(self.read_only, "ro"), (self.no_copy, "nocopy"), (self.relabel, "z")];
        let flags = flags.iter().filter(|(set, _)| *set).map(|&(_, name)| name);
        let options: Vec<&str> = flags.chain(propagation).collect();
        if options.is_empty() { Ok(()) } else { write!(f, ":{}", options.join(",")) }
    }
}

impl Volume {
    fn apply(&mut self, option: &str) -> Result<(), &'static str> {
        match option {
            "ro" | "readonly" => self.read_only = true,
            "rw" => self.read_only = false,
            "nocopy" => self.no_copy = true,
            "z" | "Z" => self.relabel = true,
            other => {
                let known = PROPAGATIONS.iter().find(|known| known.as_str() == other);
                self.propagation = *known.ok_or("it has an unknown option")?;
                if !matches!(self.source, VolumeSource::Host(_)) {
                    return Err("a volume's mounts do not propagate; that is for paths of the host");
                }
            }
        }
        Ok(())
    }
}

const PROPAGATIONS: [Propagation; 6] = [
    Propagation::RPrivate,
    Propagation::Private,
    Propagation::RShared,
    Propagation::Shared,
    Propagation::RSlave,
    Propagation::Slave,
];

fn source(text: &str) -> Result<VolumeSource, &'static str> {
    if text.starts_with('/') {
        return Ok(VolumeSource::Host(text.into()));
    }
    // The command line's working directory means nothing here; it has made its paths absolute.
    if text.contains('/') || text.starts_with('.') || text.starts_with('~') {
        return Err("its source is neither an absolute path nor a volume's name");
    }
    text.parse::<Name>().map(VolumeSource::Named).map_err(|_| "its source is no volume's name")
}

/// The place in the container without `.`, `..` and doubled slashes, as text: links in it are the container's matter.
fn destination(text: &str) -> Result<PathBuf, &'static str> {
    if !text.starts_with('/') {
        return Err("its place in the container is not an absolute path");
    }
    let mut clean = PathBuf::from("/");
    for component in Path::new(text).components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            _ => {}
        }
    }
    if clean == Path::new("/") { Err("a volume cannot take the place of the root") } else { Ok(clean) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let shown = match text.parse::<Volume>() {
            Err(RequestError::Volume { .. }) => "refused".to_owned(),
            Err(other) => panic!("{other:?}"),
            Ok(volume) => {
                let source = match &volume.source {
                    VolumeSource::Host(path) => format!("host {}", path.display()),
                    VolumeSource::Named(name) => format!("named {name}"),
                    VolumeSource::Anonymous => "anonymous".to_owned(),
                };
                let access = if volume.read_only { "ro" } else { "rw" };
                format!("{source} at {} {access} {}", volume.destination.display(), volume.propagation.as_str())
            }
        };
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn forms() {
        check("/src:/dst", "host /src at /dst rw rprivate");
        check("/src:/dst:ro,rslave", "host /src at /dst ro rslave");
        check("cache:/var/cache", "named cache at /var/cache rw rprivate");
        check("/only", "anonymous at /only rw rprivate");
        check("/a:/b//c/../d/", "host /a at /b/d rw rprivate");
    }

    #[test]
    fn what_is_written_is_read_again() {
        for text in ["/a:/b", "/a:/b:ro,rslave", "cache:/c:nocopy", "/d", "/a:/b:z"] {
            assert_eq!(text.parse::<Volume>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn nonsense() {
        for text in [
            "",
            "rel",
            "./a:/b",
            "a/b:/c",
            "~/x:/y",
            "/a:b",
            "/a:/",
            "/a:/..",
            "/a:/b:ro:x",
            "/a:/b:what",
            ":/b",
            "x:/b",
            "ab:/b:shared",
            "/a:",
        ] {
            check(text, "refused");
        }
    }
}
