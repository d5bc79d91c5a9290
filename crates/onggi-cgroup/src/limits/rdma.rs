//! `linux.resources.rdma`.

use std::collections::HashMap;

use onggi_oci::runtime::LinuxRdma;

use super::meaningless;
use crate::Result;
use crate::group::Part;

/// Puts the limits of each device on; the file is the same on v1 and v2.
pub(crate) fn set(part: &Part, rdma: &HashMap<String, LinuxRdma>) -> Result<()> {
    rdma.iter().try_for_each(|(device, limit)| part.directory.write("rdma.max", line(device, limit)?))
}

fn line(device: &str, limit: &LinuxRdma) -> Result<String> {
    if device.is_empty() || device.contains(char::is_whitespace) {
        return Err(meaningless("rdma", &device.escape_debug(), "is no device's name"));
    }
    let mut line = device.to_owned();
    for (key, value) in [("hca_handle", limit.hca_handles()), ("hca_object", limit.hca_objects())] {
        if let Some(value) = value {
            line.push_str(&format!(" {key}={value}"));
        }
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use onggi_oci::runtime::LinuxRdmaBuilder;

    use super::*;

    #[test]
    fn a_line_per_device() {
        let limit = LinuxRdmaBuilder::default().hca_handles(3u32).hca_objects(10_000u32).build().unwrap();
        assert_eq!(line("mlx5_1", &limit).unwrap(), "mlx5_1 hca_handle=3 hca_object=10000");
        assert!(line("a b", &limit).is_err());
    }
}
