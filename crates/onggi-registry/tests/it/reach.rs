//! Servers that cannot be reached, hang, or send in circles; proxies.

use std::time::Instant;

use onggi_diag::{Diagnose, Kind};
use onggi_oci::Descriptor;
use onggi_registry::{Client, Config};
use onggi_testkit::{FakeServer, Reply};

use crate::{client, image, quick, run, told};

#[test]
fn a_registry_that_says_nothing_is_given_up() {
    let server = FakeServer::start(|_| Reply::new(200, "{").length(Some(100)).then_hang()).unwrap();
    let began = Instant::now();
    let error = run(client().manifest(&image(&server.host()))).unwrap_err();
    assert!(began.elapsed().as_secs() < 4);
    assert_eq!(error.kind(), Kind::Unavailable);
    let expected = format!("GET http://{}/v2/team/app/manifests/1: no further bytes for 0.5 s", server.host());
    assert!(told(&error).ends_with(&expected), "{}", told(&error));
}

#[test]
fn a_blob_that_stops_in_the_middle_is_given_up() {
    let server = FakeServer::start(|_| Reply::new(200, "half").length(Some(8)).then_hang()).unwrap();
    let descriptor = Descriptor::of("x", b"halfhalf");
    let error = run(async {
        let mut blob = client().blob(&image(&server.host()), &descriptor, 0, 0).await.unwrap();
        assert_eq!(blob.next().await.unwrap().unwrap(), "half");
        blob.next().await.unwrap_err()
    });
    assert!(told(&error).contains("no further bytes"), "{}", told(&error));
    assert!(told(&error).starts_with("cannot fetch blob sha256:"), "{}", told(&error));
}

#[test]
fn a_port_that_accepts_and_never_answers_is_given_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let error = run(client().manifest(&image(&host))).unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(told(&error).contains("no answer for"), "{}", told(&error));
}

#[test]
fn nobody_there() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = run(client().manifest(&image(&port.to_string()))).unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(told(&error).contains(&format!("cannot connect to {port}\nConnection refused")), "{}", told(&error));
}

#[test]
fn redirects_end() {
    let server = FakeServer::start(|seen| Reply::new(307, "").with("Location", format!("{}x", seen.target))).unwrap();
    let error = run(client().manifest(&image(&server.host()))).unwrap_err();
    assert!(told(&error).contains("there were more than 10 before it"), "{}", told(&error));
    assert_eq!(server.seen().len(), 11);
    for location in ["file:///etc/passwd", "gopher://x/", "http://u:p@127.0.0.1/"] {
        let server = FakeServer::start(move |_| Reply::new(302, "").with("Location", location)).unwrap();
        let error = run(client().manifest(&image(&server.host()))).unwrap_err();
        assert_eq!(error.kind(), Kind::Hostile, "{}", told(&error));
    }
}

#[test]
fn headers_have_a_limit() {
    let server = FakeServer::start(|_| Reply::new(200, "{}").with("X", "y".repeat(1 << 20))).unwrap();
    let error = run(client().manifest(&image(&server.host()))).unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{}", told(&error));
}

#[test]
fn what_is_not_http_is_an_error() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(5).flatten() {
            drop(std::io::Write::write_all(&mut { stream }, b"220 mail ESMTP\r\n"));
        }
    });
    let error = run(client().manifest(&image(&host))).unwrap_err();
    assert!(told(&error).contains("broke off"), "{}", told(&error));
}

#[test]
fn a_proxy_is_asked_with_the_whole_url_and_its_own_password() {
    let proxy = FakeServer::start(|_| Reply::new(200, "{}")).unwrap();
    let url = format!("http://me:pw@{}", proxy.host());
    let variable = |name: &str| (name == "HTTP_PROXY").then(|| url.clone());
    let mut config = Config::discover(variable, &[] as &[&str]).unwrap();
    config.patience = quick();
    config.registries =
        onggi_registry::Registries::parse("[registry.\"far.invalid\"]\nmirrors = ['http://far.invalid']").unwrap();
    let image = "far.invalid/team/app:1".parse().unwrap();
    run(Client::new(config).manifest(&image)).unwrap();
    let seen = proxy.seen();
    assert_eq!(seen[0].target, "http://far.invalid/v2/team/app/manifests/1?ns=far.invalid");
    assert_eq!(seen[0].header("proxy-authorization"), Some("Basic bWU6cHc="));
    assert_eq!(seen[0].header("authorization"), None);
}

#[test]
fn a_proxy_that_refuses_the_tunnel_is_named() {
    let proxy = FakeServer::start(|_| Reply::new(407, "")).unwrap();
    let url = format!("http://{}", proxy.host());
    let variable = |name: &str| (name == "HTTPS_PROXY").then(|| url.clone());
    let mut config = Config::discover(variable, &[] as &[&str]).unwrap();
    config.patience = quick();
    let error = run(Client::new(config).manifest(&"far.invalid/a:1".parse().unwrap())).unwrap_err();
    let text = told(&error);
    assert!(text.contains(&format!("cannot reach far.invalid:443 through the proxy {}", proxy.host())), "{text}");
    assert!(text.contains("HTTP/1.1 407"), "{text}");
    assert_eq!(proxy.seen()[0].method, "CONNECT");
}
