//! The default network: a bridge on the host, a cable from it into each container.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use onggi_fs::{Durability, Lock, LockMode, Root, ensure_dir, write_atomic};
use onggi_sys::Errno;
use onggi_sys::netlink::Protocol;
use serde::{Deserialize, Serialize};

use crate::attachment::{Attachment, Mac};
use crate::error::Error;
use crate::firewall::{Firewall, Member};
use crate::lease::{Lease, Leases, hash};
use crate::netlink::Connection;
use crate::netns::{ensure_sysctl, set_sysctl, within};
use crate::route::{self, Link, Reach, Veth};
use crate::subnet::{self, Subnet};

/// The network's name.
pub const NAME: &str = "bridge";
const SETTINGS: &str = "bridge.json";
const LOCK: &str = "bridge.lock";
/// The interface inside a container.
const INSIDE: &str = "eth0";
const ETHERNET_MTU: u32 = 1500;
/// Making the bridge takes milliseconds; a holder that takes longer than this has been stopped.
const PATIENCE: Duration = Duration::from_secs(20);

/// What was chosen for this network when it was first needed; `networks/bridge.json` in the state directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The bridge's name: `onggi0`.
    pub interface: String,
    /// The addresses of the network; the first is the bridge's own.
    pub subnet: Subnet,
    /// Whether it was onggi that turned on `net.ipv4.ip_forward`.
    #[serde(default)]
    pub enabled_forwarding: bool,
}

/// The default bridge network of one state directory.
///
/// ```text
/// STATE/networks/bridge.json      name and subnet, chosen once
/// RUN/networks/bridge.lock        held while the bridge is made or taken away
/// RUN/networks/bridge/ADDRESS     who has the address
/// ```
///
/// The bridge itself is made when the first container needs it. It carries the state directory's path as its alias,
/// so that two of them on one host never share a bridge. Ready means up: that comes last.
#[derive(Debug)]
pub struct Bridge {
    state: Root,
    run: Root,
    leases: Leases,
    /// What the bridge's alias says.
    owner: String,
}

impl Bridge {
    /// Opens the network of the state directory `state` (`/var/lib/onggi`), whose short-lived part is in `run`
    /// (`/run/onggi`). Nothing but directories is made.
    pub fn open(state: &Path, run: &Path) -> Result<Self, Error> {
        let directory =
            |path: &Path| ensure_dir(path, 0o700).map_err(|source| Error::Directory { path: path.to_owned(), source });
        let state = directory(&state.join("networks"))?;
        let leases = directory(&run.join("networks").join(NAME))?;
        let run = directory(&run.join("networks"))?;
        let owner = format!("onggi {}", onggi_sys::file::name_of(&state).display());
        Ok(Self { state, run, leases: Leases::new(leases), owner: shorten(owner) })
    }

    /// Connects the network namespace `namespace` of the container `id` to the bridge, making the bridge first if
    /// need be: interface `eth0` with an address, the default route, and `lo` up. IPv6 stays off on `eth0`.
    ///
    /// The calling thread is in `namespace` for a moment; other threads never are. On failure nothing of the
    /// container's is left. The interface and its other end go with the namespace; the address stays the
    /// container's until [`Bridge::release`].
    pub fn attach(&self, namespace: BorrowedFd<'_>, id: &str) -> Result<Attachment, Error> {
        let mut host = open_route()?;
        let ready = self.ready(&mut host)?;
        let subnet = ready.settings.subnet;
        let address = self.leases.take(id, subnet).map_err(|source| Error::Lease { verb: "reserve", source })?;
        let attachment = Attachment {
            network: NAME.to_owned(),
            interface: INSIDE.to_owned(),
            host_interface: host_interface(id),
            bridge: ready.settings.interface,
            address: address.ok_or(Error::NoAddress { subnet })?,
            prefix: subnet.prefix(),
            gateway: subnet.gateway(),
            mac: Mac::of(address.unwrap_or(subnet.gateway())),
            mtu: ready.link.mtu,
        };
        connect(&mut host, &ready.link, &attachment, subnet, namespace).inspect_err(|_| {
            // The first error is the one to tell; a lease that stays all the same falls to `retain`.
            drop(host.run(&[route::delete_link(&attachment.host_interface)]));
            drop(self.leases.release(id, Some(subnet)));
        })?;
        Ok(attachment)
    }

    /// Gives the container's address back; nothing if it has none.
    pub fn release(&self, id: &str) -> Result<(), Error> {
        let subnet = self.settings()?.map(|settings| settings.subnet);
        self.leases.release(id, subnet).map_err(|source| Error::Lease { verb: "release", source })
    }

    /// Gives back the addresses of containers that are not `alive`; what was given back.
    pub fn retain(&self, mut alive: impl FnMut(&str) -> bool) -> Result<Vec<Lease>, Error> {
        self.leases.retain(&mut alive).map_err(|source| Error::Lease { verb: "release", source })
    }

    /// Every address in use and the container that has it.
    pub fn list(&self) -> Result<Vec<Lease>, Error> {
        self.leases.list().map_err(|source| Error::Lease { verb: "list", source })
    }

    /// Name and subnet; `None` until the first container was attached.
    pub fn settings(&self) -> Result<Option<Settings>, Error> {
        match self.state.read(SETTINGS, 64 * 1024) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|source| Error::Damaged { source }),
            Err(error) if error.is(Errno::NOENT) => Ok(None),
            Err(source) => Err(Error::Settings { verb: "read", source }),
        }
    }

    /// Chains of this host's own firewall that drop what they do not know, so that containers' traffic does not get
    /// through although ours accepts it: `inet filter forward`. What iptables keeps in nf_tables is opened by
    /// [`Bridge::attach`] and not among them.
    pub fn obstacles(&self) -> Result<Vec<String>, Error> {
        Firewall::open().and_then(|mut firewall| firewall.obstacles()).map_err(|source| Error::Firewall {
            verb: "read",
            bridge: NAME.into(),
            source,
        })
    }

    /// Takes the bridge and its packet filter rules away, if they are there.
    ///
    /// `net.ipv4.ip_forward` stays as it is: others may have come to rely on it.
    ///
    /// # Errors
    /// [`Error::InUse`] while a container has an address or a cable.
    pub fn teardown(&self) -> Result<(), Error> {
        let _lock = self.lock()?;
        let Some(settings) = self.settings()? else { return Ok(()) };
        let bridge = settings.interface.clone();
        let leases = self.list()?.len();
        if leases > 0 {
            return Err(Error::InUse { users: leases });
        }
        let mut host = open_route()?;
        let failed = |source| Error::Bridge { verb: "remove", bridge: bridge.clone(), source };
        if let Some(link) = self.own_link(&mut host, &bridge)? {
            let ports = route::count_ports(&mut host, link.index).map_err(failed)?;
            if ports > 0 {
                return Err(Error::InUse { users: ports });
            }
            host.run(&[route::delete_link(&bridge)]).map_err(failed)?;
        }
        let member = Member { bridge: &bridge, subnet: settings.subnet };
        Firewall::open().and_then(|mut firewall| firewall.remove(&member)).map_err(|source| Error::Firewall {
            verb: "remove",
            bridge: bridge.clone(),
            source,
        })
    }

    /// The bridge, made if it is not there or not whole.
    fn ready(&self, host: &mut Connection) -> Result<Ready, Error> {
        if let Some(ready) = self.look(host)? {
            return Ok(ready);
        }
        let _lock = self.lock()?;
        // Whoever held the lock may have made it.
        match self.look(host)? {
            Some(ready) => Ok(ready),
            None => self.establish(host),
        }
    }

    fn look(&self, host: &mut Connection) -> Result<Option<Ready>, Error> {
        let Some(settings) = self.settings()? else { return Ok(None) };
        let Some(link) = self.own_link(host, &settings.interface)?.filter(|link| link.up) else { return Ok(None) };
        let member = Member { bridge: &settings.interface, subnet: settings.subnet };
        let filtered = Firewall::open().and_then(|mut firewall| firewall.has(&member));
        let bridge = settings.interface.clone();
        let filtered = filtered.map_err(|source| Error::Firewall { verb: "read", bridge, source })?;
        Ok(filtered.then_some(Ready { settings, link }))
    }

    /// Makes everything that is missing, the lock held; the bridge goes up last.
    fn establish(&self, host: &mut Connection) -> Result<Ready, Error> {
        let before = self.settings()?;
        let existing = match &before {
            Some(settings) => self.own_link(host, &settings.interface)?,
            None => None,
        };
        let mut settings = match (before.clone(), &existing) {
            (Some(settings), Some(_)) => settings,
            (before, _) => self.choose(host, before)?,
        };
        settings.enabled_forwarding |= ensure_sysctl("ipv4/ip_forward", "1")?;
        if before.as_ref() != Some(&settings) {
            self.save(&settings)?;
        }
        let link = match existing {
            Some(link) => link,
            None => self.create(host, &settings)?,
        };
        self.complete(host, &settings, &link)?;
        Ok(Ready { settings, link: Link { up: true, ..link } })
    }

    /// A name that nobody has and a subnet that no route of this host reaches; those of `before` if they still do.
    fn choose(&self, host: &mut Connection, before: Option<Settings>) -> Result<Settings, Error> {
        let Reach { taken, .. } = host_reach(host)?;
        let enabled_forwarding = before.as_ref().is_some_and(|settings| settings.enabled_forwarding);
        let (name, subnet) = before.map(|settings| (settings.interface, settings.subnet)).unzip();
        let free = |subnet: &Subnet| !taken.iter().any(|other| subnet.overlaps(*other));
        let subnet = subnet.filter(free).or_else(|| subnet::choose(&taken)).ok_or(Error::NoSubnet)?;
        for candidate in name.iter().cloned().chain((0..100).map(|number| format!("onggi{number}"))) {
            let found = route::link(host, &candidate);
            let found =
                found.map_err(|source| Error::Bridge { verb: "look for", bridge: candidate.clone(), source })?;
            // A crash may have come before our name was on a bridge that we had written down already.
            let half_made = |link: &Link| name.as_ref() == Some(&candidate) && link.alias.is_empty() && !link.up;
            if found.is_none_or(|link| half_made(&link)) {
                return Ok(Settings { interface: candidate, subnet, enabled_forwarding });
            }
        }
        Err(Error::NoName)
    }

    fn save(&self, settings: &Settings) -> Result<(), Error> {
        let text = serde_json::to_vec_pretty(settings).map_err(|source| Error::Damaged { source })?;
        write_atomic(&self.state, SETTINGS, &text, 0o600, Durability::Durable)
            .map_err(|source| Error::Settings { verb: "write", source })
    }

    fn create(&self, host: &mut Connection, settings: &Settings) -> Result<Link, Error> {
        let name = &settings.interface;
        let failed = |source| Error::Bridge { verb: "create", bridge: name.clone(), source };
        let mtu = uplink_mtu(host).map_err(failed)?;
        match host.run(&[route::create_bridge(name, Mac::of(settings.subnet.gateway()), mtu)]) {
            // Left half-made by a crash.
            Err(error) if error.is(Errno::EXIST) => {}
            other => other.map_err(failed)?,
        }
        let link = route::link(host, name).map_err(failed)?;
        let link = link.ok_or_else(|| failed(onggi_sys::Error::new("RTM_GETLINK", name.clone(), Errno::NODEV)))?;
        host.run(&[route::set_alias(link.index, &self.owner)]).map_err(failed)?;
        Ok(link)
    }

    /// Address, settings and packet filter of a bridge that is there; then up.
    fn complete(&self, host: &mut Connection, settings: &Settings, link: &Link) -> Result<(), Error> {
        let (name, subnet) = (&settings.interface, settings.subnet);
        let failed = |source| Error::Bridge { verb: "configure", bridge: name.clone(), source };
        host.run(&[route::add_address(link.index, subnet.gateway(), subnet)]).map_err(failed)?;
        without_ipv6(name)?;
        Firewall::open()
            .and_then(|mut firewall| firewall.install(&Member { bridge: name, subnet }))
            .map_err(|source| Error::Firewall { verb: "install", bridge: name.clone(), source })?;
        host.run(&[route::set_up(link.index, name)]).map_err(failed)
    }

    /// The bridge `name` if it is this network's.
    fn own_link(&self, host: &mut Connection, name: &str) -> Result<Option<Link>, Error> {
        route::link(host, name)
            .map(|link| link.filter(|link| link.alias == self.owner))
            .map_err(|source| Error::Bridge { verb: "look for", bridge: name.to_owned(), source })
    }

    fn lock(&self) -> Result<Lock, Error> {
        Lock::acquire(&self.run, LOCK, LockMode::Exclusive, PATIENCE).map_err(|source| Error::Busy { source })
    }
}

/// A bridge that containers can be connected to.
#[derive(Debug)]
struct Ready {
    settings: Settings,
    link: Link,
}

fn open_route() -> Result<Connection, Error> {
    Connection::open(Protocol::Route).map_err(|source| Error::Bridge { verb: "look for", bridge: NAME.into(), source })
}

fn host_reach(host: &mut Connection) -> Result<Reach, Error> {
    route::reach(host, None).map_err(|source| Error::Bridge {
        verb: "choose a subnet for",
        bridge: NAME.into(),
        source,
    })
}

/// The longest packet that leaves this host undivided.
fn uplink_mtu(host: &mut Connection) -> onggi_sys::Result<u32> {
    let uplink = route::reach(host, None)?.uplink;
    let mtu = uplink.map(|index| route::mtu_of(host, index)).transpose()?.flatten();
    // A jumbo uplink says nothing of the way behind it.
    Ok(mtu.unwrap_or(ETHERNET_MTU).min(ETHERNET_MTU))
}

/// No IPv6 on the bridge, and no router of a container's that this host would believe in.
fn without_ipv6(bridge: &str) -> Result<(), Error> {
    for (setting, value) in [("accept_ra", "0"), ("disable_ipv6", "1")] {
        absent_is_fine(ensure_sysctl(&format!("ipv6/conf/{bridge}/{setting}"), value).map(drop))?;
    }
    Ok(())
}

/// A kernel without IPv6 has no settings for it.
fn absent_is_fine(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(Error::Sysctl { source, .. }) if source.is(Errno::NOENT) => Ok(()),
        other => other,
    }
}

/// The cable, its far end configured inside the container's namespace.
fn connect(
    host: &mut Connection,
    bridge: &Link,
    attachment: &Attachment,
    subnet: Subnet,
    namespace: BorrowedFd<'_>,
) -> Result<(), Error> {
    let mut inside = within(namespace, || {
        // Before the interface is born: one made later inherits this, and nothing of IPv6 ever leaves.
        absent_is_fine(set_sysctl("ipv6/conf/default/disable_ipv6", "1"))?;
        Connection::open(Protocol::Route).map_err(|source| Error::Namespace { source })
    })?;
    let veth = Veth {
        host_name: &attachment.host_interface,
        bridge: bridge.index,
        peer_name: INSIDE,
        peer_namespace: namespace.as_fd(),
        peer_mac: attachment.mac,
        mtu: attachment.mtu,
    };
    plug(host, &veth).map_err(|source| Error::Cable { bridge: attachment.bridge.clone(), source })?;
    configure(&mut inside, attachment, subnet).map_err(|source| Error::Address { address: attachment.address, source })
}

fn plug(host: &mut Connection, veth: &Veth<'_>) -> onggi_sys::Result<()> {
    match host.run(&route::create_veth(veth)) {
        // The container's last namespace is still being taken apart, and our end of its cable with it.
        Err(error) if error.is(Errno::EXIST) => {
            drop(host.run(&[route::delete_link(veth.host_name)]));
            host.run(&route::create_veth(veth))
        }
        other => other,
    }
}

fn configure(inside: &mut Connection, attachment: &Attachment, subnet: Subnet) -> onggi_sys::Result<()> {
    let link = route::loopback_up_and_link(inside, INSIDE)?;
    let link = link.ok_or_else(|| onggi_sys::Error::new("RTM_GETLINK", INSIDE, Errno::NODEV))?;
    inside.run(&[
        route::set_up(link.index, INSIDE),
        route::add_address(link.index, attachment.address, subnet),
        route::add_default_route(link.index, attachment.gateway),
    ])
}

/// The name of the host's end of a container's cable: 15 bytes are all that the kernel has for it.
fn host_interface(id: &str) -> String {
    let plain = id.get(..12).filter(|start| start.bytes().all(|byte| byte.is_ascii_hexdigit()));
    plain.map_or_else(|| format!("og-{:012x}", hash(id) & 0xffff_ffff_ffff), |start| format!("og-{start}"))
}

/// The kernel keeps 255 bytes of an alias; a longer path is told from others by its hash.
fn shorten(owner: String) -> String {
    if owner.len() < 200 { owner } else { format!("onggi {:016x}", hash(&owner)) }
}

#[cfg(test)]
mod tests;
