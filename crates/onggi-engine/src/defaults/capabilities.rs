//! The capabilities of a container that asks for none: Docker's fourteen.

use oci_spec::runtime::Capability;

/// Each with what would break without it.
pub(crate) const DEFAULT: [Capability; 14] = [
    // Package managers give files away and set their bits.
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fowner,
    Capability::Fsetid,
    // mknod of the harmless nodes; the device controller decides which may be opened.
    Capability::Mknod,
    // ping
    Capability::NetRaw,
    // Servers that start as root and then become somebody else.
    Capability::Setgid,
    Capability::Setuid,
    // rpm and others store file capabilities.
    Capability::Setfcap,
    // Whoever wants to run with less than this.
    Capability::Setpcap,
    // Ports below 1024.
    Capability::NetBindService,
    // sshd and builders.
    Capability::SysChroot,
    // A supervisor signals its children of other users.
    Capability::Kill,
    // login and sudo write audit records; without it they fail.
    Capability::AuditWrite,
];
