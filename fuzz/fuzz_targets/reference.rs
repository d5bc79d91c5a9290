//! Any text as the name of an image, a digest or a platform: what is accepted is one thing, and safe in a path or a URL.
#![no_main]

use libfuzzer_sys::fuzz_target;
use onggi_oci::{Digest, Platform, Reference};

fuzz_target!(|text: &str| {
    if let Ok(name) = Reference::parse(text) {
        assert_eq!(Reference::parse(&name.to_string()).as_ref(), Ok(&name));
        assert_eq!(Reference::parse(&name.familiar()).as_ref(), Ok(&name));
        let safe =
            |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains(['%', '?', '#', '\\']);
        assert!(name.repository().split('/').all(safe), "{name}");
        assert!(name.tag().is_none_or(|tag| safe(tag) && !tag.contains('/')), "{name}");
        assert!(name.to_string().is_ascii());
    }
    if let Ok(digest) = Digest::parse(text) {
        assert!(digest.hex().bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_eq!(digest.as_str(), text);
    }
    if let Ok(platform) = Platform::parse(text) {
        assert_eq!(Platform::parse(&platform.to_string()).as_ref(), Ok(&platform));
        assert_eq!(platform.rank(&platform), Some(0));
    }
});
