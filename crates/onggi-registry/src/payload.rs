//! What a request carries: nothing, some bytes, or a stream that can be opened again.

use std::fmt;
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::{Frame, SizeHint};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// The body of every request.
pub(crate) type Body = UnsyncBoxBody<Bytes, SourceError>;

/// This much is read from a source at a time.
const PIECE: usize = 256 * 1024;

/// Content to push, opened anew for each attempt; reading may block.
#[derive(Clone)]
pub struct Source {
    what: String,
    open: Arc<dyn Fn() -> io::Result<Box<dyn Read + Send>> + Send + Sync>,
    sent: Arc<dyn Fn(u64) + Send + Sync>,
}

impl Source {
    /// What `open` opens; `what` names it in messages.
    pub fn new(
        what: impl Into<String>,
        open: impl Fn() -> io::Result<Box<dyn Read + Send>> + Send + Sync + 'static,
    ) -> Self {
        Self { what: what.into(), open: Arc::new(open), sent: Arc::new(|_| {}) }
    }

    /// The same, telling `sent` how many bytes of it were handed to the network so far.
    #[must_use]
    pub fn watched(self, sent: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Self { sent: Arc::new(sent), ..self }
    }

    fn failed(&self, error: &io::Error) -> SourceError {
        SourceError { what: self.what.clone(), kind: error.kind(), reason: error.to_string() }
    }
}

/// A [`Source`] that could not be read.
#[derive(Debug, Clone)]
pub(crate) struct SourceError {
    pub(crate) what: String,
    pub(crate) kind: io::ErrorKind,
    pub(crate) reason: String,
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot read {}: {}", self.what, self.reason)
    }
}

impl std::error::Error for SourceError {}

/// What a request carries.
#[derive(Clone)]
pub(crate) enum Payload {
    None,
    Bytes(Bytes),
    Stream { source: Source, size: u64 },
}

impl Payload {
    /// A body to send, and its length where one must be announced.
    pub(crate) fn body(&self, activity: &Activity) -> (Body, Option<u64>) {
        match self {
            Self::None => (Empty::new().map_err(|never| match never {}).boxed_unsync(), None),
            Self::Bytes(bytes) => {
                let length = u64::try_from(bytes.len()).ok();
                (Full::new(bytes.clone()).map_err(|never| match never {}).boxed_unsync(), length)
            }
            Self::Stream { source, size } => (Streamed::of(source, *size, activity).boxed_unsync(), Some(*size)),
        }
    }
}

/// When a body last moved.
#[derive(Debug, Clone, Default)]
pub(crate) struct Activity(Arc<Mutex<Option<Instant>>>);

impl Activity {
    fn moved(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// When it moved since it was last asked, if it did.
    pub(crate) fn take(&self) -> Option<Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A body fed by a thread that may block on the disk.
struct Streamed {
    pieces: mpsc::Receiver<Result<Bytes, SourceError>>,
    activity: Activity,
    size: u64,
    sent: u64,
    watcher: Arc<dyn Fn(u64) + Send + Sync>,
}

impl Streamed {
    fn of(source: &Source, size: u64, activity: &Activity) -> Self {
        let (sender, pieces) = mpsc::channel(4);
        let watcher = Arc::clone(&source.sent);
        let source = source.clone();
        tokio::task::spawn_blocking(move || feed(&source, size, &sender));
        Self { pieces, activity: activity.clone(), size, sent: 0, watcher }
    }
}

/// Reads exactly `size` bytes of `source`; ends early when nobody wants them any more.
fn feed(source: &Source, size: u64, pieces: &mpsc::Sender<Result<Bytes, SourceError>>) {
    let failed = |error: io::Error| drop(pieces.blocking_send(Err(source.failed(&error))));
    let mut reader = match (source.open)() {
        Ok(reader) => reader.take(size),
        Err(error) => return failed(error),
    };
    let mut left = size;
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        let mut buffer = BytesMut::zeroed(wanted);
        match reader.read(&mut buffer) {
            Ok(0) => return failed(io::Error::new(io::ErrorKind::UnexpectedEof, "it ends too early")),
            Ok(count) => {
                buffer.truncate(count);
                left = left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
                if pieces.blocking_send(Ok(buffer.freeze())).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return failed(error),
        }
    }
}

impl hyper::body::Body for Streamed {
    type Data = Bytes;
    type Error = SourceError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, SourceError>>> {
        // Asked for more: what was given before has left.
        self.activity.moved();
        let Poll::Ready(next) = self.pieces.poll_recv(context) else { return Poll::Pending };
        Poll::Ready(next.map(|piece| {
            let piece = piece?;
            self.sent += u64::try_from(piece.len()).unwrap_or(0);
            (self.watcher)(self.sent);
            Ok(Frame::data(piece))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.sent >= self.size
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.size.saturating_sub(self.sent))
    }
}
