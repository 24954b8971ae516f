//! What a container may do with block devices, each by itself. The device is a file on a loop of the
//! case's own.

use skep_e2e::{CommandLine, IMAGE, both};

/// Taken away when it is dropped.
struct Loop<'a> {
    cli: &'a CommandLine,
    device: String,
}

impl<'a> Loop<'a> {
    fn new(cli: &'a CommandLine) -> Self {
        let file = cli.file("disk", "");
        let device = cli.shell(&format!("truncate -s 8M {file} && losetup --show -f {file}"));
        Self { cli, device }
    }

    /// As the kernel writes it: `7:0`.
    fn numbers(&self) -> String {
        let name = self.device.trim_start_matches("/dev/");
        self.cli.shell(&format!("cat /sys/block/{name}/dev"))
    }
}

impl Drop for Loop<'_> {
    fn drop(&mut self) {
        self.cli.shell(&format!("losetup -d {}", self.device));
    }
}

#[test]
fn rates_are_held() {
    both(|cli| {
        let disk = Loop::new(cli);
        let (path, numbers) = (disk.device.as_str(), disk.numbers());
        let (read, write) = (format!("{path}:1mb"), format!("{path}:2mb"));
        let (reads, writes) = (format!("{path}:50"), format!("{path}:60"));
        let flags = [
            "--device-read-bps",
            &read,
            "--device-write-bps",
            &write,
            "--device-read-iops",
            &reads,
            "--device-write-iops",
            &writes,
        ];
        let name = cli.idle("throttled", &flags);
        let held = cli.inside(
            &name,
            "cd /sys/fs/cgroup; if [ -e cgroup.controllers ]; then cat io.max; else cd blkio; \
             for what in read_bps write_bps read_iops write_iops; do cat blkio.throttle.${what}_device; done; fi",
        );
        let legacy = format!("{numbers} 1048576\n{numbers} 2097152\n{numbers} 50\n{numbers} 60");
        let unified = format!("{numbers} rbps=1048576 wbps=2097152 riops=50 wiops=60");
        assert!([legacy, unified].contains(&held), "{held}");
        let format = "{{range .HostConfig.BlkioDeviceReadBps}}{{.Path}} {{.Rate}}{{end}}";
        assert_eq!(cli.inspect(&name, format), format!("{path} 1048576"));
        // They stay through a change of others.
        cli.ok(&["update", "-m", "64m", &name]);
        let still = "cat /sys/fs/cgroup/io.max /sys/fs/cgroup/blkio/blkio.throttle.read_bps_device 2>/dev/null; :";
        assert!(cli.inside(&name, still).contains("1048576"));
        cli.ok(&["rm", "-f", &name]);
        cli.refuses(&["--device-read-bps", "/dev/nosuch:1mb"], "/dev/nosuch");
        cli.refuses(&["--device-read-bps", "/dev/null"], "bad format: /dev/null");
        cli.refuses(&["--device-write-iops", "/dev/null:many"], "invalid rate for device")
    });
}

#[test]
fn weights_are_held_where_the_kernel_weighs() {
    both(|cli| {
        let name = cli.name("weighed");
        let ran = cli.run(&[
            "run",
            "-d",
            "--name",
            &name,
            "--blkio-weight",
            "300",
            IMAGE,
            "sleep",
            "1000",
        ]);
        assert_eq!(ran.status, 0, "{ran:?}");
        let show = "cat /sys/fs/cgroup/blkio/blkio.bfq.weight /sys/fs/cgroup/blkio/blkio.weight \
                    /sys/fs/cgroup/io.bfq.weight 2>/dev/null; :";
        let held = cli.inside(&name, show);
        match held.is_empty() {
            true => assert!(ran.stderr.contains("Weight discarded"), "{ran:?}"),
            false => {
                assert!(held.contains("300"), "{held}");
                cli.ok(&["update", "--blkio-weight", "500", &name]);
                assert!(cli.inside(&name, show).contains("500"));
            }
        }
        cli.ok(&["rm", "-f", &name]);
        cli.refuses(&["--blkio-weight", "5"], "ange of blkio weight is from 10 to 1000");
        let disk = Loop::new(cli);
        let queue =
            format!("/sys/block/{}/queue/scheduler", disk.device.trim_start_matches("/dev/"));
        // Only one of the kernel's schedulers weighs.
        if !cli.shell(&format!("cat {queue}")).contains("bfq") {
            eprintln!("SKIP: the kernel has no scheduler that weighs");
            return;
        }
        cli.shell(&format!("echo bfq > {queue}"));
        let weight = format!("{}:200", disk.device);
        let name = cli.idle("device", &["--blkio-weight-device", &weight]);
        let show = "cat /sys/fs/cgroup/blkio/blkio.bfq.weight_device /sys/fs/cgroup/io.bfq.weight 2>/dev/null; :";
        let held = cli.inside(&name, show);
        assert!(held.contains(&format!("{} 200", disk.numbers())), "{held}");
        cli.ok(&["rm", "-f", &name]);
        cli.shell(&format!("echo none > {queue}"));
        cli.refuses(&["--blkio-weight-device", "/dev/null:5"], "nvalid weight for device");
    });
}
