//! A blob that is stored while it is read.

use std::io::{self, Read};

use bytes::{Buf as _, Bytes};
use onggi_oci::Descriptor;
use onggi_store::Ingest;

use crate::pull::network::Incoming;
use crate::{Event, Phase, Progress, TransferError};

/// Reads what comes from the network, and puts it into the store on the way.
///
/// The end of file is answered only when the blob is in the store whole, which means verified. Whoever reads to the
/// end has read what the descriptor describes.
pub(crate) struct Tee<'t> {
    incoming: Incoming,
    ingest: Option<Ingest>,
    piece: Bytes,
    descriptor: &'t Descriptor,
    progress: &'t dyn Progress,
    failure: Option<TransferError>,
}

impl<'t> Tee<'t> {
    pub(crate) fn new(
        incoming: Incoming,
        ingest: Ingest,
        descriptor: &'t Descriptor,
        progress: &'t dyn Progress,
    ) -> Self {
        let tee = Self { incoming, ingest: Some(ingest), piece: Bytes::new(), descriptor, progress, failure: None };
        tee.tell();
        tee
    }

    /// Reads on to the end.
    pub(crate) fn finish(&mut self) -> Result<(), TransferError> {
        while self.ingest.is_some() {
            self.advance()?;
        }
        Ok(())
    }

    /// Why reading failed, if it did: an [`io::Error`] has no room for it.
    pub(crate) fn take_failure(&mut self) -> Option<TransferError> {
        self.failure.take()
    }

    /// Gets the next piece, or ends.
    fn advance(&mut self) -> Result<(), TransferError> {
        let Some(ingest) = &mut self.ingest else { return Ok(()) };
        match self.incoming.next() {
            Ok(Some(bytes)) => {
                ingest.append(&bytes)?;
                self.piece = bytes;
                self.tell();
                Ok(())
            }
            Ok(None) => {
                let ingest = self.ingest.take();
                self.progress.event(Event::Blob { digest: &self.descriptor.digest, phase: Phase::Unpacking });
                Ok(ingest.map_or(Ok(()), Ingest::commit)?)
            }
            Err(error) => Err(error),
        }
    }

    fn tell(&self) {
        let done = self.ingest.as_ref().map_or(self.descriptor.size, Ingest::offset);
        let phase = Phase::Downloading { done, total: self.descriptor.size };
        self.progress.event(Event::Blob { digest: &self.descriptor.digest, phase });
    }
}

impl Read for Tee<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && self.ingest.is_some() {
            if let Err(error) = self.advance() {
                let told = io::Error::other(error.to_string());
                // A full disk shows itself again at each attempt; the first failure is the one to tell.
                self.failure.get_or_insert(error);
                self.ingest = None;
                return Err(told);
            }
        }
        if let Some(failure) = &self.failure {
            return Err(io::Error::other(failure.to_string()));
        }
        let length = self.piece.len().min(out.len());
        self.piece.copy_to_slice(&mut out[..length]);
        Ok(length)
    }
}
