//! How an image came to be.

use jiff::Timestamp;
use onggi_oci::Digest;

use crate::{ImageError, Images};

/// A step in the making of an image.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryEntry {
    /// The image's ID at the last step; the images between are nowhere, which Docker shows as `<missing>`.
    pub id: Option<Digest>,
    /// When.
    pub created: Option<Timestamp>,
    /// By what.
    pub created_by: String,
    /// Bytes of the files that the step made; 0 if it made no layer.
    pub size: u64,
    /// A note.
    pub comment: String,
    /// The image's names, at the last step.
    pub tags: Vec<String>,
}

impl Images {
    /// The steps in which the image that `query` names was made, the last first.
    ///
    /// # Errors
    /// [`ImageError::NotFound`] and its kin.
    pub fn history(&self, query: &str) -> Result<Vec<HistoryEntry>, ImageError> {
        let image = self.resolve(query)?;
        let mut sizes = self.layer_sizes(&image).into_iter();
        let mut steps: Vec<HistoryEntry> = image
            .configuration
            .history
            .iter()
            .map(|step| HistoryEntry {
                id: None,
                created: step.created.as_deref().and_then(|text| text.parse().ok()),
                created_by: step.created_by.clone().unwrap_or_default(),
                size: if step.empty_layer.unwrap_or(false) { 0 } else { sizes.next().unwrap_or(0) },
                comment: step.comment.clone().unwrap_or_default(),
                tags: Vec::new(),
            })
            .collect();
        // A history is optional, and may tell of fewer layers than there are; what is left is shown without a story.
        steps.extend(sizes.map(|size| HistoryEntry {
            id: None,
            created: None,
            created_by: String::new(),
            size,
            comment: String::new(),
            tags: Vec::new(),
        }));
        if let Some(last) = steps.last_mut() {
            last.id = Some(image.id.clone());
            last.tags = image.tags();
        }
        steps.reverse();
        Ok(steps)
    }
}
