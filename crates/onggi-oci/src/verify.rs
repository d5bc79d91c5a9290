//! Streams held against the digest and size that were promised.

use std::io::{self, Read};

use onggi_diag::{Diagnose, Kind};

use crate::{Descriptor, Digest, Hasher};

/// Holds bytes against a digest, and a size where one is known, as they pass.
#[derive(Debug, Clone)]
pub struct Verifier {
    expected: Digest,
    size: Option<u64>,
    seen: u64,
    hasher: Hasher,
}

impl Verifier {
    /// Expects content with this digest and of this size.
    pub fn new(expected: Digest, size: Option<u64>) -> Self {
        let hasher = Hasher::new(expected.algorithm());
        Self { expected, size, seen: 0, hasher }
    }

    /// Expects what `descriptor` describes.
    pub fn of(descriptor: &Descriptor) -> Self {
        Self::new(descriptor.digest.clone(), Some(descriptor.size))
    }

    /// Takes the next bytes in.
    ///
    /// # Errors
    /// [`VerifyError::TooLong`] as soon as there are more than were promised, so that nobody stores them.
    pub fn update(&mut self, bytes: &[u8]) -> Result<(), VerifyError> {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.seen = self.seen.saturating_add(length);
        match self.size {
            Some(size) if self.seen > size => Err(VerifyError::TooLong { digest: self.expected.clone(), size }),
            _ => {
                self.hasher.update(bytes);
                Ok(())
            }
        }
    }

    /// How many bytes were taken in.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Whether all that was promised was what came.
    ///
    /// # Errors
    /// [`VerifyError::TooShort`] or [`VerifyError::Mismatch`].
    pub fn finish(self) -> Result<(), VerifyError> {
        if let Some(size) = self.size.filter(|&size| self.seen < size) {
            return Err(VerifyError::TooShort { digest: self.expected, size, got: self.seen });
        }
        let got = self.hasher.finish();
        if got == self.expected { Ok(()) } else { Err(VerifyError::Mismatch { expected: self.expected, got }) }
    }
}

/// Why content is not what it was promised to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// Other content.
    #[error("content of blob {expected} is not its own: it hashes to {got}")]
    Mismatch {
        /// What was promised.
        expected: Digest,
        /// What came.
        got: Digest,
    },
    /// It ended early.
    #[error("blob {digest} ends after {got} bytes of {size}")]
    TooShort {
        /// The blob.
        digest: Digest,
        /// What was promised.
        size: u64,
        /// What came.
        got: u64,
    },
    /// It did not end.
    #[error("blob {digest} is longer than the {size} bytes it was promised to have")]
    TooLong {
        /// The blob.
        digest: Digest,
        /// What was promised.
        size: u64,
    },
}

impl Diagnose for VerifyError {
    fn kind(&self) -> Kind {
        match self {
            Self::Mismatch { .. } | Self::TooLong { .. } => Kind::Hostile,
            // A connection that breaks looks like this, and the rest may come another time.
            Self::TooShort { .. } => Kind::Unavailable,
        }
    }
}

impl From<VerifyError> for io::Error {
    fn from(error: VerifyError) -> Self {
        io::Error::new(io::ErrorKind::InvalidData, error)
    }
}

/// A reader that answers the end of file only if all that it gave is what was promised.
///
/// What fails the check comes as an [`io::Error`] with a [`VerifyError`] inside; so a consumer that has seen the end
/// has seen verified content.
#[derive(Debug)]
pub struct VerifiedReader<R> {
    inner: R,
    verifier: Option<Verifier>,
}

impl<R: Read> VerifiedReader<R> {
    /// Reads `inner` against `verifier`.
    pub fn new(inner: R, verifier: Verifier) -> Self {
        Self { inner, verifier: Some(verifier) }
    }

    /// Reads what the consumer left, so that the whole is verified.
    ///
    /// # Errors
    /// As reading.
    pub fn drain(&mut self) -> io::Result<()> {
        io::copy(self, &mut io::sink()).map(|_| ())
    }
}

impl<R: Read> Read for VerifiedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let count = self.inner.read(buffer)?;
        match (count, &mut self.verifier) {
            (0, verifier) => verifier.take().map_or(Ok(0), |verifier| Ok(verifier.finish().map(|()| 0)?)),
            (_, Some(verifier)) => {
                verifier.update(&buffer[..count])?;
                Ok(count)
            }
            // The end was answered and verified; what comes after it was not promised.
            (_, None) => Ok(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(content: &[u8], promised: &[u8], size: u64) -> Result<Vec<u8>, VerifyError> {
        let mut reader = VerifiedReader::new(content, Verifier::new(Digest::of(promised), Some(size)));
        let mut out = Vec::new();
        match reader.read_to_end(&mut out) {
            Ok(_) => Ok(out),
            Err(error) => Err(error.downcast::<VerifyError>().unwrap()),
        }
    }

    #[test]
    fn only_what_was_promised_ends() {
        assert_eq!(check(b"onggi", b"onggi", 5).unwrap(), b"onggi");
        assert!(matches!(check(b"ongga", b"onggi", 5), Err(VerifyError::Mismatch { .. })));
        assert!(matches!(check(b"ongg", b"onggi", 5), Err(VerifyError::TooShort { got: 4, size: 5, .. })));
        assert!(matches!(check(b"onggi!", b"onggi", 5), Err(VerifyError::TooLong { size: 5, .. })));
        assert_eq!(check(b"", b"", 0).unwrap(), b"");
    }

    #[test]
    fn a_consumer_that_stops_early_can_still_know() {
        let mut reader = VerifiedReader::new(&b"onggi!"[..], Verifier::new(Digest::of(b"onggi?"), None));
        reader.read_exact(&mut [0; 3]).unwrap();
        assert!(reader.drain().is_err());
    }
}
