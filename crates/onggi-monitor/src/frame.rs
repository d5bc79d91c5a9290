//! The bytes between client and monitor: frames of a kind and a bounded length.
//!
//! ```text
//! 0        1        2        4                 8
//! | version | kind  | zero   | length, LE      | payload ...
//! ```
//!
//! Requests and answers are JSON, the other kinds are what a process reads and writes. The version stands in every
//! frame, so that the first one that a newer client sends to a monitor of last year is refused in words.

use onggi_diag::{Diagnose, Kind as Fault};

/// The protocol's version. It changes when a frame that an old side sends would be misunderstood by a new one; a new
/// field with a default is no such change.
pub(crate) const VERSION: u8 = 1;

/// Bytes before the payload.
pub(crate) const HEADER: usize = 8;

/// The most that a frame of input or output carries: what one read from a pipe gives.
pub(crate) const DATA_LIMIT: usize = 64 * 1024;

/// The most that a request or an answer may be: an exec with the longest argument list that is of use.
pub(crate) const JSON_LIMIT: usize = 1024 * 1024;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A [`crate::Request`], to the monitor.
    Request,
    /// An [`crate::Answer`], from the monitor.
    Answer,
    /// Standard input, to the monitor; an empty one is its end.
    Stdin,
    /// Standard output, from the monitor.
    Stdout,
    /// Standard error, from the monitor.
    Stderr,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Request,
            2 => Self::Answer,
            3 => Self::Stdin,
            4 => Self::Stdout,
            5 => Self::Stderr,
            _ => return None,
        })
    }

    fn to_byte(self) -> u8 {
        match self {
            Self::Request => 1,
            Self::Answer => 2,
            Self::Stdin => 3,
            Self::Stdout => 4,
            Self::Stderr => 5,
        }
    }

    fn limit(self) -> usize {
        match self {
            Self::Request | Self::Answer => JSON_LIMIT,
            Self::Stdin | Self::Stdout | Self::Stderr => DATA_LIMIT,
        }
    }
}

/// One frame, in the buffer it was received in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'b> {
    pub(crate) kind: Kind,
    pub(crate) payload: &'b [u8],
}

impl Frame<'_> {
    /// Bytes of the whole frame.
    pub(crate) fn size(&self) -> usize {
        HEADER + self.payload.len()
    }
}

/// Why received bytes are no frame; nothing after them can be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("the other side speaks version {0} of the monitor's protocol, this one speaks {VERSION}")]
    Version(u8),
    #[error("no frame of the monitor's protocol is of kind {0}")]
    Kind(u8),
    #[error("a frame of {0} bytes is longer than its kind may be")]
    Length(usize),
    #[error("a frame with bits set where there must be none")]
    Reserved,
}

impl Diagnose for FrameError {
    fn kind(&self) -> Fault {
        match self {
            Self::Version(_) => Fault::Unsupported,
            _ => Fault::Hostile,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Version(_) => Some("stop and start the container to give it a monitor of this version".into()),
            _ => None,
        }
    }
}

/// The first frame in `received`; `None` if it has not arrived whole.
pub(crate) fn parse(received: &[u8]) -> Result<Option<Frame<'_>>, FrameError> {
    let Some((&version, _)) = received.split_first() else { return Ok(None) };
    if version != VERSION {
        return Err(FrameError::Version(version));
    }
    let Some((header, rest)) = received.split_first_chunk::<HEADER>() else { return Ok(None) };
    let [_, kind, zero, nought, length @ ..] = *header;
    let kind = Kind::from_byte(kind).ok_or(FrameError::Kind(kind))?;
    if (zero, nought) != (0, 0) {
        return Err(FrameError::Reserved);
    }
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > kind.limit() {
        return Err(FrameError::Length(length));
    }
    Ok(rest.get(..length).map(|payload| Frame { kind, payload }))
}

/// The header of a frame with `length` bytes of payload.
///
/// # Panics
/// If the payload is longer than frames of its kind may be.
pub(crate) fn header(kind: Kind, length: usize) -> [u8; HEADER] {
    assert!(length <= kind.limit(), "a frame of {length} bytes");
    let [a, b, c, d] = u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    [VERSION, kind.to_byte(), 0, 0, a, b, c, d]
}

/// A whole frame.
pub(crate) fn encode(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEADER + payload.len());
    frame.extend_from_slice(&header(kind, payload.len()));
    frame.extend_from_slice(payload);
    frame
}

/// A frame with a request or an answer.
pub(crate) fn encode_json(kind: Kind, message: &impl serde::Serialize) -> Result<Vec<u8>, EncodeError> {
    let json = serde_json::to_vec(message).map_err(EncodeError::Json)?;
    if json.len() > JSON_LIMIT { Err(EncodeError::Long(json.len())) } else { Ok(encode(kind, &json)) }
}

/// Why a message cannot be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EncodeError {
    #[error("cannot write a message as JSON")]
    Json(#[source] serde_json::Error),
    #[error("a message of {0} bytes is longer than the {JSON_LIMIT} that the monitor takes")]
    Long(usize),
}

impl Diagnose for EncodeError {
    fn kind(&self) -> Fault {
        Fault::Invalid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_whole_and_never_from_a_part() {
        let frame = encode(Kind::Stdout, b"hello");
        for end in 0..frame.len() {
            assert_eq!(parse(&frame[..end]), Ok(None), "{end}");
        }
        let parsed = parse(&frame).unwrap().unwrap();
        assert_eq!((parsed.kind, parsed.payload, parsed.size()), (Kind::Stdout, &b"hello"[..], frame.len()));
    }

    #[test]
    fn refuses_before_it_waits_for_more() {
        let mut frame = encode(Kind::Stdin, b"");
        assert_eq!(parse(&[9]), Err(FrameError::Version(9)));
        frame[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(parse(&frame), Err(FrameError::Length(u32::MAX as usize)));
        assert_eq!(parse(&[VERSION, 77, 0, 0, 0, 0, 0, 0]), Err(FrameError::Kind(77)));
        assert_eq!(parse(&[VERSION, 1, 1, 0, 0, 0, 0, 0]), Err(FrameError::Reserved));
    }

    #[test]
    fn any_bytes_are_a_frame_an_error_or_too_few() {
        // A small generator of bytes, the same in every run.
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        for round in 0..20_000_usize {
            let mut bytes = vec![0; round % 40];
            for byte in &mut bytes {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                *byte = seed.to_le_bytes()[0] % 8;
            }
            if let Ok(Some(frame)) = parse(&bytes) {
                assert_eq!(encode(frame.kind, frame.payload), bytes[..frame.size()]);
            }
        }
    }
}
