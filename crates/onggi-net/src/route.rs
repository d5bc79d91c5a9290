//! The dozen rtnetlink messages that a bridge with veth pairs needs. rtnetlink(7).

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

use onggi_sys::Result;

use crate::attachment::Mac;
use crate::netlink::{
    Attributes, Connection, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, Reply, Request, attributes, present,
    u32_at,
};
use crate::subnet::Subnet;

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;

const AF_INET: u8 = 2;
const AF_INET6: u16 = 10;

const IFF_UP: u32 = 1;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const IFLA_NUM_TX_QUEUES: u16 = 31;
const IFLA_NUM_RX_QUEUES: u16 = 32;
const VETH_INFO_PEER: u16 = 1;
const RTEXT_FILTER_SKIP_STATS: u32 = 8;
const IN6_ADDR_GEN_MODE_NONE: u8 = 1;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_BOOT: u8 = 3;
const RTN_UNICAST: u8 = 1;

/// The loopback interface's index, in every network namespace. `LOOPBACK_IFINDEX` in the kernel.
const LOOPBACK: u32 = 1;

/// What we want to know of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) up: bool,
    pub(crate) mtu: u32,
    /// The text that its maker left on it; ours names the state directory that a bridge belongs to.
    pub(crate) alias: String,
}

/// A pair of interfaces that are each other's cable.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Veth<'a> {
    pub(crate) host_name: &'a str,
    pub(crate) bridge: u32,
    pub(crate) peer_name: &'a str,
    pub(crate) peer_namespace: BorrowedFd<'a>,
    pub(crate) peer_mac: Mac,
    pub(crate) mtu: u32,
}

/// The interface `name`, or `None`.
pub(crate) fn link(connection: &mut Connection, name: &str) -> Result<Option<Link>> {
    Ok(connection.ask_for(get_link(name))?.as_deref().and_then(parse_link))
}

/// Brings `lo` up and finds the interface `name`, in one exchange.
pub(crate) fn loopback_up_and_link(connection: &mut Connection, name: &str) -> Result<Option<Link>> {
    let mut outcomes = connection.exchange(&[loopback_up(), get_link(name)])?.into_iter();
    outcomes.next().transpose()?;
    let link = outcomes.next().map(present).transpose()?.flatten();
    Ok(link.as_deref().and_then(parse_link))
}

fn get_link(name: &str) -> Request {
    let wanted = Attributes::new().text(IFLA_IFNAME, name).u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    Request::new(RTM_GETLINK, 0, &link_header(0, 0, 0), "RTM_GETLINK", name).with(&wanted)
}

fn parse_link(reply: &[u8]) -> Option<Link> {
    let mut link = Link { index: u32_at(reply, 4)?, up: u32_at(reply, 8)? & IFF_UP != 0, mtu: 0, alias: String::new() };
    for (kind, value) in attributes(reply.get(16..)?) {
        match kind {
            IFLA_MTU => link.mtu = u32_at(value, 0)?,
            IFLA_IFALIAS => link.alias = String::from_utf8_lossy(value).trim_end_matches('\0').to_owned(),
            _ => {}
        }
    }
    Some(link)
}

pub(crate) fn loopback_up() -> Request {
    Request::new(RTM_NEWLINK, 0, &link_header(LOOPBACK, IFF_UP, IFF_UP), "RTM_NEWLINK", "lo, up")
}

/// A bridge, down. The address is given, or it would change as ports come and go.
pub(crate) fn create_bridge(name: &str, mac: Mac, mtu: u32) -> Request {
    let info = Attributes::new().text(IFLA_INFO_KIND, "bridge");
    let attributes = Attributes::new()
        .text(IFLA_IFNAME, name)
        .bytes(IFLA_ADDRESS, &mac.octets())
        .u32(IFLA_MTU, mtu)
        .nest(IFLA_LINKINFO, &info);
    let flags = NLM_F_CREATE | NLM_F_EXCL;
    Request::new(RTM_NEWLINK, flags, &link_header(0, 0, 0), "RTM_NEWLINK", format!("{name}, bridge")).with(&attributes)
}

/// Leaves a text on an interface.
pub(crate) fn set_alias(index: u32, alias: &str) -> Request {
    // The kernel keeps the text without its end, so it must come without.
    let attributes = Attributes::new().bytes(IFLA_IFALIAS, alias.as_bytes());
    Request::new(RTM_SETLINK, 0, &link_header(index, 0, 0), "RTM_SETLINK", format!("alias {alias}")).with(&attributes)
}

pub(crate) fn set_up(index: u32, name: &str) -> Request {
    Request::new(RTM_SETLINK, 0, &link_header(index, IFF_UP, IFF_UP), "RTM_SETLINK", format!("{name}, up"))
}

/// The pair, its far end born inside the namespace of its owner; then our end up as a port of the bridge.
pub(crate) fn create_veth(veth: &Veth<'_>) -> [Request; 2] {
    let peer = Attributes::raw(&link_header(0, 0, 0))
        .and(&one_queue())
        .text(IFLA_IFNAME, veth.peer_name)
        .bytes(IFLA_ADDRESS, &veth.peer_mac.octets())
        .u32(IFLA_MTU, veth.mtu)
        .u32(IFLA_NET_NS_FD, veth.peer_namespace.as_raw_fd().cast_unsigned());
    let data = Attributes::new().nest(VETH_INFO_PEER, &peer);
    let info = Attributes::new().text(IFLA_INFO_KIND, "veth").nest(IFLA_INFO_DATA, &data);
    let create = one_queue()
        .text(IFLA_IFNAME, veth.host_name)
        .u32(IFLA_MTU, veth.mtu)
        .u32(IFLA_MASTER, veth.bridge)
        .nest(IFLA_LINKINFO, &info);
    // A port has no address of its own: without this it would get a link-local one and announce it on the bridge.
    let inet6 = Attributes::new().bytes(IFLA_INET6_ADDR_GEN_MODE, &[IN6_ADDR_GEN_MODE_NONE]);
    let up = Attributes::new()
        .text(IFLA_IFNAME, veth.host_name)
        .nest(IFLA_AF_SPEC, &Attributes::new().nest(AF_INET6, &inet6));
    let object = |what| format!("{}, {what}", veth.host_name);
    [
        Request::new(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &link_header(0, 0, 0), "RTM_NEWLINK", object("veth"))
            .with(&create),
        Request::new(RTM_SETLINK, 0, &link_header(0, IFF_UP, IFF_UP), "RTM_SETLINK", object("up")).with(&up),
    ]
}

/// A queue per processor, which is the kernel's choice since 5.13, serves XDP programs alone and costs more than all
/// the rest of a pair; packets of a veth wait in no queue of its own.
fn one_queue() -> Attributes {
    Attributes::new().u32(IFLA_NUM_TX_QUEUES, 1).u32(IFLA_NUM_RX_QUEUES, 1)
}

pub(crate) fn delete_link(name: &str) -> Request {
    let attributes = Attributes::new().text(IFLA_IFNAME, name);
    Request::new(RTM_DELLINK, 0, &link_header(0, 0, 0), "RTM_DELLINK", name).with(&attributes)
}

pub(crate) fn add_address(index: u32, address: Ipv4Addr, subnet: Subnet) -> Request {
    let [a, b, c, d] = index.to_ne_bytes();
    let header = [AF_INET, subnet.prefix(), 0, 0, a, b, c, d];
    let attributes = Attributes::new()
        .bytes(IFA_LOCAL, &address.octets())
        .bytes(IFA_ADDRESS, &address.octets())
        .bytes(IFA_BROADCAST, &subnet.broadcast().octets());
    let object = format!("{address}/{}", subnet.prefix());
    Request::new(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &header, "RTM_NEWADDR", object).with(&attributes)
}

pub(crate) fn add_default_route(index: u32, gateway: Ipv4Addr) -> Request {
    let header = [AF_INET, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, 0, RTN_UNICAST, 0, 0, 0, 0];
    let attributes = Attributes::new().bytes(RTA_GATEWAY, &gateway.octets()).u32(RTA_OIF, index);
    let object = format!("default via {gateway}");
    Request::new(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &header, "RTM_NEWROUTE", object).with(&attributes)
}

/// Where this host's own traffic goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    /// Every subnet that a route or an address of an interface claims; not the default route.
    pub(crate) taken: Vec<Subnet>,
    /// The interface of the default route.
    pub(crate) uplink: Option<u32>,
}

/// The host's routes and addresses, without those of the interface `except`.
pub(crate) fn reach(connection: &mut Connection, except: Option<u32>) -> Result<Reach> {
    let mut reach = Reach::default();
    let header = [AF_INET, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for route in connection.ask(Request::new(RTM_GETROUTE, NLM_F_DUMP, &header, "RTM_GETROUTE", "all"))? {
        note_route(&route, except, &mut reach);
    }
    let header = [AF_INET, 0, 0, 0, 0, 0, 0, 0];
    for address in connection.ask(Request::new(RTM_GETADDR, NLM_F_DUMP, &header, "RTM_GETADDR", "all"))? {
        if u32_at(&address, 4) != except {
            reach.taken.extend(subnet_of(&address, 8, IFA_ADDRESS));
        }
    }
    Ok(reach)
}

fn note_route(route: &[u8], except: Option<u32>, reach: &mut Reach) {
    let [_, prefix, _, _, table, _, _, kind, ..] = *route else { return };
    let attribute = |kind| crate::netlink::attribute(route.get(12..).unwrap_or_default(), kind);
    let interface = attribute(RTA_OIF).and_then(|value| u32_at(value, 0));
    if kind != RTN_UNICAST || (interface.is_some() && interface == except) {
        return;
    }
    if prefix > 0 {
        reach.taken.extend(subnet_of(route, 12, RTA_DST));
    } else if table == RT_TABLE_MAIN && reach.uplink.is_none() {
        reach.uplink = interface;
    }
}

/// The subnet whose prefix length is the second byte of `message` and whose address is an attribute.
fn subnet_of(message: &[u8], header: usize, kind: u16) -> Option<Subnet> {
    let octets: [u8; 4] = crate::netlink::attribute(message.get(header..)?, kind)?.try_into().ok()?;
    Subnet::new(Ipv4Addr::from(octets), *message.get(1)?)
}

/// The MTU of the interface `index`.
pub(crate) fn mtu_of(connection: &mut Connection, index: u32) -> Result<Option<u32>> {
    let wanted = Attributes::new().u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    let object = format!("interface {index}");
    let request = Request::new(RTM_GETLINK, 0, &link_header(index, 0, 0), "RTM_GETLINK", object).with(&wanted);
    Ok(connection.ask_for(request)?.as_deref().and_then(parse_link).map(|link| link.mtu))
}

/// How many interfaces are ports of the bridge `index`.
pub(crate) fn count_ports(connection: &mut Connection, index: u32) -> Result<usize> {
    let wanted = Attributes::new().u32(IFLA_MASTER, index).u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    let request = Request::new(RTM_GETLINK, NLM_F_DUMP, &link_header(0, 0, 0), "RTM_GETLINK", "ports").with(&wanted);
    let is_port = |reply: &Reply| {
        let master = crate::netlink::attribute(reply.get(16..).unwrap_or_default(), IFLA_MASTER);
        master.and_then(|value| u32_at(value, 0)) == Some(index)
    };
    // Kernels without the filter send every link.
    Ok(connection.ask(request)?.iter().filter(|reply| is_port(reply)).count())
}

/// `struct ifinfomsg`.
fn link_header(index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&change.to_ne_bytes());
    header
}
