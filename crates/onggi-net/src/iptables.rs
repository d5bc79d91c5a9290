//! The chain that iptables keeps in nf_tables, `ip filter FORWARD`: Docker and ufw make it drop what they do not know,
//! and an accept in a chain of ours does not overrule that.
//!
//! Where it drops, two rules at the head of it let a bridge's packets on to our own chain, which decides:
//!
//! ```text
//! -A FORWARD -i onggi0 -m comment --comment "onggi onggi0" -j ACCEPT
//! -A FORWARD -o onggi0 -m comment --comment "onggi onggi0" -j ACCEPT
//! ```
//!
//! They are of the form that iptables writes itself, so it lists and saves them. With Docker they go into
//! `DOCKER-USER`, which is there for that and which Docker leaves alone. The older iptables, which is not part of
//! nf_tables, is out of reach.

use onggi_sys::Result;

use crate::netlink::{Connection, Request};
use crate::nft::{self, Chain, Meta, Register, Step, Table, Verdict};

const TABLE: Table = Table { family: nft::IPV4, name: "filter" };
const FORWARD: &str = "FORWARD";
const DOCKER: &str = "DOCKER-USER";

/// Asks for the chain.
pub(crate) fn ask() -> Request {
    TABLE.get_chain(FORWARD)
}

/// Whether the chain, as the kernel answered, lets the bridge's packets pass.
pub(crate) fn is_open(connection: &mut Connection, answer: Option<&[u8]>, bridge: &str) -> Result<bool> {
    if !answer.and_then(Chain::parse).is_some_and(|chain| chain.drops) {
        return Ok(true);
    }
    let place = place(connection)?;
    Ok(!TABLE.rules_with(connection, place, &comment(bridge))?.is_empty())
}

/// Lets the bridge's packets pass, if the chain is there and drops.
pub(crate) fn open(connection: &mut Connection, bridge: &str) -> Result<()> {
    let answer = connection.ask_for(ask())?;
    if is_open(connection, answer.as_deref(), bridge)? {
        return Ok(());
    }
    let place = place(connection)?;
    let rule = |meta| {
        let name = [bridge.as_bytes(), &[0]].concat();
        let steps = [
            Step::Load(meta, Register::First),
            Step::Equals(Register::First, name),
            Step::Count,
            Step::Say(Verdict::Accept),
        ];
        TABLE.prepend_rule(place, &steps, &comment(bridge))
    };
    nft::commit(connection, vec![rule(Meta::OutputName), rule(Meta::InputName)], None)
}

/// The requests that take the bridge's rules out, wherever they are.
pub(crate) fn close(connection: &mut Connection, bridge: &str) -> Result<Vec<Request>> {
    let mut requests = Vec::new();
    for chain in [FORWARD, DOCKER] {
        let handles = TABLE.rules_with(connection, chain, &comment(bridge))?;
        requests.extend(handles.into_iter().map(|handle| TABLE.delete_rule(chain, handle)));
    }
    Ok(requests)
}

/// Whether `chain` is the one that we can open.
pub(crate) fn is_theirs(chain: &Chain) -> bool {
    chain.family == TABLE.family && chain.table == TABLE.name && chain.name == FORWARD
}

fn place(connection: &mut Connection) -> Result<&'static str> {
    let docker = connection.ask_for(TABLE.get_chain(DOCKER))?;
    Ok(if docker.is_some() { DOCKER } else { FORWARD })
}

fn comment(bridge: &str) -> String {
    format!("onggi {bridge}")
}
