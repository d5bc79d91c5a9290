//! Netlink messages and the exchange of them with the kernel: the framing that rtnetlink and nf_tables share.
//!
//! netlink(7), and the kernel's `Documentation/userspace-api/netlink/intro.rst`.

use std::time::Duration;

use onggi_sys::netlink::{Protocol, Socket};
use onggi_sys::{Errno, Error, Result};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;
/// Replace what exists.
pub(crate) const NLM_F_REPLACE: u16 = 0x100;
/// Fail if it exists.
pub(crate) const NLM_F_EXCL: u16 = 0x200;
/// Make it if it does not exist.
pub(crate) const NLM_F_CREATE: u16 = 0x400;
/// Add at the end of the list.
pub(crate) const NLM_F_APPEND: u16 = 0x800;
/// Everything, not one.
pub(crate) const NLM_F_DUMP: u16 = 0x300;

const NLA_F_NESTED: u16 = 0x8000;
const NLA_TYPE_MASK: u16 = 0x3fff;
const NLMSGERR_ATTR_MSG: u16 = 1;

const HEADER: usize = 16;
/// The kernel fills its dumps up to 32 KiB a datagram and no reply of ours is longer.
const BUFFER: usize = 32 * 1024;
/// The kernel answers before send(2) returns; only a message that it never saw leaves us waiting.
const PATIENCE: Duration = Duration::from_secs(5);

/// A run of attributes, each with its length, type and padding.
#[derive(Debug, Clone, Default)]
pub(crate) struct Attributes(Vec<u8>);

impl Attributes {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(value.len() + 4).expect("attributes of ours are short");
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// In the machine's byte order, as rtnetlink has its numbers.
    pub(crate) fn u32(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// In network byte order, as nf_tables has its numbers.
    pub(crate) fn be32(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// With the NUL that the kernel wants.
    pub(crate) fn text(self, kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes)
    }

    pub(crate) fn nest(self, kind: u16, inner: &Self) -> Self {
        self.bytes(kind | NLA_F_NESTED, &inner.0)
    }

    pub(crate) fn and(mut self, more: &Self) -> Self {
        self.0.extend_from_slice(&more.0);
        self
    }

    /// Bytes as they stand in front of attributes inside a nest: a header struct of the kernel's.
    pub(crate) fn raw(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

/// The attributes in `bytes`, as far as they are well formed.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)? & NLA_TYPE_MASK;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The first attribute of `kind` in `bytes`.
pub(crate) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find_map(|(found, value)| (found == kind).then_some(value))
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

/// A message to the kernel, and how an error tells of it: `RTM_NEWLINK(onggi0, bridge)`.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    kind: u16,
    flags: u16,
    body: Vec<u8>,
    call: &'static str,
    object: String,
    role: Role,
}

/// What a message is to those around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Alone,
    /// Begins a transaction: if the kernel refuses it, what follows gets no answer.
    Opening,
    /// Ends a transaction: most kernels do not answer it.
    Closing,
}

impl Request {
    /// A message of type `kind` with the family's fixed `header`; `call` and `object` are for errors alone.
    pub(crate) fn new(kind: u16, flags: u16, header: &[u8], call: &'static str, object: impl Into<String>) -> Self {
        Self {
            kind,
            flags: flags | NLM_F_REQUEST,
            body: header.to_vec(),
            call,
            object: object.into(),
            role: Role::Alone,
        }
    }

    /// The same as the message that begins a transaction.
    pub(crate) fn opening(self) -> Self {
        Self { role: Role::Opening, ..self }
    }

    /// The same as the message that ends a transaction.
    pub(crate) fn closing(self) -> Self {
        Self { role: Role::Closing, ..self }
    }

    pub(crate) fn with(mut self, attributes: &Attributes) -> Self {
        self.body.extend_from_slice(&attributes.0);
        self
    }

    fn is_dump(&self) -> bool {
        self.flags & NLM_F_DUMP == NLM_F_DUMP
    }

    fn encode(&self, extra_flags: u16, sequence: u32, into: &mut Vec<u8>) {
        let length = u32::try_from(HEADER + self.body.len()).expect("requests of ours are short");
        into.extend_from_slice(&length.to_ne_bytes());
        into.extend_from_slice(&self.kind.to_ne_bytes());
        into.extend_from_slice(&(self.flags | extra_flags).to_ne_bytes());
        into.extend_from_slice(&sequence.to_ne_bytes());
        into.extend_from_slice(&0u32.to_ne_bytes());
        into.extend_from_slice(&self.body);
        into.resize(into.len().next_multiple_of(4), 0);
    }

    fn failed(&self, errno: Errno, said: Option<&str>) -> Error {
        match said {
            Some(said) => Error::new(self.call, format!("{}; kernel: \"{said}\"", self.object), errno),
            None => Error::new(self.call, self.object.clone(), errno),
        }
    }
}

/// The body of a message from the kernel: the family's fixed header and attributes.
pub(crate) type Reply = Vec<u8>;

/// A conversation with the kernel over one socket.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Connection {
    /// Opens one in the calling thread's network namespace.
    pub(crate) fn open(protocol: Protocol) -> Result<Self> {
        let socket = Socket::open(protocol)?;
        socket.explain_errors()?;
        socket.set_patience(PATIENCE)?;
        Ok(Self { socket, sequence: 0, buffer: vec![0; BUFFER] })
    }

    /// Sends `requests` in one datagram, which the kernel works through in order, going on after a failure.
    ///
    /// What came back for each: its replies, or why not.
    ///
    /// # Errors
    /// The outer one when the exchange itself failed.
    pub(crate) fn exchange(&mut self, requests: &[Request]) -> Result<Vec<Result<Vec<Reply>>>> {
        let first = self.sequence.wrapping_add(1);
        let last = requests.iter().rposition(|request| request.role != Role::Closing);
        let Some(last) = last else { return Ok(Vec::new()) };
        let mut datagram = Vec::with_capacity(1024);
        for (index, request) in requests.iter().enumerate() {
            self.sequence = self.sequence.wrapping_add(1);
            // Failures are reported asked or unasked, in order; only the last needs an answer to know the end by.
            let ack = if index == last && !request.is_dump() { NLM_F_ACK } else { 0 };
            request.encode(ack, self.sequence, &mut datagram);
        }
        self.socket.send(&datagram)?;
        self.collect(requests, first, last)
    }

    fn collect(&mut self, requests: &[Request], first: u32, last: usize) -> Result<Vec<Result<Vec<Reply>>>> {
        let mut outcomes: Vec<Result<Vec<Reply>>> = requests.iter().map(|_| Ok(Vec::new())).collect();
        loop {
            let datagram = self.socket.receive(&mut self.buffer)?;
            for message in messages(datagram) {
                // An answer to something else: the rest of an exchange that was given up.
                let Ok(index) = usize::try_from(message.sequence.wrapping_sub(first)) else { continue };
                let (Some(request), Some(outcome)) = (requests.get(index), outcomes.get_mut(index)) else { continue };
                let last = index == last;
                match message.end() {
                    None => {
                        if let Ok(replies) = outcome {
                            replies.push(message.body.to_vec());
                        }
                    }
                    Some(Ok(())) if last => return Ok(outcomes),
                    Some(Ok(())) => {}
                    Some(Err((errno, said))) => {
                        *outcome = Err(request.failed(errno, said));
                        if last || request.role == Role::Opening {
                            return Ok(outcomes);
                        }
                    }
                }
            }
        }
    }

    /// Sends `requests` in one datagram; the first failure among them, if there was one.
    pub(crate) fn run(&mut self, requests: &[Request]) -> Result<()> {
        self.exchange(requests)?.into_iter().find_map(Result::err).map_or(Ok(()), Err)
    }

    /// Sends one request; what came back.
    pub(crate) fn ask(&mut self, request: Request) -> Result<Vec<Reply>> {
        self.exchange(&[request])?.pop().unwrap_or_else(|| Ok(Vec::new()))
    }

    /// Sends a question about one thing; `None` if there is no such thing.
    pub(crate) fn ask_for(&mut self, request: Request) -> Result<Option<Reply>> {
        present(self.ask(request))
    }
}

/// The reply about one thing, or `None` where the kernel knows of no such thing.
pub(crate) fn present(answer: Result<Vec<Reply>>) -> Result<Option<Reply>> {
    match answer {
        Ok(mut replies) => Ok(replies.pop()),
        Err(error) if error.is(Errno::NOENT) || error.is(Errno::NODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

struct Message<'d> {
    kind: u16,
    flags: u16,
    sequence: u32,
    body: &'d [u8],
}

impl<'d> Message<'d> {
    /// Whether this message ends the answer to its request, and how.
    fn end(&self) -> Option<std::result::Result<(), (Errno, Option<&'d str>)>> {
        if self.kind != NLMSG_ERROR && self.kind != NLMSG_DONE {
            return None;
        }
        // Both begin with an error number, negative; a NLMSG_DONE of old kernels may be empty.
        let code = u32_at(self.body, 0).map_or(0, u32::cast_signed);
        Some(if code == 0 { Ok(()) } else { Err((Errno::from_raw_os_error(-code), self.explanation())) })
    }

    /// The kernel's words for its refusal, behind the header of the message that it refuses.
    fn explanation(&self) -> Option<&'d str> {
        if self.flags & NLM_F_ACK_TLVS == 0 {
            return None;
        }
        let request = 4..4 + HEADER;
        let skipped = match self.flags & NLM_F_CAPPED {
            0 => usize::try_from(u32_at(self.body, request.start)?).ok()?.next_multiple_of(4),
            _ => HEADER,
        };
        let text = attribute(self.body.get(request.start + skipped..)?, NLMSGERR_ATTR_MSG)?;
        std::str::from_utf8(text).ok().map(|text| text.trim_end_matches('\0'))
    }
}

fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(u32_at(datagram, 0)?).ok()?;
        let message = Message {
            kind: u16_at(datagram, 4)?,
            flags: u16_at(datagram, 6)?,
            sequence: u32_at(datagram, 8)?,
            body: datagram.get(HEADER..length)?,
        };
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_come_back_as_they_went() {
        let inner = Attributes::new().u32(7, 99);
        let all = Attributes::new().text(1, "eth0").bytes(2, &[1, 2, 3]).nest(3, &inner);
        let found: Vec<_> = attributes(&all.0).collect();
        assert_eq!(found[0], (1, &b"eth0\0"[..]));
        assert_eq!(found[1], (2, &[1, 2, 3][..]));
        assert_eq!(attribute(found[2].1, 7).and_then(|value| u32_at(value, 0)), Some(99));
    }

    #[test]
    fn a_cut_attribute_ends_the_run() {
        let all = Attributes::new().u32(1, 1).u32(2, 2);
        for cut in 0..all.0.len() {
            assert!(attributes(&all.0[..cut]).count() <= 1);
        }
    }

    #[test]
    fn an_error_carries_the_kernels_words() {
        let mut body = (-17i32).to_ne_bytes().to_vec();
        body.extend([0; HEADER]);
        body.extend(Attributes::new().text(NLMSGERR_ATTR_MSG, "already there").0);
        let message = Message { kind: NLMSG_ERROR, flags: NLM_F_CAPPED | NLM_F_ACK_TLVS, sequence: 1, body: &body };
        assert_eq!(message.end(), Some(Err((Errno::EXIST, Some("already there")))));
    }
}
