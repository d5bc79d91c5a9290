//! Which capabilities a container has: Docker's rules for `--cap-add` and `--cap-drop`.

use oci_spec::runtime::Capability;

use crate::defaults::capabilities::DEFAULT;
use crate::{RequestError, Security};

/// The word that stands for every capability.
const ALL: &str = "ALL";

/// What `security` leaves of, and adds to, the defaults; never more than `bounding`.
///
/// # Errors
/// An unknown name, or an added capability that is not ours to give.
pub(super) fn chosen(security: &Security, bounding: &[Capability]) -> Result<Vec<Capability>, RequestError> {
    let (add_all, added) = parse(&security.cap_add)?;
    let (drop_all, dropped) = parse(&security.cap_drop)?;
    if security.privileged {
        return Ok(bounding.to_vec());
    }
    if let Some(missing) = added.iter().find(|capability| !bounding.contains(capability)) {
        return Err(RequestError::CapabilityNotHere(format!("CAP_{missing}")));
    }
    let base: Vec<Capability> = match (add_all, drop_all) {
        (true, _) => bounding.to_vec(),
        (false, true) => Vec::new(),
        (false, false) => DEFAULT.iter().copied().filter(|capability| bounding.contains(capability)).collect(),
    };
    let mut chosen: Vec<Capability> = base.into_iter().filter(|capability| !dropped.contains(capability)).collect();
    for capability in added {
        if !chosen.contains(&capability) {
            chosen.push(capability);
        }
    }
    Ok(chosen)
}

/// Whether `ALL` is among `names`, and the others.
fn parse(names: &[String]) -> Result<(bool, Vec<Capability>), RequestError> {
    let mut all = false;
    let mut capabilities = Vec::new();
    for name in names {
        let upper = name.to_ascii_uppercase();
        match upper.strip_prefix("CAP_").unwrap_or(&upper) {
            ALL => all = true,
            bare => {
                let unknown = |_| RequestError::Capability(name.escape_debug().to_string());
                capabilities.push(bare.parse().map_err(unknown)?);
            }
        }
    }
    Ok((all, capabilities))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(add: &str, drop: &str, expected: &str) {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        let security = Security { cap_add: words(add), cap_drop: words(drop), ..Security::default() };
        let mut bounding = DEFAULT.to_vec();
        bounding.push(Capability::NetAdmin);
        let shown = match chosen(&security, &bounding) {
            Err(error) => error.to_string(),
            Ok(chosen) if chosen == DEFAULT => "default".to_owned(),
            Ok(chosen) if chosen.len() > 4 => format!("{} of them", chosen.len()),
            Ok(chosen) => chosen.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        };
        assert_eq!(shown, expected, "+{add} -{drop}");
    }

    #[test]
    fn rules() {
        check("", "", "default");
        check("net_admin", "", "15 of them");
        check("CAP_NET_ADMIN", "all", "NET_ADMIN");
        check("kill", "", "default");
        check("", "ALL", "");
        check("", "mknod CAP_KILL", "12 of them");
        check("ALL", "", "15 of them");
        check("ALL", "net_admin", "default");
        check("ALL", "ALL", "15 of them");
        check("chown kill", "ALL", "CHOWN KILL");
        check("nonsense", "", "unknown capability `nonsense`");
        check("", "NOT_ONE", "unknown capability `NOT_ONE`");
        check("sys_admin", "", "CAP_SYS_ADMIN is not ours to give");
    }

    #[test]
    fn privileged_is_all_we_have() {
        let security = Security { privileged: true, cap_drop: vec!["ALL".to_owned()], ..Security::default() };
        assert_eq!(chosen(&security, &[Capability::Kill]).unwrap(), [Capability::Kill]);
    }
}
