//! `linux.resources.pids`.

use onggi_oci::runtime::LinuxPids;

use super::or_max;
use crate::Result;
use crate::group::Part;

/// Whether a limit is asked for. Zero is one since version 1.3 of the specification: no further process.
pub(crate) fn asks(pids: &LinuxPids) -> bool {
    pids.limit() >= 0
}

/// Puts the limit on.
pub(crate) fn set(part: &Part, pids: &LinuxPids) -> Result<()> {
    part.directory.write("pids.max", or_max(pids.limit()))
}

#[cfg(test)]
mod tests {
    use onggi_oci::runtime::LinuxPidsBuilder;

    use super::*;
    use crate::Controller;
    use crate::limits::fake::Fake;

    #[test]
    fn zero_is_a_limit_and_minus_one_is_none() {
        for (limit, written, asked) in [(0, "0", true), (-1, "max", false), (7, "7", true)] {
            let fake = Fake::new(&[("pids.max", "")]);
            let pids = LinuxPidsBuilder::default().limit(limit).build().unwrap();
            set(&fake.v1(Controller::Pids), &pids).unwrap();
            assert_eq!((fake.read("pids.max").as_str(), asks(&pids)), (written, asked));
        }
    }
}
