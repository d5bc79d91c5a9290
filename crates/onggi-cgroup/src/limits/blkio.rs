//! `linux.resources.blockIO`.

use onggi_oci::runtime::{LinuxBlockIo, LinuxThrottleDevice};

use super::meaningless;
use crate::Result;
use crate::attribute::Directory;
use crate::group::Part;

/// Whether any weight or rate is asked for.
pub(crate) fn asks(block_io: &LinuxBlockIo) -> bool {
    [block_io.weight(), block_io.leaf_weight()].into_iter().flatten().any(|weight| weight != 0)
        || block_io.weight_device().as_ref().is_some_and(|devices| !devices.is_empty())
        || throttles(block_io).next().is_some()
}

/// Puts weights and rates on.
pub(crate) fn set(part: &Part, block_io: &LinuxBlockIo) -> Result<()> {
    let group = &part.directory;
    if let Some(weight) = block_io.weight().filter(|&weight| weight != 0) {
        set_weight(part, "", weight)?;
    }
    if let Some(leaf) = block_io.leaf_weight().filter(|&leaf| leaf != 0) {
        if part.v2 {
            return Err(meaningless("blockIO.leafWeight", &leaf, "has no meaning on cgroup v2"));
        }
        group.write("blkio.leaf_weight", leaf.to_string())?;
    }
    for device in block_io.weight_device().as_deref().unwrap_or_default() {
        let name = number(device.major(), device.minor());
        if let Some(weight) = device.weight() {
            set_weight(part, &format!("{name} "), weight)?;
        }
        if let Some(leaf) = device.leaf_weight() {
            if part.v2 {
                return Err(meaningless("blockIO.weightDevice.leafWeight", &leaf, "has no meaning on cgroup v2"));
            }
            group.write("blkio.leaf_weight_device", format!("{name} {leaf}"))?;
        }
    }
    throttles(block_io).try_for_each(|(throttle, device)| throttle.set(part, device))
}

/// `device` is empty for the group's own weight or names a device with a space after it.
fn set_weight(part: &Part, device: &str, weight: u16) -> Result<()> {
    let (group, suffix) = (&part.directory, if device.is_empty() { "" } else { "_device" });
    let bfq = if part.v2 { "io.bfq.weight".to_owned() } else { format!("blkio.bfq.weight{suffix}") };
    if group.has(&bfq) {
        return group.write(&bfq, format!("{device}{weight}"));
    }
    if part.v2 {
        return group.write("io.weight", format!("{device}{}", weight_v2(weight)));
    }
    group.write(&format!("blkio.weight{suffix}"), format!("{device}{weight}"))
}

/// v1's 10 to 1000 as v2's 1 to 10000.
fn weight_v2(weight: u16) -> u32 {
    1 + u32::from(weight.max(10) - 10) * 9999 / 990
}

/// One of the four rates of a device.
#[derive(Clone, Copy)]
struct Throttle {
    v1: &'static str,
    v2: &'static str,
}

impl Throttle {
    fn set(self, part: &Part, device: &LinuxThrottleDevice) -> Result<()> {
        let name = number(device.major(), device.minor());
        set_rate(&part.directory, part.v2, self, &name, device.rate())
    }
}

fn set_rate(group: &Directory, v2: bool, throttle: Throttle, device: &str, rate: u64) -> Result<()> {
    if !v2 {
        return group.write(throttle.v1, format!("{device} {rate}"));
    }
    // v1 takes 0 as no limit, v2 has a word for it and refuses 0.
    let rate = if rate == 0 { "max".to_owned() } else { rate.to_string() };
    group.write("io.max", format!("{device} {}={rate}", throttle.v2))
}

fn throttles(block_io: &LinuxBlockIo) -> impl Iterator<Item = (Throttle, &LinuxThrottleDevice)> {
    [
        ("blkio.throttle.read_bps_device", "rbps", block_io.throttle_read_bps_device()),
        ("blkio.throttle.write_bps_device", "wbps", block_io.throttle_write_bps_device()),
        ("blkio.throttle.read_iops_device", "riops", block_io.throttle_read_iops_device()),
        ("blkio.throttle.write_iops_device", "wiops", block_io.throttle_write_iops_device()),
    ]
    .into_iter()
    .flat_map(|(v1, v2, devices)| {
        devices.as_deref().unwrap_or_default().iter().map(move |device| (Throttle { v1, v2 }, device))
    })
}

fn number(major: i64, minor: i64) -> String {
    format!("{major}:{minor}")
}

#[cfg(test)]
mod tests {
    use onggi_oci::runtime::{LinuxBlockIoBuilder, LinuxThrottleDeviceBuilder, LinuxWeightDeviceBuilder};

    use super::*;
    use crate::Controller;
    use crate::limits::fake::{Fake, told};

    fn rate(rate: u64) -> Vec<LinuxThrottleDevice> {
        vec![LinuxThrottleDeviceBuilder::default().major(8).minor(16).rate(rate).build().unwrap()]
    }

    #[test]
    fn v1_has_a_file_per_rate() {
        let names = ["blkio.throttle.read_bps_device", "blkio.throttle.write_iops_device"];
        let fake = Fake::new(&names.map(|name| (name, "")));
        let block_io = LinuxBlockIoBuilder::default()
            .throttle_read_bps_device(rate(1_048_576))
            .throttle_write_iops_device(rate(0))
            .build()
            .unwrap();
        set(&fake.v1(Controller::Blkio), &block_io).unwrap();
        assert_eq!(names.map(|name| fake.read(name)), ["8:16 1048576", "8:16 0"]);
    }

    #[test]
    fn v2_has_one_file_for_all_rates() {
        for (limit, line) in [(1_048_576, "8:16 rbps=1048576"), (0, "8:16 rbps=max")] {
            let fake = Fake::new(&[("io.max", "")]);
            let block_io = LinuxBlockIoBuilder::default().throttle_read_bps_device(rate(limit)).build().unwrap();
            set(&fake.v2(Controller::Blkio), &block_io).unwrap();
            assert_eq!(fake.read("io.max"), line);
        }
    }

    #[test]
    fn weights_go_where_the_scheduler_is() {
        let block_io = LinuxBlockIoBuilder::default().weight(500u16).build().unwrap();
        for (v2, file, written) in [
            (false, "blkio.weight", "500"),
            (false, "blkio.bfq.weight", "500"),
            (true, "io.weight", "4950"),
            (true, "io.bfq.weight", "500"),
        ] {
            let fake = Fake::new(&[(file, "")]);
            let part = if v2 { fake.v2(Controller::Blkio) } else { fake.v1(Controller::Blkio) };
            set(&part, &block_io).unwrap();
            assert_eq!(fake.read(file), written, "{file}");
        }
        assert_eq!((weight_v2(10), weight_v2(1000)), (1, 10_000));
    }

    #[test]
    fn devices_have_weights_of_their_own() {
        let device = LinuxWeightDeviceBuilder::default().major(8).minor(0).weight(20u16).build().unwrap();
        let block_io = LinuxBlockIoBuilder::default().weight_device(vec![device]).build().unwrap();
        let fake = Fake::new(&[("blkio.weight_device", "")]);
        set(&fake.v1(Controller::Blkio), &block_io).unwrap();
        assert_eq!(fake.read("blkio.weight_device"), "8:0 20");
        let leaf = LinuxBlockIoBuilder::default().leaf_weight(3u16).build().unwrap();
        let error = set(&fake.v2(Controller::Blkio), &leaf).unwrap_err();
        assert_eq!(told(&error), "blockIO.leafWeight of 3 has no meaning on cgroup v2");
    }
}
