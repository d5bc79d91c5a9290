//! A server that is asked for something: the exchange with who we are put in.

use bytes::Bytes;
use http::StatusCode;
use http::header::HeaderValue;

use crate::auth::{Auth, Scope};
use crate::config::Registries;
use crate::credentials::Credentials;
use crate::endpoint::Endpoint;
use crate::error::Cause;
use crate::host::Origin;
use crate::transport::{Answer, Ask, Transport};

/// One endpoint and our standing with it.
pub(crate) struct Server {
    pub(crate) endpoint: Endpoint,
    auth: Auth,
}

impl Server {
    /// Those that may serve content of `registry`, itself last.
    pub(crate) fn all(registry: &str, registries: &Registries, credentials: &Credentials) -> Vec<Self> {
        let endpoints = Endpoint::all(registry, registries).into_iter();
        endpoints
            .map(|endpoint| {
                let realms = registries.get(&endpoint.name).map(|own| own.token_realms.clone()).unwrap_or_default();
                let auth = Auth::new(endpoint.name.clone(), credentials.clone(), realms);
                Self { endpoint, auth }
            })
            .collect()
    }

    /// Sends `ask`, which needs `scope`; any answer but success is a failure.
    pub(crate) async fn ask(&self, transport: &Transport, ask: &Ask, scope: &Scope) -> Result<Answer, Cause> {
        let secure = self.endpoint.is_secure(transport).await?;
        // An upload may lead to a storage of its own; only the server itself is told who we are.
        let own = Origin::of(&ask.uri) == Origin::of(&self.endpoint.url(transport, &scope.repository, "").await?);
        let mut used = if own { self.auth.header(transport, scope, secure).await? } else { None };
        let mut answer = transport.send_patiently(ask, used.as_ref()).await?;
        if answer.status() == StatusCode::UNAUTHORIZED && own && !answer.elsewhere {
            let worth = self.auth.learn(answer.headers(), scope, used.as_ref()).await;
            let next = if worth { self.auth.header(transport, scope, secure).await? } else { None };
            if next.is_some() && next != used {
                transport.drain(answer.response).await;
                used = next;
                answer = transport.send_patiently(ask, used.as_ref()).await?;
            }
        }
        if answer.status().is_success() {
            return Ok(answer);
        }
        let login = self.auth.login(scope).await;
        Err(answer.into_failure(login, transport.patience().idle).await)
    }

    /// As [`Server::ask`], with the body of the answer read whole.
    pub(crate) async fn read(
        &self,
        transport: &Transport,
        ask: &Ask,
        scope: &Scope,
        what: &'static str,
        limit: usize,
    ) -> Result<(Head, Bytes), Cause> {
        let answer = self.ask(transport, ask, scope).await?;
        let head = Head { url: answer.url(), uri: answer.uri.clone(), headers: answer.headers().clone() };
        let body = answer.read(what, limit, transport.patience().idle).await?;
        Ok((head, body))
    }
}

/// What is left of an answer when its body was read.
pub(crate) struct Head {
    pub(crate) url: String,
    pub(crate) uri: http::Uri,
    pub(crate) headers: http::HeaderMap<HeaderValue>,
}
