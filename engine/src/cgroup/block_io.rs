//! Writes what a container may take of block devices: in all, and of each.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};

use super::limits::Files;
use crate::block_io::{DeviceShare, Numbers};
use crate::resources::Resources;

/// The kernel's own.
const WEIGHT: u64 = 100;

impl Files<'_> {
    pub(super) fn block_io(&self, limits: &Resources) -> io::Result<()> {
        let unified = self.hierarchies.unified();
        self.weights(limits, unified)?;
        match unified {
            true => self.rates_unified(limits),
            false => self.rates_legacy(limits),
        }
    }

    fn weights(&self, limits: &Resources, unified: bool) -> io::Result<()> {
        let (controller, bfq, other) = match unified {
            true => ("io", "io.bfq.weight", "io.weight"),
            false => ("blkio", "blkio.bfq.weight", "blkio.weight"),
        };
        let has_bfq = self.path(controller, bfq).is_ok_and(|path| path.exists());
        let file = if has_bfq { bfq } else { other };
        // The scheduler has Docker's scale; what version 2 has besides has its own.
        let scaled = |weight: u64| if has_bfq || !unified { weight } else { io_weight(weight) };
        let wanted = u64::from(limits.blkio_weight);
        self.write_or((controller, file), (wanted > 0).then(|| scaled(wanted)), WEIGHT)?;
        for share in &limits.block_io.weights {
            let line = format!("{} {}", share.numbers()?, scaled(share.amount));
            // Version 1 has a file of its own for devices.
            let file = if unified { file.to_owned() } else { format!("{file}_device") };
            self.write(controller, &file, line).map_err(|error| match error.kind() {
                ErrorKind::Unsupported => io::Error::new(
                    ErrorKind::Unsupported,
                    format!("the scheduler of {} does not weigh", share.path.display()),
                ),
                _ => error,
            })?;
        }
        Ok(())
    }

    fn rates_legacy(&self, limits: &Resources) -> io::Result<()> {
        let block_io = &limits.block_io;
        for (what, shares) in [
            ("read_bps", &block_io.read_bps),
            ("write_bps", &block_io.write_bps),
            ("read_iops", &block_io.read_iops),
            ("write_iops", &block_io.write_iops),
        ] {
            for share in shares {
                let line = format!("{} {}", share.numbers()?, share.amount);
                self.write("blkio", &format!("blkio.throttle.{what}_device"), line)?;
            }
        }
        Ok(())
    }

    fn rates_unified(&self, limits: &Resources) -> io::Result<()> {
        let block_io = &limits.block_io;
        let mut lines: BTreeMap<Numbers, String> = BTreeMap::new();
        let mut add = |key: &str, shares: &[DeviceShare]| -> io::Result<()> {
            for share in shares {
                let line = lines.entry(share.numbers()?).or_default();
                line.push_str(&format!(" {key}={}", share.amount));
            }
            Ok(())
        };
        add("rbps", &block_io.read_bps)?;
        add("wbps", &block_io.write_bps)?;
        add("riops", &block_io.read_iops)?;
        add("wiops", &block_io.write_iops)?;
        for (device, rates) in lines {
            self.write("io", "io.max", format!("{device}{rates}"))?;
        }
        Ok(())
    }
}

/// From Docker's 10 to 1000 to version 2's 1 to 10000, as runc does.
fn io_weight(weight: u64) -> u64 {
    1 + (weight.clamp(10, 1000) - 10) * 9999 / 990
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_runcs() {
        assert_eq!([10, 500, 1000].map(io_weight), [1, 4950, 10_000]);
    }
}
