//! `linux.resources.hugepageLimits`.

use onggi_oci::runtime::LinuxHugepageLimit;

use super::{meaningless, or_max};
use crate::Result;
use crate::group::Part;

/// Puts the limit of one page size on, for pages in use and, where the kernel tells them apart, for reservations.
pub(crate) fn set(part: &Part, limit: &LinuxHugepageLimit) -> Result<()> {
    let size = limit.page_size();
    if !is_size(size) {
        return Err(meaningless("hugepageLimits.pageSize", &size.escape_debug(), "is no page size such as 2MB"));
    }
    let (used, reserved, value) = if part.v2 {
        (format!("hugetlb.{size}.max"), format!("hugetlb.{size}.rsvd.max"), or_max(limit.limit()))
    } else {
        let names = (format!("hugetlb.{size}.limit_in_bytes"), format!("hugetlb.{size}.rsvd.limit_in_bytes"));
        (names.0, names.1, limit.limit().max(-1).to_string())
    };
    part.directory.write(&used, &value)?;
    if part.directory.has(&reserved) { part.directory.write(&reserved, &value) } else { Ok(()) }
}

/// The size becomes part of a file name, so nothing else may be in it.
fn is_size(text: &str) -> bool {
    let number = ["KB", "MB", "GB"].into_iter().find_map(|unit| text.strip_suffix(unit));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use onggi_oci::runtime::LinuxHugepageLimitBuilder;

    use super::*;
    use crate::Controller;
    use crate::limits::fake::Fake;

    fn limit(size: &str, limit: i64) -> LinuxHugepageLimit {
        LinuxHugepageLimitBuilder::default().page_size(size).limit(limit).build().unwrap()
    }

    #[test]
    fn both_limits_where_there_are_two() {
        let fake =
            Fake::new(&[("hugetlb.2MB.max", ""), ("hugetlb.2MB.rsvd.max", ""), ("hugetlb.1GB.limit_in_bytes", "")]);
        set(&fake.v2(Controller::Hugetlb), &limit("2MB", 4 << 20)).unwrap();
        assert_eq!(
            (fake.read("hugetlb.2MB.max"), fake.read("hugetlb.2MB.rsvd.max")),
            ("4194304".into(), "4194304".into())
        );
        set(&fake.v1(Controller::Hugetlb), &limit("1GB", -1)).unwrap();
        assert_eq!(fake.read("hugetlb.1GB.limit_in_bytes"), "-1");
    }

    #[test]
    fn a_size_cannot_lead_to_another_file() {
        let fake = Fake::new(&[]);
        for size in ["../../x", "2MB/../../cgroup", "MB", "2mb", ""] {
            assert!(set(&fake.v2(Controller::Hugetlb), &limit(size, 1)).is_err(), "{size}");
        }
    }
}
