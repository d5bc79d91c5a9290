//! `WWW-Authenticate`: how a registry wants to be told who we are. RFC 9110, section 11.6.1.

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

/// More challenges than this in one answer are not read.
const LIMIT: usize = 16;

/// A way to authenticate that a registry offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// Name and password with every request.
    Basic,
    /// A token from a token service.
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

impl Challenge {
    /// The best that `headers` offer: a token before a password.
    pub(crate) fn best(headers: &HeaderMap) -> Option<Self> {
        let values = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let offered: Vec<_> = values.flat_map(parse).take(LIMIT).collect();
        let bearer = offered.iter().find(|challenge| matches!(challenge, Self::Bearer { .. }));
        bearer.or(offered.first()).cloned()
    }

    fn from_parts(scheme: &str, parameters: &[(String, String)]) -> Option<Self> {
        let get = |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let scope = get("scope").filter(|scope| !scope.is_empty());
        Some(Self::Bearer { realm: get("realm")?, service: get("service"), scope })
    }
}

/// The challenges in one header value, those that we know.
fn parse(value: &str) -> Vec<Challenge> {
    let mut found = Vec::new();
    let mut current: Option<(String, Vec<(String, String)>)> = None;
    for item in items(value) {
        let (word, rest) = item.split_once(' ').unwrap_or((&item, ""));
        // A word without `=` begins a challenge; its first parameter may follow after a space.
        let parameter = if word.contains('=') {
            item.as_str()
        } else {
            found.extend(current.take().and_then(|(scheme, parameters)| Challenge::from_parts(&scheme, &parameters)));
            current = Some((word.to_owned(), Vec::new()));
            rest.trim()
        };
        if let (Some((key, value)), Some((_, parameters))) = (parameter.split_once('='), &mut current) {
            parameters.push((key.trim().to_ascii_lowercase(), unquote(value.trim())));
        }
    }
    found.extend(current.and_then(|(scheme, parameters)| Challenge::from_parts(&scheme, &parameters)));
    found
}

/// `value` cut at the commas that are not in quotes.
fn items(value: &str) -> Vec<String> {
    let (mut items, mut item) = (Vec::new(), String::new());
    let (mut quoted, mut escaped) = (false, false);
    for c in value.chars() {
        match c {
            ',' if !quoted => items.push(std::mem::take(&mut item)),
            _ => item.push(c),
        }
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && quoted && !escaped;
    }
    items.push(item);
    items.iter().map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
}

fn unquote(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return value.to_owned() };
    let mut escaped = false;
    inner
        .chars()
        .filter(|&c| {
            escaped = c == '\\' && !escaped;
            !escaped
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        }
    }

    #[test]
    fn what_registries_send() {
        let check = |value: &str, expected: &[Challenge]| assert_eq!(parse(value), expected, "{value}");
        check(
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#,
            &[bearer("https://auth.docker.io/token", Some("registry.docker.io"), Some("repository:a/b:pull,push"))],
        );
        check(r#"Basic realm="Registry Realm""#, &[Challenge::Basic]);
        check("basic", &[Challenge::Basic]);
        check(r#"Bearer  realm = "x" , service=y"#, &[bearer("x", Some("y"), None)]);
        check(
            r#"Basic realm="a, b", Bearer realm="q\"c", Digest nonce="1""#,
            &[Challenge::Basic, bearer("q\"c", None, None)],
        );
        check("Bearer service=\"no realm\"", &[]);
        for odd in ["", ",,,", "=", "\"", "Bearer realm", "Negotiate"] {
            check(odd, &[]);
        }
    }

    #[test]
    fn a_token_is_preferred() {
        let mut headers = HeaderMap::new();
        headers.append(WWW_AUTHENTICATE, "Basic realm=x".parse().unwrap());
        headers.append(WWW_AUTHENTICATE, "Bearer realm=https://a/token".parse().unwrap());
        assert_eq!(Challenge::best(&headers), Some(bearer("https://a/token", None, None)));
        assert_eq!(Challenge::best(&HeaderMap::new()), None);
    }
}
