//! On real kernels, in network namespaces of the tests' own: a thread's namespace is its own, so the "host" of a test
//! is a thread in a fresh one, and everything made there goes with it.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Output};
use std::thread;

use onggi_sys::netlink::{current_namespace, enter_namespace, unshare_namespace};
use serde_json::Value;

use super::*;

/// Runs `test` as on a host of its own; says aloud why not where this machine does not allow that.
fn on_a_host(test: impl FnOnce() + Send + 'static) {
    if let Some(why) = ["root", "ip", "nft", "ping"].into_iter().find_map(onggi_testkit::lacks) {
        return onggi_testkit::skip(thread::current().name().unwrap_or("onggi-net"), &why);
    }
    let ran = thread::spawn(|| {
        unshare_namespace().unwrap();
        route_run(&[route::loopback_up()]);
        test();
    });
    if let Err(panic) = ran.join() {
        std::panic::resume_unwind(panic);
    }
}

fn route_run(requests: &[crate::netlink::Request]) {
    Connection::open(Protocol::Route).unwrap().run(requests).unwrap();
}

/// A network namespace, empty, without a name.
fn namespace() -> OwnedFd {
    thread::spawn(|| {
        unshare_namespace().unwrap();
        current_namespace().unwrap()
    })
    .join()
    .unwrap()
}

fn inside<T: Send>(namespace: &OwnedFd, work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        scope
            .spawn(|| {
                enter_namespace(namespace.as_fd()).unwrap();
                work()
            })
            .join()
            .unwrap()
    })
}

#[expect(clippy::disallowed_methods, reason = "the tests' judges are programs: ip, nft, ping")]
fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"))
}

fn text(program: &str, arguments: &[&str]) -> String {
    let output = run(program, arguments);
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn json(program: &str, arguments: &[&str]) -> Value {
    serde_json::from_str(&text(program, arguments)).unwrap()
}

fn pings(address: &str) -> bool {
    run("ping", &["-c1", "-W2", "-n", address]).status.success()
}

struct Host {
    dir: tempfile::TempDir,
    bridge: Bridge,
}

impl Host {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bridge = Bridge::open(&dir.path().join("lib"), &dir.path().join("run")).unwrap();
        Self { dir, bridge }
    }
}

fn id(number: usize) -> String {
    format!("{:012x}{number:052x}", number + 0xabc)
}

#[test]
fn two_containers_and_the_host_reach_each_other() {
    on_a_host(|| {
        let host = Host::new();
        let (one, two) = (namespace(), namespace());
        let first = host.bridge.attach(one.as_fd(), &id(1)).unwrap();
        let second = host.bridge.attach(two.as_fd(), &id(2)).unwrap();
        assert_ne!(first.address, second.address);
        inside(&one, || {
            assert!(pings(&second.address.to_string()));
            assert!(pings(&first.gateway.to_string()));
            assert!(pings("127.0.0.1"));
        });
        assert!(pings(&first.address.to_string()));
    });
}

#[test]
fn the_inside_is_what_the_attachment_says() {
    on_a_host(|| {
        let host = Host::new();
        let container = namespace();
        let attachment = host.bridge.attach(container.as_fd(), &id(1)).unwrap();
        let (links, routes, six) = inside(&container, || {
            (json("ip", &["-j", "addr"]), json("ip", &["-j", "route"]), json("ip", &["-j", "-6", "addr"]))
        });
        let eth0 = links.as_array().unwrap().iter().find(|link| link["ifname"] == "eth0").unwrap();
        assert_eq!(eth0["address"], attachment.mac.to_string());
        assert_eq!(eth0["mtu"], attachment.mtu);
        assert_eq!(eth0["addr_info"][0]["local"], attachment.address.to_string());
        assert_eq!(eth0["addr_info"][0]["prefixlen"], attachment.prefix);
        assert_eq!(routes[0]["gateway"], attachment.gateway.to_string());
        let with_ipv6: Vec<_> = six.as_array().unwrap().iter().filter(|link| link["ifname"] == "eth0").collect();
        assert!(with_ipv6.is_empty(), "{with_ipv6:?}");
        let ours = json("ip", &["-j", "-6", "addr"]);
        assert!(!ours.to_string().contains("fe80"), "{ours}");
        // And no router of a container's is believed.
        for (setting, value) in [("accept_ra", "0\n"), ("disable_ipv6", "1\n")] {
            let path = format!("/proc/sys/net/ipv6/conf/{}/{setting}", attachment.bridge);
            assert_eq!(std::fs::read_to_string(path).unwrap(), value, "{setting}");
        }
    });
}

/// A third namespace plays the internet: it knows nothing of the bridge's addresses.
#[test]
fn traffic_leaves_under_the_hosts_address() {
    on_a_host(|| {
        let internet = namespace();
        connect_to_internet(&internet);
        let host = Host::new();
        let container = namespace();
        let attachment = host.bridge.attach(container.as_fd(), &id(1)).unwrap();
        assert_eq!(attachment.mtu, 1400, "the uplink's");
        inside(&container, || assert!(pings("198.51.100.1")));
        // What the container has not asked for does not come in, though the way is known.
        inside(&internet, || {
            let subnet = format!("{}/{}", attachment.gateway, attachment.prefix);
            let network = Subnet::try_from(subnet).unwrap().to_string();
            text("ip", &["route", "add", &network, "via", "198.51.100.2"]);
            assert!(!pings(&attachment.address.to_string()));
        });
    });
}

#[test]
fn nobody_leaves_under_a_foreign_address() {
    on_a_host(|| {
        let internet = namespace();
        connect_to_internet(&internet);
        let host = Host::new();
        let container = namespace();
        let attachment = host.bridge.attach(container.as_fd(), &id(1)).unwrap();
        // All the ways there and back are open but for the rule.
        text("ip", &["route", "add", "203.0.113.9", "dev", &attachment.bridge]);
        inside(&internet, || text("ip", &["route", "add", "203.0.113.9", "via", "198.51.100.2"]));
        let from_foreign = || run("ping", &["-c1", "-W1", "-n", "-I", "203.0.113.9", "198.51.100.1"]).status.success();
        inside(&container, || text("ip", &["addr", "add", "203.0.113.9/32", "dev", "eth0"]));
        assert!(!inside(&container, from_foreign));
        text("nft", &["insert rule inet onggi forward accept"]);
        assert!(inside(&container, from_foreign), "the test's own ways");
    });
}

fn connect_to_internet(internet: &OwnedFd) {
    let path = |fd: &OwnedFd| format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(fd));
    text("ip", &["link", "add", "up0", "mtu", "1400", "type", "veth", "peer", "name", "world"]);
    text("ip", &["link", "set", "world", "netns", &path(internet)]);
    text("ip", &["addr", "add", "198.51.100.2/24", "dev", "up0"]);
    text("ip", &["link", "set", "up0", "up"]);
    text("ip", &["route", "add", "default", "via", "198.51.100.1"]);
    inside(internet, || {
        text("ip", &["addr", "add", "198.51.100.1/24", "dev", "world"]);
        text("ip", &["link", "set", "world", "up"]);
    });
}

#[test]
fn teardown_leaves_the_host_as_it_was() {
    on_a_host(|| {
        text("nft", &["add table inet theirs; add chain inet theirs c"]);
        let before = (text("ip", &["link"]), text("nft", &["list", "ruleset"]));
        let host = Host::new();
        let container = namespace();
        host.bridge.attach(container.as_fd(), &id(1)).unwrap();
        assert!(matches!(host.bridge.teardown(), Err(Error::InUse { users: 1 })));
        drop(container);
        host.bridge.release(&id(1)).unwrap();
        wait_for(|| !text("ip", &["link"]).contains("og-"));
        host.bridge.teardown().unwrap();
        assert_eq!((text("ip", &["link"]), text("nft", &["list", "ruleset"])), before);
        host.bridge.teardown().unwrap();
        // And all of it again, from what was written down.
        host.bridge.attach(namespace().as_fd(), &id(2)).unwrap();
    });
}

/// The kernel takes a namespace apart after its last user, not with it.
fn wait_for(mut condition: impl FnMut() -> bool) {
    for _ in 0..500 {
        if condition() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("it did not come to that");
}

/// As a `kill -9` between any two steps of making the bridge leaves it.
#[test]
fn what_a_crash_left_half_made_is_finished() {
    on_a_host(|| {
        let host = Host::new();
        let whole = host.bridge.attach(namespace().as_fd(), &id(1)).unwrap();
        let alias = format!("ip link set onggi0 alias '{}'", host.bridge.owner);
        let steps = ["ip link del onggi0; nft delete table inet onggi", "ip link add onggi0 type bridge", &alias];
        for done in 1..=steps.len() {
            steps[..done].iter().for_each(|step| drop(text("sh", &["-c", step])));
            let container = namespace();
            let attachment = host.bridge.attach(container.as_fd(), &id(1)).unwrap();
            assert_eq!(attachment, whole, "after {done} steps");
            inside(&container, || assert!(pings(&attachment.gateway.to_string()), "after {done} steps"));
            assert!(text("nft", &["list", "ruleset"]).contains("masquerade"));
            assert_eq!(json("ip", &["-j", "link", "show", "type", "bridge"]).as_array().unwrap().len(), 1);
        }
        text("ip", &["link", "set", "onggi0", "down"]);
        let container = namespace();
        host.bridge.attach(container.as_fd(), &id(1)).unwrap();
        inside(&container, || assert!(pings(&whole.gateway.to_string())));
    });
}

#[test]
fn fifty_at_once_share_one_bridge() {
    on_a_host(|| {
        let host = Host::new();
        let home = current_namespace().unwrap();
        let spaces: Vec<_> = (0..50).map(|_| namespace()).collect();
        let mut addresses: Vec<_> = thread::scope(|scope| {
            let attach = |(number, space): (usize, &OwnedFd)| {
                let (bridge, space) = (&host.bridge, space.as_fd().try_clone_to_owned().unwrap());
                let home = home.as_fd();
                scope.spawn(move || {
                    enter_namespace(home).unwrap();
                    bridge.attach(space.as_fd(), &id(number)).unwrap().address
                })
            };
            let threads: Vec<_> = spaces.iter().enumerate().map(attach).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), 50);
        let links = json("ip", &["-j", "link", "show", "type", "bridge"]);
        assert_eq!(links.as_array().unwrap().len(), 1);
        let rules = text("nft", &["list", "ruleset"]);
        assert_eq!(rules.matches("masquerade").count(), 1, "{rules}");
        assert_eq!(host.bridge.list().unwrap().len(), 50);
        inside(&spaces[0], || assert!(pings(&host.bridge.list().unwrap()[30].address.to_string())));
    });
}

#[test]
fn a_flushed_ruleset_comes_back_with_the_next_container() {
    on_a_host(|| {
        let host = Host::new();
        host.bridge.attach(namespace().as_fd(), &id(1)).unwrap();
        let whole = text("nft", &["list", "ruleset"]);
        text("nft", &["flush", "ruleset"]);
        host.bridge.attach(namespace().as_fd(), &id(2)).unwrap();
        assert_eq!(text("nft", &["list", "ruleset"]), whole);
        // An older onggi's rules go, and its networks stay.
        let older =
            "flush set inet onggi layout; add element inet onggi bridges { other0 }; add rule inet onggi forward drop";
        text("nft", &[older]);
        host.bridge.attach(namespace().as_fd(), &id(3)).unwrap();
        let mended = text("nft", &["list", "ruleset"]);
        assert!(mended.contains("\"other0\""), "{mended}");
        let chains = |text: &str| text.split_once("chain forward").unwrap().1.to_owned();
        assert_eq!(chains(&mended), chains(&whole));
    });
}

#[test]
fn a_firewall_that_drops_is_opened_for_the_bridge_alone() {
    onggi_testkit::needs!("iptables");
    on_a_host(|| {
        let internet = namespace();
        connect_to_internet(&internet);
        text("iptables", &["-P", "FORWARD", "DROP"]);
        let before = text("nft", &["list", "ruleset"]);
        let host = Host::new();
        let container = namespace();
        host.bridge.attach(container.as_fd(), &id(1)).unwrap();
        inside(&container, || assert!(pings("198.51.100.1")));
        let saved = text("iptables-save", &[]);
        assert!(saved.contains("-A FORWARD -i onggi0 -m comment --comment \"onggi onggi0\" -j ACCEPT"), "{saved}");
        assert_eq!(host.bridge.obstacles().unwrap(), Vec::<String>::new());
        // Docker comes later, with a chain for others' rules that is passed first.
        text("iptables", &["-N", "DOCKER-USER"]);
        host.bridge.attach(namespace().as_fd(), &id(2)).unwrap();
        host.bridge.attach(namespace().as_fd(), &id(3)).unwrap();
        let saved = text("iptables-save", &[]);
        assert_eq!(saved.matches("-A DOCKER-USER").count(), 2, "{saved}");
        drop(container);
        (1..4).for_each(|number| host.bridge.release(&id(number)).unwrap());
        wait_for(|| host.bridge.teardown().is_ok());
        text("iptables", &["-X", "DOCKER-USER"]);
        assert_eq!(text("nft", &["list", "ruleset"]), before);
    });
}

#[test]
fn a_firewall_that_is_out_of_reach_is_named() {
    on_a_host(|| {
        text(
            "nft",
            &["add table inet mine; add chain inet mine fw { type filter hook forward priority 0; policy drop; }"],
        );
        let host = Host::new();
        assert_eq!(host.bridge.obstacles().unwrap(), ["inet mine fw"]);
    });
}

#[test]
fn two_state_directories_have_a_bridge_each() {
    on_a_host(|| {
        let (one, two) = (Host::new(), Host::new());
        let (first, second) = (namespace(), namespace());
        let near = one.bridge.attach(first.as_fd(), &id(1)).unwrap();
        let far = two.bridge.attach(second.as_fd(), &id(2)).unwrap();
        assert_ne!(near.bridge, far.bridge);
        assert_ne!(near.gateway, far.gateway);
        // Networks are apart.
        inside(&first, || assert!(!pings(&far.address.to_string())));
        drop((first, second));
        two.bridge.release(&id(2)).unwrap();
        wait_for(|| two.bridge.teardown().is_ok());
        let rules = text("nft", &["list", "ruleset"]);
        assert!(rules.contains(&near.bridge) && !rules.contains(&far.bridge), "{rules}");
        assert!(!text("ip", &["link"]).contains(&far.bridge));
    });
}

#[test]
fn the_subnet_keeps_off_the_hosts_routes() {
    on_a_host(|| {
        text("ip", &["link", "add", "d0", "type", "bridge"]);
        text("ip", &["link", "set", "d0", "up"]);
        text("ip", &["addr", "add", "10.66.3.1/24", "dev", "d0"]);
        text("ip", &["route", "add", "10.67.128.0/17", "dev", "d0"]);
        let host = Host::new();
        host.bridge.attach(namespace().as_fd(), &id(1)).unwrap();
        let settings = host.bridge.settings().unwrap().unwrap();
        assert_eq!(settings.subnet.to_string(), "10.68.0.0/16");
    });
}

#[test]
fn a_failed_attachment_leaves_nothing() {
    on_a_host(|| {
        let host = Host::new();
        host.bridge.attach(namespace().as_fd(), &id(1)).unwrap();
        host.bridge.release(&id(1)).unwrap();
        let not_a_namespace = File::open("/dev/null").unwrap();
        let error = host.bridge.attach(not_a_namespace.as_fd(), &id(2)).unwrap_err();
        assert!(matches!(error, Error::Namespace { .. }), "{error:?}");
        // A namespace that has an eth0 already.
        let taken = namespace();
        inside(&taken, || text("ip", &["link", "add", "eth0", "type", "bridge"]));
        let error = host.bridge.attach(taken.as_fd(), &id(2)).unwrap_err();
        assert!(matches!(error, Error::Cable { .. }), "{error:?}");
        assert!(host.bridge.list().unwrap().is_empty());
        assert!(!text("ip", &["link"]).contains(&host_interface(&id(2))));
    });
}

#[test]
fn a_restart_before_the_old_namespace_is_gone() {
    on_a_host(|| {
        let host = Host::new();
        let (old, new) = (namespace(), namespace());
        let before = host.bridge.attach(old.as_fd(), &id(1)).unwrap();
        let after = host.bridge.attach(new.as_fd(), &id(1)).unwrap();
        assert_eq!(before, after);
        inside(&new, || assert!(pings(&after.gateway.to_string())));
        drop(host.dir);
    });
}

#[test]
fn no_network_still_has_a_loopback() {
    on_a_host(|| {
        let container = namespace();
        crate::loopback_up(container.as_fd()).unwrap();
        inside(&container, || assert!(pings("127.0.0.1")));
        assert!(current_namespace().is_ok());
    });
}

#[test]
fn names_of_cables_fit() {
    assert_eq!(host_interface("3f1c2d4e5a6b7c8d"), "og-3f1c2d4e5a6b");
    assert_eq!(host_interface("my-container").len(), 15);
    assert_eq!(host_interface("x").len(), 15);
}

/// Prints what an attachment costs beside the least that the kernel asks for a namespace.
#[test]
#[ignore = "a measurement, for `cargo test -p onggi-net cost -- --ignored --nocapture`"]
fn cost() {
    on_a_host(|| {
        let host = Host::new();
        let crowd: Vec<_> = (1000..1300).map(|number| (number, namespace())).collect();
        cost_of_some(&host, "alone");
        for (number, space) in &crowd {
            host.bridge.attach(space.as_fd(), &id(*number)).unwrap();
        }
        cost_of_some(&host, "beside 300 others");
    });
}

fn cost_of_some(host: &Host, beside: &str) {
    let mut took: Vec<_> = (1..=200)
        .map(|number| {
            let container = namespace();
            let began = std::time::Instant::now();
            host.bridge.attach(container.as_fd(), &id(number)).unwrap();
            let attached = began.elapsed();
            host.bridge.release(&id(number)).unwrap();
            (attached, began.elapsed())
        })
        .collect();
    took.sort();
    println!("attach {beside}: min {:?}, median {:?}, p90 {:?}", took[0].0, took[100].0, took[180].0);
    println!("attach and release {beside}: median {:?}", took[100].1);
}
