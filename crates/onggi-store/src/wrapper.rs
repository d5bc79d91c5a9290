//! Docker's manifests in an OCI layout.
//!
//! Tools that read layouts overlook entries of Docker's types in `index.json` (skopeo 1.9 says that there is no such
//! name), yet follow an OCI index to them. So what Docker made is entered by way of one: a small blob that lists it,
//! or the members of its list. The bytes that were pulled keep their digest; an annotation tells us which they are.

use onggi_oci::{Descriptor, ImageIndex, Manifest, Platform, media_type};

use crate::{Lease, StoreError};

/// The annotation of an entry that names what it stands for, as a descriptor.
pub(crate) const TARGET: &str = "onggi.target";

/// What a wrapping entry stands for; `None` of one that stands for itself.
pub fn target_of(entry: &Descriptor) -> Option<Descriptor> {
    serde_json::from_str(entry.annotations.get(TARGET)?).ok()
}

/// Turns an entry of one of Docker's types into one of an index that leads to it; leaves any other as it is.
///
/// # Errors
/// If what it leads to cannot be read, or the index not be stored.
pub fn wrap(lease: &Lease<'_>, entry: &mut Descriptor) -> Result<(), StoreError> {
    if !matches!(entry.media_type.as_str(), media_type::DOCKER_MANIFEST | media_type::DOCKER_INDEX) {
        return Ok(());
    }
    let original = Descriptor::new(&entry.media_type, entry.digest.clone(), entry.size);
    let text = serde_json::to_string(&original).expect("a descriptor is always JSON");
    let bytes = serde_json::to_vec(&index_of(lease, original)?).expect("an index is always JSON");
    let wrapper = lease.put(media_type::IMAGE_INDEX, &bytes)?;
    (entry.media_type, entry.digest, entry.size) = (wrapper.media_type, wrapper.digest, wrapper.size);
    entry.annotations.insert(TARGET.to_owned(), text);
    Ok(())
}

/// An index of one manifest, or of the members of Docker's list and the list itself, which no machine would choose.
fn index_of(lease: &Lease<'_>, original: Descriptor) -> Result<ImageIndex, StoreError> {
    if original.media_type == media_type::DOCKER_MANIFEST {
        return Ok(ImageIndex::new(vec![original]));
    }
    let mut members = match lease.store().manifest(&original)? {
        Manifest::Index(index) => index.manifests,
        Manifest::Image(_) => Vec::new(),
    };
    members.push(Descriptor { platform: Some(Platform::new("unknown", "unknown", None)), ..original });
    Ok(ImageIndex::new(members))
}
