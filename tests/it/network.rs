//! none, host and bridge, in a network namespace of the test's own.

use std::process::Command;

use onggi_testkit::{Machine, Onggi, captured, needs};

use crate::BINARY;

fn onggi() -> Onggi {
    let onggi = Onggi::in_netns(BINARY).unwrap();
    onggi.busybox("bb").unwrap();
    onggi
}

fn ip(onggi: &Onggi, words: &[&str]) -> String {
    captured(Command::new("ip").args(["-n", onggi.netns().unwrap()]).args(words)).unwrap()
}

fn links(onggi: &Onggi) -> usize {
    ip(onggi, &["-o", "link"]).lines().count()
}

#[test]
fn containers_reach_each_other_by_address() {
    needs!("root", "ip");
    let onggi = onggi();
    onggi
        .run(["run", "-d", "--name", "server", "bb", "sh", "-c", "while :; do echo served | nc -l -p 80; done"])
        .ok()
        .unwrap();
    let address = onggi.run(["inspect", "-f", "{{.NetworkSettings.IPAddress}}", "server"]).line().to_owned();
    assert!(address.parse::<std::net::Ipv4Addr>().is_ok(), "{address}");
    let client = onggi.run([
        "run",
        "--rm",
        "bb",
        "sh",
        "-c",
        &format!("ping -c1 -W5 {address} >/dev/null && nc -w 5 {address} 80 </dev/null"),
    ]);
    assert_eq!((client.code, client.stdout.as_str()), (0, "served\n"), "{}", client.stderr);
    // What the kernel says is what inspect says, and what the container's own hosts file says.
    let pid = onggi.run(["inspect", "-f", "{{.State.Pid}}", "server"]).line().to_owned();
    let addresses =
        captured(Command::new("nsenter").args(["-t", &pid, "-n", "ip", "-o", "-4", "addr", "show", "eth0"])).unwrap();
    assert!(addresses.contains(&format!(" {address}/")), "{addresses}");
    let hosts = onggi.run(["exec", "server", "cat", "/etc/hosts"]).stdout;
    assert!(hosts.lines().any(|line| line.starts_with(&address)), "{hosts}");
}

#[test]
fn outgoing_traffic_comes_from_the_host() {
    needs!("root", "ip");
    let onggi = onggi();
    let host = onggi.netns().unwrap().to_owned();
    let outside = format!("{host}-out");
    captured(Command::new("ip").args(["netns", "add", &outside])).unwrap();
    let _outside = Namespace(outside.clone());
    ip(&onggi, &["link", "add", "up0", "type", "veth", "peer", "name", "eth0", "netns", &outside]);
    ip(&onggi, &["addr", "add", "192.0.2.1/24", "dev", "up0"]);
    ip(&onggi, &["link", "set", "up0", "up"]);
    for words in [
        &["addr", "add", "192.0.2.2/24", "dev", "eth0"][..],
        &["link", "set", "eth0", "up"],
        &["link", "set", "lo", "up"],
    ] {
        captured(Command::new("ip").args(["-n", &outside]).args(words)).unwrap();
    }
    let outcome = onggi.run(["run", "--rm", "bb", "ping", "-c1", "-W5", "192.0.2.2"]);
    // The outside has no route back to the container's own address: only a masqueraded packet is answered.
    assert_eq!(outcome.code, 0, "{}{}", outcome.stdout, outcome.stderr);
}

struct Namespace(String);

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(captured(Command::new("ip").args(["netns", "del", &self.0])));
    }
}

#[test]
fn none_is_loopback_alone_and_host_is_the_hosts() {
    needs!("root", "ip");
    let onggi = onggi();
    assert_eq!(
        onggi
            .run([
                "run",
                "--rm",
                "--network",
                "none",
                "bb",
                "sh",
                "-c",
                "ls /sys/class/net; ping -c1 -W2 127.0.0.1 >/dev/null && echo up"
            ])
            .stdout,
        "lo\nup\n"
    );
    let before = ip(&onggi, &["-o", "link"]);
    let inside = onggi.run(["run", "--rm", "--network", "host", "bb", "sh", "-c", "ip -o link"]).stdout;
    assert_eq!(inside.lines().count(), before.lines().count());
    let namespace = onggi.run(["run", "--rm", "--network", "host", "bb", "readlink", "/proc/self/ns/net"]).stdout;
    let own = captured(
        Command::new("nsenter")
            .arg(format!("--net=/run/netns/{}", onggi.netns().unwrap()))
            .args(["readlink", "/proc/self/ns/net"]),
    )
    .unwrap();
    assert_eq!(namespace, own);
}

#[test]
fn nothing_is_left_of_a_container_that_ended() {
    needs!("root", "ip");
    let onggi = onggi();
    onggi.run(["run", "--rm", "bb", "true"]).ok().unwrap();
    let mark = onggi.dir().to_string_lossy().into_owned();
    let (before, links_before) = (Machine::now(&mark), links(&onggi));
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..10)
            .map(|_| scope.spawn(|| onggi.run(["run", "--rm", "bb", "ip", "-o", "-4", "addr", "show", "eth0"])))
            .collect();
        let mut addresses: Vec<String> = runs.into_iter().map(|run| run.join().unwrap().ok().unwrap().stdout).collect();
        addresses.sort();
        addresses.dedup();
        assert!(addresses.iter().all(|line| line.contains("inet ")), "{addresses:?}");
    });
    // The kernel takes a dead namespace's links away in its own time; the first container's may have been counted.
    onggi_testkit::wait_until("the links are gone", std::time::Duration::from_secs(10), || {
        links(&onggi) <= links_before
    })
    .unwrap();
    // A monitor answers for --rm before its last directory is gone.
    onggi_testkit::wait_until("nothing is left", std::time::Duration::from_secs(10), || {
        Machine::now(&mark).leaked_since(&before).is_empty()
    })
    .unwrap();
    let leases = std::fs::read_dir(onggi.run_dir().join("networks/bridge")).map(Iterator::count).unwrap_or(0);
    assert_eq!(leases, 0, "an address is leased to nobody");
}

#[test]
fn a_v4_network_has_no_v6() {
    needs!("root", "ip");
    let onggi = onggi();
    let outcome =
        onggi.run(["run", "--rm", "bb", "sh", "-c", "cat /proc/net/if_inet6 2>/dev/null | grep -v ' lo$' | wc -l"]);
    assert_eq!(outcome.line().trim(), "0");
}
