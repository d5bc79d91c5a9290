//! Any bytes as a document of an image: none is two things at once, and none is lost by being read and written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use onggi_oci::{ImageConfiguration, Manifest, media_type, runtime};

fuzz_target!(|bytes: &[u8]| {
    let readings: Vec<Manifest> = std::iter::once(None)
        .chain(media_type::MANIFESTS.map(Some))
        .filter_map(|media_type| Manifest::parse(media_type, bytes).ok())
        .collect();
    for pair in readings.windows(2) {
        assert_eq!(pair[0], pair[1], "one document, two meanings");
    }
    if let Some(manifest) = readings.first() {
        let written = match manifest {
            Manifest::Image(image) => serde_json::to_vec(image),
            Manifest::Index(index) => serde_json::to_vec(index),
        };
        let again = Manifest::parse(None, &written.expect("what was read can be written"));
        assert_eq!(again.as_ref().ok(), Some(manifest));
    }
    if let Ok(configuration) = ImageConfiguration::parse(bytes) {
        let again = ImageConfiguration::parse(&configuration.to_bytes());
        assert_eq!(again.ok().as_ref(), Some(&configuration));
        drop(configuration.platform());
    }
    drop(runtime::load(bytes));
});
