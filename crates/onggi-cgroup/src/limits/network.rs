//! `linux.resources.network`, which is v1's alone.

use onggi_oci::runtime::LinuxNetwork;

use super::meaningless;
use crate::Result;
use crate::group::Part;

/// Whether packets are to carry a class.
pub(crate) fn asks_class(network: &LinuxNetwork) -> bool {
    network.class_id().is_some_and(|class| class != 0)
}

/// Whether packets are to have priorities.
pub(crate) fn asks_priority(network: &LinuxNetwork) -> bool {
    network.priorities().as_ref().is_some_and(|priorities| !priorities.is_empty())
}

/// Puts the class on.
pub(crate) fn set_class(part: &Part, network: &LinuxNetwork) -> Result<()> {
    network.class_id().map_or(Ok(()), |class| part.directory.write("net_cls.classid", class.to_string()))
}

/// Puts the priorities on.
pub(crate) fn set_priorities(part: &Part, network: &LinuxNetwork) -> Result<()> {
    for priority in network.priorities().as_deref().unwrap_or_default() {
        if priority.name().contains(char::is_whitespace) {
            let name = priority.name().escape_debug();
            return Err(meaningless("network.priorities.name", &name, "is no interface's name"));
        }
        part.directory.write("net_prio.ifpriomap", format!("{} {}", priority.name(), priority.priority()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use onggi_oci::runtime::{LinuxInterfacePriorityBuilder, LinuxNetworkBuilder};

    use super::*;
    use crate::Controller;
    use crate::limits::fake::Fake;

    #[test]
    fn class_and_priorities() {
        let fake = Fake::new(&[("net_cls.classid", ""), ("net_prio.ifpriomap", "")]);
        let priority = |name: &str| LinuxInterfacePriorityBuilder::default().name(name).priority(5u32).build().unwrap();
        let network =
            LinuxNetworkBuilder::default().class_id(1_048_577u32).priorities([priority("eth0")]).build().unwrap();
        set_class(&fake.v1(Controller::NetCls), &network).unwrap();
        set_priorities(&fake.v1(Controller::NetPrio), &network).unwrap();
        assert_eq!(
            (fake.read("net_cls.classid"), fake.read("net_prio.ifpriomap")),
            ("1048577".into(), "eth0 5".into())
        );
        let network = LinuxNetworkBuilder::default().priorities([priority("eth0 1\nlo")]).build().unwrap();
        set_priorities(&fake.v1(Controller::NetPrio), &network).unwrap_err();
    }
}
