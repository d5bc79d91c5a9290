//! The layers of an image: several at a time, each stored and unpacked while it comes.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use onggi_diag::{Diagnose as _, Kind};
use onggi_oci::{Descriptor, Digest};
use onggi_store::{Begun, Ingest, Lease};

use crate::pull::network::Network;
use crate::pull::tee::Tee;
use crate::{Event, Images, Phase, Progress, TransferError};

/// How long another process may take for a blob before we fetch it ourselves beside it.
const PATIENCE: Duration = Duration::from_secs(20);
const GLANCE: Duration = Duration::from_millis(50);

/// A layer to have.
pub(crate) struct Layer {
    pub(crate) descriptor: Descriptor,
    /// Its diff id where it shall be unpacked.
    pub(crate) diff_id: Option<Digest>,
}

/// All that the work on layers needs.
pub(crate) struct Layers<'p> {
    pub(crate) images: &'p Images,
    pub(crate) lease: &'p Lease<'p>,
    pub(crate) network: Network,
    /// How many servers there are to ask.
    pub(crate) servers: usize,
    pub(crate) progress: &'p dyn Progress,
    pub(crate) at_once: usize,
}

impl Layers<'_> {
    /// Gets all of `layers`; the first failure stops the others and is the answer.
    pub(crate) fn get_all(&self, layers: &[Layer]) -> Result<(), TransferError> {
        let next = AtomicUsize::new(0);
        let stopped = AtomicBool::new(false);
        let failure = Mutex::new(None);
        for layer in layers {
            self.tell(&layer.descriptor, Phase::Waiting);
        }
        std::thread::scope(|scope| {
            for _ in 0..self.at_once.clamp(1, layers.len().max(1)) {
                scope.spawn(|| {
                    while let Some(layer) = layers.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if let Err(error) = self.get(layer, &stopped) {
                            next.store(layers.len(), Ordering::Relaxed);
                            if !stopped.swap(true, Ordering::SeqCst) {
                                let digest = layer.descriptor.digest.clone();
                                let error = TransferError::Layer { digest, source: Box::new(error) };
                                failure.lock().unwrap_or_else(PoisonError::into_inner).replace(error);
                                self.network.stop();
                            }
                        }
                    }
                });
            }
        });
        failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    /// Gets one layer, from the next server if one sends something else, anew if an old partial download was wrong.
    fn get(&self, layer: &Layer, stopped: &AtomicBool) -> Result<(), TransferError> {
        let mut attempt = Attempt { skip: 0, fresh: false, server: 0, resumed: false };
        loop {
            let error = match self.attempt(layer, &mut attempt, stopped) {
                Err(error) if error.is_wrong_content() => error,
                other => return other,
            };
            if attempt.resumed {
                attempt.fresh = true;
            } else if attempt.server + 1 < self.servers {
                attempt.skip = attempt.server + 1;
            } else {
                return Err(error);
            }
            self.tell(&layer.descriptor, Phase::Retrying);
        }
    }

    fn attempt(&self, layer: &Layer, attempt: &mut Attempt, stopped: &AtomicBool) -> Result<(), TransferError> {
        let descriptor = &layer.descriptor;
        let Some(mut ingest) = self.ingest(descriptor, stopped)? else {
            self.unpack_stored(layer)?;
            self.tell(descriptor, Phase::Present);
            return Ok(());
        };
        if attempt.fresh && ingest.resumed() {
            ingest.restart(descriptor)?;
        }
        attempt.resumed = ingest.resumed();
        let resumed = ingest.resumed();
        let incoming = self.network.blob(descriptor, ingest.offset(), attempt.skip)?;
        attempt.server = incoming.server;
        let mut tee = Tee::new(incoming, ingest, descriptor, self.progress);
        match &layer.diff_id {
            // What an earlier attempt left is not read again from the middle: the whole is unpacked when it is here.
            Some(diff_id) if !resumed => {
                let unpacked = self.images.unpack_layer(diff_id, &mut tee);
                if let Some(failure) = tee.take_failure() {
                    return Err(failure);
                }
                if let Err(error) = unpacked {
                    // Damaged it may be because it is not what was asked for: then that is the failure.
                    if matches!(error.kind(), Kind::Invalid | Kind::Hostile) {
                        tee.finish()?;
                    }
                    return Err(error.into());
                }
                // It may have been unpacked by somebody else meanwhile, and nobody has read the blob then.
                tee.finish()?;
            }
            _ => {
                tee.finish()?;
                self.unpack_stored(layer)?;
            }
        }
        self.tell(descriptor, Phase::Pulled);
        Ok(())
    }

    /// A place to put the blob; `None` if it is here.
    fn ingest(&self, descriptor: &Descriptor, stopped: &AtomicBool) -> Result<Option<Ingest>, TransferError> {
        let until = Instant::now() + PATIENCE;
        loop {
            if stopped.load(Ordering::SeqCst) {
                return Err(TransferError::Stopped);
            }
            match self.lease.ingest(descriptor)? {
                Begun::Present => return Ok(None),
                Begun::Ingest(ingest) => return Ok(Some(ingest)),
                Begun::Busy if Instant::now() < until => std::thread::sleep(GLANCE),
                Begun::Busy => return Ok(Some(self.lease.ingest_apart(descriptor)?)),
            }
        }
    }

    fn unpack_stored(&self, layer: &Layer) -> Result<(), TransferError> {
        let Some(diff_id) = &layer.diff_id else { return Ok(()) };
        if self.images.snapshots().has_layer(diff_id)? {
            return Ok(());
        }
        self.tell(&layer.descriptor, Phase::Unpacking);
        let blob = self.images.store().open_described(&layer.descriptor)?;
        Ok(self.images.unpack_layer(diff_id, blob)?)
    }

    fn tell(&self, descriptor: &Descriptor, phase: Phase) {
        self.progress.event(Event::Blob { digest: &descriptor.digest, phase });
    }
}

/// What a next attempt at a layer has to know of the one before.
struct Attempt {
    /// Servers to pass over.
    skip: usize,
    /// Whether to begin anew.
    fresh: bool,
    /// Who sent what came.
    server: usize,
    /// Whether it continued something older.
    resumed: bool,
}
