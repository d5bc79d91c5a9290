//! Who we are, to one server: credentials, tokens and how long they last.
//!
//! A secret is bound to the server that it was configured for. It goes to that origin and to the token realm that the
//! server names, if that is of the same site or was allowed by configuration, and to nobody else.

use std::collections::HashMap;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Uri};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::challenge::Challenge;
use crate::credentials::{Credential, Credentials, Secret};
use crate::error::{Cause, Login};
use crate::payload::Payload;
use crate::transport::{Ask, Transport, redacted};
use crate::{host, percent};

/// A token service's answer may not be longer.
const TOKEN_LIMIT: usize = 256 * 1024;

/// How long a token lasts that does not say (distribution specification, "Token Authentication").
const DEFAULT_LIFE: Duration = Duration::from_secs(60);

/// A token is not used in its last seconds: it might end on the way.
const MARGIN: Duration = Duration::from_secs(10);

/// The state of our standing with one server.
pub(crate) struct Auth {
    /// The name of the server in configuration and messages.
    name: String,
    credentials: Credentials,
    /// Foreign hosts that may see its credentials.
    realms: Vec<String>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    challenge: Option<Challenge>,
    /// By repository, as podman keeps credentials.
    found: HashMap<String, Option<Credential>>,
    /// By scope.
    tokens: HashMap<String, Token>,
    withheld: Option<String>,
}

#[derive(Clone)]
struct Token {
    header: HeaderValue,
    until: Instant,
}

/// What is to be done, for which a right is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope {
    /// The repository's name on the server.
    pub(crate) repository: String,
    pub(crate) actions: &'static str,
    /// A repository to mount from.
    pub(crate) from: Option<String>,
}

impl Scope {
    fn texts(&self) -> Vec<String> {
        let own = format!("repository:{}:{}", self.repository, self.actions);
        let from = self.from.as_ref().map(|from| format!("repository:{from}:pull"));
        std::iter::once(own).chain(from).collect()
    }
}

/// The answer of a token service.
#[derive(Deserialize)]
struct Granted {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Auth {
    pub(crate) fn new(name: String, credentials: Credentials, realms: Vec<String>) -> Self {
        Self { name, credentials, realms, state: Mutex::default() }
    }

    /// What to send along for `scope`, as far as is known: nothing before the first challenge.
    pub(crate) async fn header(
        &self,
        transport: &Transport,
        scope: &Scope,
        secure: bool,
    ) -> Result<Option<HeaderValue>, Cause> {
        let mut state = self.state.lock().await;
        match state.challenge.clone() {
            None => Ok(None),
            Some(Challenge::Basic) => {
                let credential = self.credential(&mut state, scope).await?;
                Ok(credential.and_then(|found| found.secret.basic()).and_then(|text| sensitive(&text)))
            }
            Some(Challenge::Bearer { realm, service, scope: asked }) => {
                let key = scope.texts().join(" ");
                if let Some(token) = state.tokens.get(&key).filter(|token| token.until > Instant::now()) {
                    return Ok(Some(token.header.clone()));
                }
                let want = Want { realm: &realm, service: service.as_deref(), asked: asked.as_deref(), scope, secure };
                let token = self.fetch(transport, &mut state, &want).await?;
                state.tokens.insert(key, token.clone());
                Ok(Some(token.header))
            }
        }
    }

    /// Learns from a refusal of a request that carried `used`; whether another attempt makes sense.
    pub(crate) async fn learn(&self, headers: &HeaderMap, scope: &Scope, used: Option<&HeaderValue>) -> bool {
        let mut state = self.state.lock().await;
        let Some(challenge) = Challenge::best(headers) else { return false };
        let key = scope.texts().join(" ");
        // Somebody else may have got a new token meanwhile; only the refused one is thrown away.
        let stale = state.tokens.get(&key).is_some_and(|token| Some(&token.header) == used);
        if stale {
            state.tokens.remove(&key);
        }
        let same_way = match (&state.challenge, &challenge) {
            (Some(Challenge::Basic), Challenge::Basic) => true,
            (Some(Challenge::Bearer { realm: known, .. }), Challenge::Bearer { realm, .. }) => known == realm,
            _ => false,
        };
        let renewable = matches!(challenge, Challenge::Bearer { .. });
        state.challenge = Some(challenge);
        used.is_none() || renewable || !same_way
    }

    /// What is known about credentials for `scope`, to explain a refusal.
    pub(crate) async fn login(&self, scope: &Scope) -> Login {
        let state = self.state.lock().await;
        let found = state.found.get(&scope.repository).and_then(Option::as_ref);
        self.login_with(&state, found.filter(|_| state.withheld.is_none()))
    }

    async fn credential(&self, state: &mut State, scope: &Scope) -> Result<Option<Credential>, Cause> {
        if let Some(known) = state.found.get(&scope.repository) {
            return Ok(known.clone());
        }
        let (credentials, name, repository) = (self.credentials.clone(), self.name.clone(), scope.repository.clone());
        // Files are read and helpers run: not on a thread that drives connections.
        let looked = tokio::task::spawn_blocking(move || credentials.find(&name, &repository)).await;
        let found = looked.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
        state.found.insert(scope.repository.clone(), found.clone());
        Ok(found)
    }

    async fn fetch(&self, transport: &Transport, state: &mut State, want: &Want<'_>) -> Result<Token, Cause> {
        let realm = self.check_realm(want)?;
        let mut credential = self.credential(state, want.scope).await?;
        if credential.is_some() && !self.may_see_secrets(&realm, want) {
            state.withheld = Some(host::of(&realm).to_owned());
            credential = None;
        }
        if let Some(Secret::Bearer { token }) = credential.as_ref().map(|found| &found.secret) {
            return Token::lasting(token, DEFAULT_LIFE).ok_or_else(|| self.odd_token(&realm));
        }
        let scopes = want.scopes();
        let (ask, basic) = match credential.as_ref().map(|found| &found.secret) {
            Some(Secret::Identity { token }) => (exchange(&realm, want.service, &scopes, token), None),
            other => {
                let basic = other.and_then(Secret::basic).and_then(|text| sensitive(&text));
                (question(&realm, want.service, &scopes)?, basic)
            }
        };
        let login = self.login_with(state, credential.as_ref());
        let granted = granted(transport, &ask, basic.as_ref(), login).await.map_err(|source| Cause::Token {
            registry: self.name.clone(),
            realm: redacted(&realm),
            source: Box::new(source),
        })?;
        let life = granted.expires_in.map_or(DEFAULT_LIFE, Duration::from_secs).min(Duration::from_secs(86_400));
        let text = granted.token.filter(|token| !token.is_empty()).or(granted.access_token);
        text.and_then(|text| Token::lasting(&text, life)).ok_or_else(|| self.odd_token(&realm))
    }

    fn login_with(&self, state: &State, credential: Option<&Credential>) -> Login {
        let registry = self.name.clone();
        match (credential, &state.withheld) {
            (Some(used), _) => Login::Used { registry, from: used.from.clone() },
            (None, Some(realm)) => Login::Withheld { registry, realm: realm.clone() },
            (None, None) => Login::None { registry },
        }
    }

    fn check_realm(&self, want: &Want<'_>) -> Result<Uri, Cause> {
        let refused = |reason: &str| Cause::Realm {
            registry: self.name.clone(),
            realm: crate::document::printable(want.realm),
            reason: reason.to_owned(),
        };
        let realm: Uri = want.realm.parse().map_err(|_| refused("it is not a URL"))?;
        match realm.scheme_str() {
            Some("https") => {}
            Some("http") if !want.secure => {}
            Some("http") => return Err(refused("it is plain HTTP, the registry is not")),
            _ => return Err(refused("it is neither http nor https")),
        }
        match realm.authority() {
            Some(authority) if !authority.as_str().contains('@') => Ok(realm),
            _ => Err(refused("it must name a host and no user")),
        }
    }

    fn may_see_secrets(&self, realm: &Uri, want: &Want<'_>) -> bool {
        let server = host::of_authority(crate::endpoint::network_name(&self.name));
        let realm_host = host::of(realm);
        let allowed = self.realms.iter().any(|allowed| allowed.eq_ignore_ascii_case(realm_host));
        // Plain HTTP to another host than the one that was configured to be spoken to so is another matter.
        let downgraded = realm.scheme_str() == Some("http") && want.secure;
        !downgraded && (allowed || host::same_site(server, realm_host))
    }

    fn odd_token(&self, realm: &Uri) -> Cause {
        let reason = format!("there is no usable token for {} in it", self.name);
        Cause::Protocol { url: redacted(realm), reason }
    }
}

/// Asks the token service, again if it is only busy.
async fn granted(
    transport: &Transport,
    ask: &Ask,
    basic: Option<&HeaderValue>,
    login: Login,
) -> Result<Granted, Cause> {
    let patience = transport.patience();
    let answer = transport.send_patiently(ask, basic).await?;
    if !answer.status().is_success() {
        return Err(answer.into_failure(login, patience.idle).await);
    }
    let url = answer.url();
    let body = answer.read("a token", TOKEN_LIMIT, patience.idle).await?;
    serde_json::from_slice(&body)
        .map_err(|_| Cause::Protocol { url, reason: "that is not a token service's JSON".into() })
}

/// A token that is needed.
struct Want<'a> {
    realm: &'a str,
    service: Option<&'a str>,
    /// The scope that the challenge asked for.
    asked: Option<&'a str>,
    scope: &'a Scope,
    /// Whether the server that names the realm is spoken to by TLS.
    secure: bool,
}

impl Want<'_> {
    /// What we need, and what the server asked for if that is about the same repository.
    fn scopes(&self) -> Vec<String> {
        let mut scopes = self.scope.texts();
        let own = format!("repository:{}:", self.scope.repository);
        let asked = self.asked.unwrap_or_default().split(' ').filter(|asked| asked.starts_with(&own));
        for asked in asked {
            let covered =
                asked.rsplit(':').next().unwrap_or_default().split(',').all(|a| self.scope.actions.contains(a));
            if !covered {
                scopes.push(asked.to_owned());
            }
        }
        scopes
    }
}

/// A token by GET (distribution specification, "Token Authentication").
fn question(realm: &Uri, service: Option<&str>, scopes: &[String]) -> Result<Ask, Cause> {
    let mut pairs: Vec<String> = realm.query().map(str::to_owned).into_iter().collect();
    pairs.extend(service.map(|service| format!("service={}", percent::encode(service))));
    pairs.extend(scopes.iter().map(|scope| format!("scope={}", percent::encode(scope))));
    let authority = realm.authority().map_or("", |authority| authority.as_str());
    let scheme = realm.scheme_str().unwrap_or("https");
    let text = format!("{scheme}://{authority}{}?{}", realm.path(), pairs.join("&"));
    let uri = text.parse().map_err(|_| Cause::Protocol { url: redacted(realm), reason: "that is not a URL".into() })?;
    Ok(Ask::new(Method::GET, uri))
}

/// A token for an identity token (distribution specification, "OAuth2").
fn exchange(realm: &Uri, service: Option<&str>, scopes: &[String], identity: &str) -> Ask {
    let form = format!(
        "grant_type=refresh_token&refresh_token={}&service={}&scope={}&client_id=onggi",
        percent::encode(identity),
        percent::encode(service.unwrap_or_default()),
        percent::encode(&scopes.join(" "))
    );
    Ask::new(Method::POST, realm.clone())
        .with(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"))
        .carrying(Payload::Bytes(form.into()))
        .bound()
}

impl Token {
    fn lasting(text: &str, life: Duration) -> Option<Self> {
        let header = sensitive(&format!("Bearer {text}"))?;
        Some(Self { header, until: Instant::now() + life.saturating_sub(MARGIN).max(life / 2) })
    }
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
