//! nf_tables messages: tables, chains, rules, sets, and the batch that makes many of them one transaction.
//!
//! The numbers are those of `linux/netfilter/nf_tables.h` and `nfnetlink.h`. Values inside are in network byte
//! order, except what a rule compares: that is as the packet or the kernel has it.

use onggi_sys::{Errno, Result};

use crate::netlink::{Attributes, Connection, NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP, Reply, Request, attribute};

const NFNL_SUBSYS_NFTABLES: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NFNL_BATCH_GENID: u16 = 1;

const NEWTABLE: u16 = 0;
const DELTABLE: u16 = 2;
const NEWCHAIN: u16 = 3;
const GETCHAIN: u16 = 4;
const NEWRULE: u16 = 6;
const GETRULE: u16 = 7;
const DELRULE: u16 = 8;
const NEWSET: u16 = 9;
const NEWSETELEM: u16 = 12;
const GETSETELEM: u16 = 13;
const DELSETELEM: u16 = 14;
const GETGEN: u16 = 16;

/// `NFPROTO_INET`: IPv4 and IPv6 together.
pub(crate) const INET: u8 = 1;
/// `NFPROTO_IPV4`, where iptables keeps its own.
pub(crate) const IPV4: u8 = 2;

const LIST_ELEM: u16 = 1;

/// Where a base chain sits in a packet's way.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Hook {
    Forward = 2,
    Postrouting = 4,
}

/// What one element of a set is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Key {
    /// The name of an interface.
    Interface,
    /// Two names, where the packet comes in and where it goes out.
    InterfacePair,
    /// A range of IPv4 addresses.
    Range4,
    /// A number.
    Mark,
}

impl Key {
    /// The number by which the `nft` program knows the type; for it alone, the kernel does not look.
    fn type_number(self) -> u32 {
        const INTERFACE: u32 = 41;
        match self {
            Self::Interface => INTERFACE,
            Self::InterfacePair => INTERFACE << 6 | INTERFACE,
            Self::Range4 => 7,
            Self::Mark => 19,
        }
    }

    fn length(self) -> u32 {
        match self {
            Self::Interface => 16,
            Self::InterfacePair => 32,
            Self::Range4 | Self::Mark => 4,
        }
    }

    fn flags(self) -> u32 {
        const NFT_SET_INTERVAL: u32 = 4;
        if matches!(self, Self::Range4) { NFT_SET_INTERVAL } else { 0 }
    }

    /// A note to `nft list`: the byte order of the key (1 the machine's, 2 the network's).
    fn note(self) -> [u8; 6] {
        [0, 4, if matches!(self, Self::Range4) { 2 } else { 1 }, 0, 0, 0]
    }
}

/// A member of a set, as the kernel keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Element {
    key: Vec<u8>,
    /// Whether a range ends before this key.
    ends_range: bool,
}

impl Element {
    pub(crate) fn new(key: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), ends_range: false }
    }

    pub(crate) fn end(key: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), ends_range: true }
    }
}

/// An interface's name as the kernel compares it: 16 bytes, the rest zero.
pub(crate) fn interface_key(name: &str) -> Vec<u8> {
    let mut key = name.as_bytes().to_vec();
    key.resize(16, 0);
    key
}

/// What a rule says of a packet that got to its end.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Verdict {
    Drop = 0,
    Accept = 1,
}

/// A packet's property that a rule loads into a register.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Meta {
    /// The name of the interface it came in by.
    InputName = 6,
    /// The name of the interface it goes out by.
    OutputName = 7,
    /// IPv4 or IPv6.
    Family = 15,
}

/// One step of a rule; a rule goes on to the next while each holds.
#[derive(Debug, Clone)]
pub(crate) enum Step<'a> {
    Load(Meta, Register),
    /// The address that the packet comes from, of IPv4.
    LoadSource4(Register),
    In(Register, &'a str),
    NotIn(Register, &'a str),
    Equals(Register, Vec<u8>),
    /// Whether the connection tracker knows the packet as part of, or as belonging to, a connection it saw begin.
    Established,
    /// Counts packets and bytes, as every rule of iptables does.
    Count,
    Say(Verdict),
    /// The sender becomes this host's address on the way out.
    Masquerade,
}

/// A register of the nf_tables machine, of 16 bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Register {
    Verdict = 0,
    First = 1,
    Second = 2,
}

impl Step<'_> {
    fn encode(&self, into: Attributes) -> Attributes {
        const NFT_CMP_EQ: u32 = 0;
        match self {
            Self::Load(meta, register) => {
                expression(into, "meta", Attributes::new().be32(2, *meta as u32).be32(1, *register as u32))
            }
            Self::LoadSource4(register) => {
                const NFT_PAYLOAD_NETWORK_HEADER: u32 = 1;
                let (offset, length) = (12, 4);
                let place = Attributes::new().be32(1, *register as u32).be32(2, NFT_PAYLOAD_NETWORK_HEADER);
                expression(into, "payload", place.be32(3, offset).be32(4, length))
            }
            Self::In(register, set) => expression(into, "lookup", lookup(*register, set)),
            Self::NotIn(register, set) => {
                const NFT_LOOKUP_F_INV: u32 = 1;
                expression(into, "lookup", lookup(*register, set).be32(5, NFT_LOOKUP_F_INV))
            }
            Self::Equals(register, value) => expression(into, "cmp", compare(*register, NFT_CMP_EQ, value)),
            Self::Established => established(into),
            Self::Count => expression(into, "counter", Attributes::new()),
            Self::Say(verdict) => {
                let code = Attributes::new().be32(1, *verdict as u32);
                let data = Attributes::new().nest(2, &code);
                expression(into, "immediate", Attributes::new().be32(1, Register::Verdict as u32).nest(2, &data))
            }
            Self::Masquerade => expression(into, "masq", Attributes::new()),
        }
    }
}

/// `ct state established,related`: load, mask, compare with nothing.
fn established(into: Attributes) -> Attributes {
    const NFT_CT_STATE: u32 = 0;
    const ESTABLISHED_OR_RELATED: u32 = 2 | 4;
    const NFT_CMP_NEQ: u32 = 1;
    let register = Register::First as u32;
    let none = 0u32.to_ne_bytes();
    let into = expression(into, "ct", Attributes::new().be32(2, NFT_CT_STATE).be32(1, register));
    let mask = Attributes::new().bytes(1, &ESTABLISHED_OR_RELATED.to_ne_bytes());
    let xor = Attributes::new().bytes(1, &none);
    let masked = Attributes::new().be32(1, register).be32(2, register).be32(3, 4).nest(4, &mask).nest(5, &xor);
    let into = expression(into, "bitwise", masked);
    expression(into, "cmp", compare(Register::First, NFT_CMP_NEQ, &none))
}

fn compare(register: Register, operation: u32, value: &[u8]) -> Attributes {
    let data = Attributes::new().bytes(1, value);
    Attributes::new().be32(1, register as u32).be32(2, operation).nest(3, &data)
}

fn lookup(register: Register, set: &str) -> Attributes {
    Attributes::new().be32(2, register as u32).text(1, set)
}

#[expect(clippy::needless_pass_by_value, reason = "every caller makes the attributes for this call")]
fn expression(into: Attributes, name: &str, data: Attributes) -> Attributes {
    into.nest(LIST_ELEM, &Attributes::new().text(1, name).nest(2, &data))
}

/// A table of nf_tables: the family and the name that all its messages carry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table {
    pub(crate) family: u8,
    pub(crate) name: &'static str,
}

impl Table {
    pub(crate) fn create(self) -> Request {
        self.request(NEWTABLE, NLM_F_CREATE, "NFT_MSG_NEWTABLE", self.name, &Attributes::new().be32(2, 0))
    }

    pub(crate) fn delete(self) -> Request {
        self.request(DELTABLE, 0, "NFT_MSG_DELTABLE", self.name, &Attributes::new())
    }

    /// A chain that packets pass at `hook`; what no rule decides is accepted.
    pub(crate) fn create_chain(self, name: &str, kind: &str, hook: Hook, priority: i32) -> Request {
        let place = Attributes::new().be32(1, hook as u32).be32(2, priority.cast_unsigned());
        let attributes = Attributes::new().text(3, name).text(7, kind).be32(5, Verdict::Accept as u32).nest(4, &place);
        self.request(NEWCHAIN, NLM_F_CREATE, "NFT_MSG_NEWCHAIN", name, &attributes)
    }

    /// Takes every rule out of a chain.
    pub(crate) fn flush_chain(self, chain: &str) -> Request {
        self.request(DELRULE, 0, "NFT_MSG_DELRULE", chain, &Attributes::new().text(2, chain))
    }

    /// Puts a rule at the end of a chain.
    pub(crate) fn append_rule(self, chain: &str, steps: &[Step<'_>]) -> Request {
        self.rule(chain, NLM_F_CREATE | NLM_F_APPEND, steps)
    }

    /// Puts a rule before all others of a chain, with a comment to know it by.
    pub(crate) fn prepend_rule(self, chain: &str, steps: &[Step<'_>], comment: &str) -> Request {
        self.rule(chain, NLM_F_CREATE, steps).with(&Attributes::new().bytes(7, &comment_note(comment)))
    }

    fn rule(self, chain: &str, flags: u16, steps: &[Step<'_>]) -> Request {
        let expressions = steps.iter().fold(Attributes::new(), |into, step| step.encode(into));
        let attributes = Attributes::new().text(2, chain).nest(4, &expressions);
        self.request(NEWRULE, flags, "NFT_MSG_NEWRULE", chain, &attributes)
    }

    /// `number` tells the sets of one transaction apart.
    pub(crate) fn create_set(self, name: &str, key: Key, number: u32) -> Request {
        let attributes = Attributes::new()
            .text(2, name)
            .be32(3, key.flags())
            .be32(4, key.type_number())
            .be32(5, key.length())
            .be32(10, number)
            .bytes(13, &key.note());
        self.request(NEWSET, NLM_F_CREATE, "NFT_MSG_NEWSET", name, &attributes)
    }

    pub(crate) fn add_elements(self, set: &str, elements: &[Element]) -> Request {
        self.elements(NEWSETELEM, NLM_F_CREATE, "NFT_MSG_NEWSETELEM", set, elements)
    }

    pub(crate) fn delete_elements(self, set: &str, elements: &[Element]) -> Request {
        self.elements(DELSETELEM, 0, "NFT_MSG_DELSETELEM", set, elements)
    }

    /// Takes every element out of a set.
    pub(crate) fn flush_set(self, set: &str) -> Request {
        self.request(DELSETELEM, 0, "NFT_MSG_DELSETELEM", set, &Attributes::new().text(2, set))
    }

    /// Asks for one element; `ENOENT` if table, set or element is not there.
    pub(crate) fn get_element(self, set: &str, element: &Element) -> Request {
        self.elements(GETSETELEM, 0, "NFT_MSG_GETSETELEM", set, std::slice::from_ref(element))
    }

    fn elements(self, kind: u16, flags: u16, call: &'static str, set: &str, elements: &[Element]) -> Request {
        const NFT_SET_ELEM_INTERVAL_END: u32 = 1;
        let list = elements.iter().fold(Attributes::new(), |list, element| {
            let key = Attributes::new().bytes(1, &element.key);
            let one = Attributes::new().nest(1, &key);
            list.nest(LIST_ELEM, &if element.ends_range { one.be32(3, NFT_SET_ELEM_INTERVAL_END) } else { one })
        });
        self.request(kind, flags, call, set, &Attributes::new().text(2, set).nest(3, &list))
    }

    /// How many elements a set has; none where there is no such set.
    pub(crate) fn count_elements(self, connection: &mut Connection, set: &str) -> Result<usize> {
        let replies = self.dump(connection, GETSETELEM, "NFT_MSG_GETSETELEM", &Attributes::new().text(2, set))?;
        let lists = replies.iter().filter_map(|reply| attribute(reply.get(4..)?, 3));
        Ok(lists.map(|list| crate::netlink::attributes(list).count()).sum())
    }

    /// The numbers of the rules of a chain that carry `comment`; none where there is no such chain.
    pub(crate) fn rules_with(self, connection: &mut Connection, chain: &str, comment: &str) -> Result<Vec<u64>> {
        let note = comment_note(comment);
        let rules = self.dump(connection, GETRULE, "NFT_MSG_GETRULE", &Attributes::new().text(2, chain))?;
        let handle = |rule: &Reply| {
            let attributes = rule.get(4..)?;
            let ours = attribute(attributes, 2).map(text)? == chain && attribute(attributes, 7)? == note;
            let handle = attribute(attributes, 3)?.try_into().ok().map(u64::from_be_bytes)?;
            ours.then_some(handle)
        };
        Ok(rules.iter().filter_map(handle).collect())
    }

    /// Asks for one chain; `ENOENT` if it is not there.
    pub(crate) fn get_chain(self, name: &str) -> Request {
        self.request(GETCHAIN, 0, "NFT_MSG_GETCHAIN", name, &Attributes::new().text(3, name))
    }

    /// Takes out the rule with the number `handle`.
    pub(crate) fn delete_rule(self, chain: &str, handle: u64) -> Request {
        let attributes = Attributes::new().text(2, chain).bytes(3, &handle.to_be_bytes());
        self.request(DELRULE, 0, "NFT_MSG_DELRULE", format!("{chain}, handle {handle}"), &attributes)
    }

    fn dump(self, connection: &mut Connection, kind: u16, call: &'static str, more: &Attributes) -> Result<Vec<Reply>> {
        match connection.ask(self.request(kind, NLM_F_DUMP, call, "all", more)) {
            Err(error) if error.is(Errno::NOENT) => Ok(Vec::new()),
            other => other,
        }
    }

    fn request(
        self,
        kind: u16,
        flags: u16,
        call: &'static str,
        object: impl Into<String>,
        more: &Attributes,
    ) -> Request {
        let attributes = Attributes::new().text(1, self.name).and(more);
        let object = format!("{}, {}", self.name, object.into());
        Request::new(NFNL_SUBSYS_NFTABLES << 8 | kind, flags, &header(self.family, 0), call, object).with(&attributes)
    }
}

/// A chain as the kernel tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) family: u8,
    pub(crate) table: String,
    pub(crate) name: String,
    /// The hook of a base chain.
    pub(crate) hook: Option<u32>,
    /// Whether what no rule decides is dropped.
    pub(crate) drops: bool,
}

impl Chain {
    pub(crate) fn parse(reply: &[u8]) -> Option<Self> {
        let (family, attributes) = (*reply.first()?, reply.get(4..)?);
        let be32 = |bytes: &[u8]| bytes.get(..4)?.try_into().ok().map(u32::from_be_bytes);
        let hook = attribute(attributes, 4).and_then(|hook| be32(attribute(hook, 1)?));
        let policy = attribute(attributes, 5).and_then(be32);
        Some(Self {
            family,
            table: text(attribute(attributes, 1)?),
            name: text(attribute(attributes, 3)?),
            hook,
            drops: policy == Some(Verdict::Drop as u32),
        })
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()
}

/// A comment as `nft` and iptables note it beside a rule: type 0, length, text with its NUL.
fn comment_note(comment: &str) -> Vec<u8> {
    let length = u8::try_from(comment.len() + 1).expect("comments of ours are short");
    [&[0, length], comment.as_bytes(), &[0]].concat()
}

/// All the chains of all tables.
pub(crate) fn all_chains(connection: &mut Connection) -> Result<Vec<Chain>> {
    let kind = NFNL_SUBSYS_NFTABLES << 8 | GETCHAIN;
    let request = Request::new(kind, NLM_F_DUMP, &header(0, 0), "NFT_MSG_GETCHAIN", "all");
    Ok(connection.ask(request)?.iter().filter_map(|reply| Chain::parse(reply)).collect())
}

/// The number of the ruleset: every transaction of anybody's gives it another one.
pub(crate) fn generation(connection: &mut Connection) -> Result<u32> {
    let request = Request::new(NFNL_SUBSYS_NFTABLES << 8 | GETGEN, 0, &header(0, 0), "NFT_MSG_GETGEN", "");
    let replies = connection.ask(request)?;
    let id = replies.first().and_then(|reply| attribute(reply.get(4..)?, 1)).and_then(|id| id.try_into().ok());
    Ok(id.map_or(0, u32::from_be_bytes))
}

/// Carries out `requests` as one transaction: all of them or none.
///
/// # Errors
/// `ERESTART` if `generation` was given and the ruleset is another one by now.
pub(crate) fn commit(connection: &mut Connection, requests: Vec<Request>, generation: Option<u32>) -> Result<()> {
    let subsystem = header(0, NFNL_SUBSYS_NFTABLES);
    let condition = generation.map(|id| Attributes::new().be32(NFNL_BATCH_GENID, id)).unwrap_or_default();
    let begin = Request::new(BATCH_BEGIN, 0, &subsystem, "NFNL_MSG_BATCH_BEGIN", "nf_tables").with(&condition);
    let end = Request::new(BATCH_END, 0, &subsystem, "NFNL_MSG_BATCH_END", "nf_tables");
    let mut batch = vec![begin.opening()];
    batch.extend(requests);
    batch.push(end.closing());
    connection.run(&batch)
}

/// `struct nfgenmsg`.
fn header(family: u8, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}
