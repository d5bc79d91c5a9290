//! Who sees which secret.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use onggi_diag::{Diagnose, Kind};
use onggi_testkit::{FakeServer, Reply, Seen};

use crate::{client, client_with, image, run, told};

const MANIFEST: &str = r#"{"schemaVersion":2}"#;
/// `user:secret`
const BASIC: &str = "Basic dXNlcjpzZWNyZXQ=";

fn auths(host: &str) -> String {
    format!(r#"{{"auths":{{"{host}":{{"auth":"dXNlcjpzZWNyZXQ="}}}}}}"#)
}

fn bearer(realm: &str) -> Reply {
    let scope = "repository:team/app:pull";
    Reply::new(401, "").with("WWW-Authenticate", format!(r#"Bearer realm="{realm}",service="tests",scope="{scope}""#))
}

/// A registry that wants the token `good` from `realm()`.
fn guarded(realm: impl Fn() -> String + Send + Sync + 'static) -> FakeServer {
    FakeServer::start(move |seen| match seen.header("authorization") {
        Some("Bearer good") => Reply::new(200, MANIFEST),
        _ => bearer(&realm()),
    })
    .unwrap()
}

fn headers(seen: &[Seen]) -> Vec<Option<&str>> {
    seen.iter().map(|seen| seen.header("authorization")).collect()
}

#[test]
fn a_token_is_fetched_once_with_the_password_and_used() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = FakeServer::start(|_| Reply::new(200, r#"{"token":"good","expires_in":300}"#)).unwrap();
    let realm = format!("http://{}/token?x=1", tokens.host());
    let registry = guarded(move || realm.clone());
    let client = client_with(dir.path(), &auths(&registry.host()));
    run(async {
        client.manifest(&image(&registry.host())).await.unwrap();
        client.manifest(&image(&registry.host())).await.unwrap();
    });
    let asked = tokens.seen();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].target, "/token?x=1&service=tests&scope=repository%3Ateam%2Fapp%3Apull");
    assert_eq!(asked[0].header("authorization"), Some(BASIC));
    // The password itself never goes to the registry, the token goes with each request after the first.
    let good = Some("Bearer good");
    assert_eq!(headers(&registry.seen()), [None, good, good]);
}

#[test]
fn an_identity_token_is_exchanged_by_post() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = FakeServer::start(|_| Reply::new(200, r#"{"access_token":"good"}"#)).unwrap();
    let realm = format!("http://{}/token", tokens.host());
    let registry = guarded(move || realm.clone());
    let text = format!(r#"{{"auths":{{"{}":{{"identitytoken":"refresh/me"}}}}}}"#, registry.host());
    run(client_with(dir.path(), &text).manifest(&image(&registry.host()))).unwrap();
    let asked = tokens.seen();
    let body = String::from_utf8(asked[0].body.clone()).unwrap();
    assert_eq!(asked[0].method, "POST");
    assert!(body.contains("grant_type=refresh_token&refresh_token=refresh%2Fme&service=tests"), "{body}");
    assert_eq!(asked[0].header("authorization"), None);
}

#[test]
fn a_token_that_has_run_out_is_renewed() {
    let count = Arc::new(AtomicUsize::new(0));
    let tokens = FakeServer::start(|_| Reply::new(200, r#"{"token":"good"}"#)).unwrap();
    let realm = format!("http://{}/token", tokens.host());
    let requests = Arc::clone(&count);
    let registry = FakeServer::start(move |seen| {
        let number = requests.fetch_add(1, Ordering::SeqCst);
        // The token is refused once although it was good: the third request.
        match seen.header("authorization") {
            Some("Bearer good") if number != 2 => Reply::new(200, MANIFEST),
            _ => bearer(&realm),
        }
    })
    .unwrap();
    let client = client();
    // A renewed token looks the same here, so the refusal stands: the second attempt needs another one to be made.
    run(async {
        client.manifest(&image(&registry.host())).await.unwrap();
        let error = client.manifest(&image(&registry.host())).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Denied);
        client.manifest(&image(&registry.host())).await.unwrap();
    });
    assert_eq!(tokens.seen().len(), 2);
}

#[test]
fn basic_credentials_go_out_only_when_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let registry = FakeServer::start(|seen| match seen.header("authorization") {
        Some(BASIC) => Reply::new(200, MANIFEST),
        _ => Reply::new(401, "").with("WWW-Authenticate", "Basic realm=\"x\""),
    })
    .unwrap();
    let client = client_with(dir.path(), &auths(&registry.host()));
    run(client.manifest(&image(&registry.host()))).unwrap();
    assert_eq!(headers(&registry.seen()), [None, Some(BASIC)]);
}

#[test]
fn without_credentials_the_refusal_says_where_they_would_be_read() {
    let document = r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
    let registry =
        FakeServer::start(move |_| Reply::new(401, document).with("WWW-Authenticate", "Basic realm=\"x\"")).unwrap();
    let error = run(client().manifest(&image(&registry.host()))).unwrap_err();
    assert_eq!(error.kind(), Kind::Denied);
    let text = told(&error);
    assert!(text.contains("401 Unauthorized: UNAUTHORIZED: authentication required"), "{text}");
    assert!(text.contains("hint: no credentials are known for 127.0.0.1"), "{text}");
    assert_eq!(registry.seen().len(), 1);
}

/// A host that is this machine, and that nobody would take for the same site as an address of it.
#[test]
fn a_password_is_not_given_to_a_foreign_token_realm() {
    let dir = tempfile::tempdir().unwrap();
    let registry = guarded(|| "http://tokens.invalid/token".to_owned());
    let client = client_with(dir.path(), &auths(&registry.host()));
    let error = run(client.manifest(&image(&registry.host()))).unwrap_err();
    // There is no such host; what counts is that nothing was sent to it with a password, and that it is told.
    let text = told(&error);
    assert!(text.contains("cannot get a token"), "{text}");
}

#[test]
fn a_foreign_realm_behind_a_proxy_sees_no_password() {
    // The proxy plays the foreign host: it sees all that would have been sent there.
    let dir = tempfile::tempdir().unwrap();
    let evil = FakeServer::start(|_| Reply::new(200, r#"{"token":"weak"}"#)).unwrap();
    let registry = guarded(|| "http://tokens.invalid/token".to_owned());
    let proxy = format!("http://{}", evil.host());
    let variable = |name: &str| (name == "http_proxy").then(|| proxy.clone());
    let path = dir.path().join("config.json");
    std::fs::File::create(&path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, auths(&registry.host()).as_bytes()))
        .unwrap();
    let mut config = onggi_registry::Config::discover(variable, &[] as &[&str]).unwrap();
    config.credentials = onggi_registry::Credentials::in_files([&path]);
    config.patience = crate::quick();
    let error = run(onggi_registry::Client::new(config).manifest(&image(&registry.host()))).unwrap_err();
    let seen = evil.seen();
    assert_eq!(seen.len(), 1);
    assert!(seen[0].target.starts_with("http://tokens.invalid/token?service=tests"), "{}", seen[0].target);
    assert_eq!(headers(&seen), [None]);
    let text = told(&error);
    assert!(text.contains("not sent to its token realm on the foreign host tokens.invalid"), "{text}");
    assert!(text.contains("token-realms"), "{text}");
}

#[test]
fn a_redirect_to_another_origin_takes_no_authorization_along() {
    let dir = tempfile::tempdir().unwrap();
    let cdn = FakeServer::start(|_| Reply::new(200, MANIFEST)).unwrap();
    let elsewhere = format!("http://{}/signed?sig=abc", cdn.host());
    let registry = FakeServer::start(move |seen| match seen.header("authorization") {
        Some(BASIC) => Reply::new(307, "").with("Location", &elsewhere),
        _ => Reply::new(401, "").with("WWW-Authenticate", "Basic"),
    })
    .unwrap();
    let client = client_with(dir.path(), &auths(&registry.host()));
    run(client.manifest(&image(&registry.host()))).unwrap();
    assert_eq!(headers(&cdn.seen()), [None]);
}

#[test]
fn who_was_redirected_to_cannot_ask_for_the_password() {
    let dir = tempfile::tempdir().unwrap();
    let own = Arc::new(OnceLock::<String>::new());
    let realm = Arc::clone(&own);
    let evil = FakeServer::start(move |seen| {
        if seen.path() == "/token" {
            return Reply::new(200, r#"{"token":"x"}"#);
        }
        bearer(&format!("http://{}/token", realm.get().unwrap()))
    })
    .unwrap();
    own.set(evil.host()).unwrap();
    let elsewhere = format!("http://{}/blob", evil.host());
    let registry = FakeServer::start(move |_| Reply::new(307, "").with("Location", &elsewhere)).unwrap();
    let client = client_with(dir.path(), &auths(&registry.host()));
    let error = run(client.manifest(&image(&registry.host()))).unwrap_err();
    assert_eq!(error.kind(), Kind::Denied);
    assert_eq!(headers(&evil.seen()), [None]);
}

#[test]
fn odd_tokens_are_refused() {
    for (body, expected) in [
        ("not json", "not a token service's JSON"),
        ("{}", "no usable token"),
        (r#"{"token":"a\r\nb"}"#, "no usable token"),
    ] {
        let tokens = FakeServer::start(move |_| Reply::new(200, body)).unwrap();
        let realm = format!("http://{}/token", tokens.host());
        let registry = guarded(move || realm.clone());
        let text = told(&run(client().manifest(&image(&registry.host()))).unwrap_err());
        assert!(text.contains(expected), "{text}");
    }
    let registry = guarded(|| "ftp://x/".to_owned());
    let error = run(client().manifest(&image(&registry.host()))).unwrap_err();
    assert!(told(&error).contains("refused the token realm ftp://x/"), "{}", told(&error));
    assert_eq!(error.kind(), Kind::Hostile);
}

#[test]
fn a_token_service_that_floods_is_cut_off() {
    let tokens = FakeServer::start(|_| Reply::new(200, vec![b' '; 1 << 20]).length(None)).unwrap();
    let realm = format!("http://{}/token", tokens.host());
    let registry = guarded(move || realm.clone());
    let error = run(client().manifest(&image(&registry.host()))).unwrap_err();
    assert!(told(&error).contains("more than the 262144 bytes that a token may have"), "{}", told(&error));
}
