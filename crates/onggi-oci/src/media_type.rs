//! The names of document and layer formats: OCI's and, beside each, Docker's.

/// OCI image manifest.
pub const IMAGE_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image index.
pub const IMAGE_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI image configuration.
pub const IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// The configuration of an artifact that has none: `{}`.
pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// OCI layer, uncompressed.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// OCI layer, gzip.
pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// OCI layer, zstd.
pub const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

/// Docker image manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker manifest list.
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker image configuration.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Docker layer, uncompressed.
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
/// Docker layer, gzip.
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// Docker layer, zstd.
pub const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";

/// Docker image manifest, schema 1 (without and with a signature), which nobody should make any more.
pub const DOCKER_SCHEMA1: [&str; 2] = [
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
];

/// What a client of a registry says it can read, best first.
pub const MANIFESTS: [&str; 4] = [IMAGE_INDEX, IMAGE_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST];

/// Whether `media_type` is a manifest of one image.
pub fn is_manifest(media_type: &str) -> bool {
    matches!(media_type, IMAGE_MANIFEST | DOCKER_MANIFEST)
}

/// Whether `media_type` is an index of manifests.
pub fn is_index(media_type: &str) -> bool {
    matches!(media_type, IMAGE_INDEX | DOCKER_INDEX)
}

/// Whether `media_type` is the configuration of an image that can run.
pub fn is_config(media_type: &str) -> bool {
    matches!(media_type, IMAGE_CONFIG | DOCKER_CONFIG)
}

/// Whether `media_type` is a layer: a tar archive, compressed in a way that onggi reads or not at all.
///
/// Says nothing of how it is compressed: images exist whose manifest is wrong about that, so the bytes decide.
pub fn is_layer(media_type: &str) -> bool {
    matches!(media_type, LAYER | LAYER_GZIP | LAYER_ZSTD | DOCKER_LAYER | DOCKER_LAYER_GZIP | DOCKER_LAYER_ZSTD)
        || is_foreign_layer(media_type)
}

/// Whether `media_type` is a layer that its maker did not want in other registries.
///
/// Both specifications have since dropped the idea; such a layer is one like any other.
pub fn is_foreign_layer(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.oci.image.layer.nondistributable.v1.tar")
        || media_type == "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
}

/// `header` without its parameters (`; charset=utf-8`).
pub fn essence(header: &str) -> &str {
    header.split(';').next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_one_thing() {
        for name in MANIFESTS {
            assert!(is_manifest(name) != is_index(name) && !is_config(name) && !is_layer(name), "{name}");
        }
        assert!(is_layer("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"));
        assert_eq!(essence("application/json; charset=utf-8"), "application/json");
    }
}
