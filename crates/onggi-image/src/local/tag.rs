//! One more name.

use onggi_oci::Reference;

use crate::{ImageError, Images};

impl Images {
    /// Gives the image that `query` names one more name. What had it keeps its place without one.
    ///
    /// # Errors
    /// [`ImageError::NotFound`] and its kin; [`ImageError::TagWithDigest`].
    pub fn tag(&self, query: &str, name: &Reference) -> Result<(), ImageError> {
        if name.digest().is_some() {
            return Err(ImageError::TagWithDigest { name: name.to_string() });
        }
        self.store().edit_names(|names| {
            let target = self.target_of(names, query)?;
            names.tag(name, &target);
            Ok(())
        })
    }
}
