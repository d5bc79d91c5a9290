//! The asynchronous side of a pull: one thread that drives all connections for the threads that unpack.

use bytes::Bytes;
use onggi_oci::{Descriptor, Reference};
use onggi_registry::Client;
use tokio::sync::mpsc::{self, Receiver, Sender, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;

use crate::TransferError;

/// Pieces of a blob that may wait for the one who unpacks; each is at most a few hundred KiB.
const PIECES: usize = 16;

/// A way to ask for blobs from a thread that is not asynchronous. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Network {
    requests: UnboundedSender<Request>,
}

enum Request {
    Blob(Box<Wanted>),
    Stop,
}

/// A blob that is asked for.
struct Wanted {
    descriptor: Descriptor,
    offset: u64,
    skip: usize,
    to: Sender<Piece>,
}

enum Piece {
    Opened { server: usize },
    Bytes(Bytes),
    End,
    Failed(onggi_registry::Error),
}

/// A blob that is coming.
pub(crate) struct Incoming {
    pieces: Receiver<Piece>,
    /// Which of the registry's servers sends it.
    pub(crate) server: usize,
    ended: bool,
}

impl Network {
    /// A network and the future that is its work: it ends when all clones are gone, or one said stop.
    pub(crate) fn new(client: &Client, image: &Reference) -> (Self, impl Future<Output = ()> + use<>) {
        let (requests, receiver) = mpsc::unbounded_channel();
        (Self { requests }, serve(client.clone(), image.clone(), receiver))
    }

    /// Asks for a blob from `offset` on, from none of the first `skip` servers.
    pub(crate) fn blob(&self, descriptor: &Descriptor, offset: u64, skip: usize) -> Result<Incoming, TransferError> {
        let (to, mut pieces) = mpsc::channel(PIECES);
        let request = Request::Blob(Box::new(Wanted { descriptor: descriptor.clone(), offset, skip, to }));
        self.requests.send(request).map_err(|_| TransferError::Stopped)?;
        match pieces.blocking_recv() {
            Some(Piece::Opened { server }) => Ok(Incoming { pieces, server, ended: false }),
            Some(Piece::Failed(error)) => Err(error.into()),
            _ => Err(TransferError::Stopped),
        }
    }

    /// Ends all that is under way.
    pub(crate) fn stop(&self) {
        // Nobody there to hear it: then it has stopped.
        drop(self.requests.send(Request::Stop));
    }
}

impl Incoming {
    /// The next bytes; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, TransferError> {
        if self.ended {
            return Ok(None);
        }
        match self.pieces.blocking_recv() {
            Some(Piece::Bytes(bytes)) => Ok(Some(bytes)),
            Some(Piece::End) => {
                self.ended = true;
                Ok(None)
            }
            Some(Piece::Failed(error)) => Err(error.into()),
            _ => Err(TransferError::Stopped),
        }
    }
}

async fn serve(client: Client, image: Reference, mut requests: UnboundedReceiver<Request>) {
    let mut transfers = JoinSet::new();
    while let Some(request) = requests.recv().await {
        match request {
            Request::Blob(wanted) => {
                let (client, image) = (client.clone(), image.clone());
                transfers.spawn(async move { send(&client, &image, &wanted).await });
            }
            // Those who wait for a transfer see its channel close. Only a runtime that runs drops what was aborted.
            Request::Stop => return transfers.shutdown().await,
        }
    }
    while transfers.join_next().await.is_some() {}
}

/// Passes a blob on. If nobody takes it any more, that is the end of it too.
async fn send(client: &Client, image: &Reference, wanted: &Wanted) {
    let to = &wanted.to;
    let mut blob = match client.blob(image, &wanted.descriptor, wanted.offset, wanted.skip).await {
        Ok(blob) => blob,
        Err(error) => return drop(to.send(Piece::Failed(error)).await),
    };
    if to.send(Piece::Opened { server: blob.server() }).await.is_err() {
        return;
    }
    loop {
        let piece = match blob.next().await {
            Ok(Some(bytes)) => Piece::Bytes(bytes),
            Ok(None) => Piece::End,
            Err(error) => Piece::Failed(error),
        };
        let last = !matches!(piece, Piece::Bytes(_));
        if to.send(piece).await.is_err() || last {
            return;
        }
    }
}
