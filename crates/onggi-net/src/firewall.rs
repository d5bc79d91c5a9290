//! The one table of ours, `inet onggi`: six rules and four sets, however many networks and containers there are.
//!
//! ```text
//! table inet onggi {
//!     set layout  { type mark; }                          the version of these rules
//!     set bridges { type ifname; }                        our bridges
//!     set pairs   { type ifname . ifname; }               where traffic may go from bridge to bridge: to itself
//!     set subnets { type ipv4_addr; flags interval; }     what leaves under this host's address
//!     chain forward {
//!         type filter hook forward priority filter; policy accept;
//!         oifname @bridges ct state established,related accept
//!         iifname . oifname @pairs accept
//!         iifname @bridges oifname != @bridges ip saddr @subnets accept
//!         iifname @bridges drop
//!         oifname @bridges drop
//!     }
//!     chain postrouting {
//!         type nat hook postrouting priority srcnat; policy accept;
//!         ip saddr @subnets oifname != @bridges masquerade
//!     }
//! }
//! ```
//!
//! A network is three elements. What has nothing to do with our bridges passes untouched. A host's own policy still
//! counts: an accept ends our chain and no other (see `docs/adr/0008-bridge-network.md`).

use onggi_sys::netlink::Protocol;
use onggi_sys::{Errno, Error, Result};

use crate::iptables;
use crate::netlink::{Connection, Request, present};
use crate::nft::{self, Element, Hook, Key, Meta, Register, Step, Table, Verdict, interface_key};
use crate::subnet::Subnet;

const TABLE: Table = Table { family: nft::INET, name: "onggi" };

/// Another number makes the next attachment replace the rules of an older onggi.
const LAYOUT: u32 = 1;

const FORWARD: &str = "forward";
const POSTROUTING: &str = "postrouting";
const BRIDGES: &str = "bridges";
const PAIRS: &str = "pairs";
const SUBNETS: &str = "subnets";
const LAYOUTS: &str = "layout";

const PRIORITY_FILTER: i32 = 0;
const PRIORITY_SRCNAT: i32 = 100;

/// A bridge and the addresses behind it, as the table knows them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member<'a> {
    pub(crate) bridge: &'a str,
    pub(crate) subnet: Subnet,
}

impl Member<'_> {
    fn elements(&self) -> [(&'static str, Vec<Element>); 3] {
        let name = interface_key(self.bridge);
        let mut range = vec![Element::new(self.subnet.network().octets())];
        // A range that reaches the last address of all has no end.
        if let Some(after) = self.subnet.broadcast().to_bits().checked_add(1) {
            range.push(Element::end(after.to_be_bytes()));
        }
        let pair = [name.clone(), name.clone()].concat();
        [(BRIDGES, vec![Element::new(name)]), (PAIRS, vec![Element::new(pair)]), (SUBNETS, range)]
    }
}

/// The host's packet filter, as far as it concerns us.
#[derive(Debug)]
pub(crate) struct Firewall {
    connection: Connection,
}

impl Firewall {
    pub(crate) fn open() -> Result<Self> {
        Connection::open(Protocol::Netfilter).map(|connection| Self { connection })
    }

    /// Whether the table is there, with these rules and with `member`, and nobody's chain is in the way that could be
    /// opened: three look-ups in one exchange.
    pub(crate) fn has(&mut self, member: &Member<'_>) -> Result<bool> {
        let asked = [
            TABLE.get_element(LAYOUTS, &layout()),
            TABLE.get_element(BRIDGES, &Element::new(interface_key(member.bridge))),
            iptables::ask(),
        ];
        let mut answers = self.connection.exchange(&asked)?.into_iter().map(present);
        for _ in 0..2 {
            if answers.next().transpose()?.flatten().is_none() {
                return Ok(false);
            }
        }
        let theirs = answers.next().transpose()?.flatten();
        iptables::is_open(&mut self.connection, theirs.as_deref(), member.bridge)
    }

    /// Makes it so: the rules as they are here and `member` among the networks, whatever was there before.
    pub(crate) fn install(&mut self, member: &Member<'_>) -> Result<()> {
        let mut batch = skeleton();
        batch.extend(rules());
        batch.extend([TABLE.flush_set(LAYOUTS), TABLE.add_elements(LAYOUTS, &[layout()])]);
        batch.extend(member.elements().iter().map(|(set, elements)| TABLE.add_elements(set, elements)));
        nft::commit(&mut self.connection, batch, None)?;
        iptables::open(&mut self.connection, member.bridge)
    }

    /// Takes `member` out, and with the last of them the table.
    pub(crate) fn remove(&mut self, member: &Member<'_>) -> Result<()> {
        // Another onggi may add its network between our look and our act; then look again.
        for _ in 0..64 {
            match self.try_remove(member) {
                Err(error) if is_restart(&error) => {}
                other => return other,
            }
        }
        Err(Error::new("NFT_MSG_DELTABLE", TABLE.name, Errno::AGAIN))
    }

    fn try_remove(&mut self, member: &Member<'_>) -> Result<()> {
        let generation = nft::generation(&mut self.connection)?;
        let ours = TABLE.get_element(BRIDGES, &Element::new(interface_key(member.bridge)));
        let mut batch = match self.connection.ask_for(ours)? {
            None => Vec::new(),
            Some(_) if TABLE.count_elements(&mut self.connection, BRIDGES)? == 1 => vec![TABLE.delete()],
            Some(_) => member.elements().iter().map(|(set, elements)| TABLE.delete_elements(set, elements)).collect(),
        };
        batch.extend(iptables::close(&mut self.connection, member.bridge)?);
        if batch.is_empty() { Ok(()) } else { nft::commit(&mut self.connection, batch, Some(generation)) }
    }

    /// Chains of others that drop what they do not know, our traffic with it, as `nft` would name them.
    pub(crate) fn obstacles(&mut self) -> Result<Vec<String>> {
        let blocks = |chain: &nft::Chain| {
            let sees_ours = matches!(chain.family, nft::INET | nft::IPV4);
            sees_ours && chain.drops && chain.hook == Some(Hook::Forward as u32) && !iptables::is_theirs(chain)
        };
        let chains = nft::all_chains(&mut self.connection)?;
        let name = |chain: &nft::Chain| {
            let family = if chain.family == nft::INET { "inet" } else { "ip" };
            format!("{family} {} {}", chain.table, chain.name)
        };
        Ok(chains.iter().filter(|chain| blocks(chain)).map(name).collect())
    }
}

/// `ERESTART` is the kernel's own and has no name in user space.
fn is_restart(error: &Error) -> bool {
    const ERESTART: i32 = 85;
    error.raw() == ERESTART
}

fn layout() -> Element {
    Element::new(LAYOUT.to_ne_bytes())
}

fn skeleton() -> Vec<Request> {
    vec![
        TABLE.create(),
        TABLE.create_set(LAYOUTS, Key::Mark, 1),
        TABLE.create_set(BRIDGES, Key::Interface, 2),
        TABLE.create_set(PAIRS, Key::InterfacePair, 3),
        TABLE.create_set(SUBNETS, Key::Range4, 4),
        TABLE.create_chain(FORWARD, "filter", Hook::Forward, PRIORITY_FILTER),
        TABLE.create_chain(POSTROUTING, "nat", Hook::Postrouting, PRIORITY_SRCNAT),
        TABLE.flush_chain(FORWARD),
        TABLE.flush_chain(POSTROUTING),
    ]
}

fn rules() -> Vec<Request> {
    use Register::{First, Second};
    let from = Step::Load(Meta::InputName, First);
    let to = Step::Load(Meta::OutputName, First);
    let (accept, drop) = (Step::Say(Verdict::Accept), Step::Say(Verdict::Drop));
    let ours = Step::In(First, BRIDGES);
    let others = Step::NotIn(First, BRIDGES);
    let from_subnet = [
        Step::Load(Meta::Family, First),
        Step::Equals(First, vec![nft::IPV4]),
        Step::LoadSource4(First),
        Step::In(First, SUBNETS),
    ];
    let outwards = [from.clone(), ours.clone(), to.clone(), others.clone()];
    let forward = [
        vec![to.clone(), ours.clone(), Step::Established, accept.clone()],
        vec![from.clone(), Step::Load(Meta::OutputName, Second), Step::In(First, PAIRS), accept.clone()],
        // A container may not speak for somebody else: every one of them can make raw packets.
        outwards.into_iter().chain(from_subnet.clone()).chain([accept]).collect(),
        vec![from, ours.clone(), drop.clone()],
        vec![to.clone(), ours, drop],
    ];
    let masquerade: Vec<_> = from_subnet.into_iter().chain([to, others, Step::Masquerade]).collect();
    let mut rules: Vec<_> = forward.iter().map(|steps| TABLE.append_rule(FORWARD, steps)).collect();
    rules.push(TABLE.append_rule(POSTROUTING, &masquerade));
    rules
}
