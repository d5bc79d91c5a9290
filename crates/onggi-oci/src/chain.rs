//! Names for stacks of layers.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Digest;

/// The name of a stack of layers: their diff ids, bottom first, folded into one digest (image-spec, config.md, "ChainID").
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChainId(Digest);

impl ChainId {
    /// The chain of one layer: its diff id.
    pub fn bottom(diff_id: Digest) -> Self {
        Self(diff_id)
    }

    /// This chain with one more layer on top.
    #[must_use]
    pub fn push(&self, diff_id: &Digest) -> Self {
        Self(Digest::of(format!("{} {diff_id}", self.0).as_bytes()))
    }

    /// The chain of all of `diff_ids`, bottom first; `None` of no layers.
    pub fn of(diff_ids: &[Digest]) -> Option<Self> {
        let (bottom, rest) = diff_ids.split_first()?;
        Some(rest.iter().fold(Self::bottom(bottom.clone()), |chain, diff_id| chain.push(diff_id)))
    }

    /// As a digest.
    pub fn digest(&self) -> &Digest {
        &self.0
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_as_the_specification_does() {
        let [a, b, c] = [b"a", b"b", b"c"].map(|layer| Digest::of(layer));
        assert_eq!(ChainId::of(&[]), None);
        assert_eq!(ChainId::of(std::slice::from_ref(&a)).unwrap().digest(), &a);
        let two = Digest::of(format!("{a} {b}").as_bytes());
        let three = Digest::of(format!("{two} {c}").as_bytes());
        assert_eq!(ChainId::of(&[a, b, c]).unwrap().digest(), &three);
    }
}
