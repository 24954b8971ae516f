//! The wires of a fleet: one bridge in a namespace of its own, so that no packet between hosts
//! meets the machine's firewall, and a table on it that drops what is cut.

use std::net::Ipv4Addr;
use std::process::Command;

use anyhow::{Context, Result};

use crate::limits;
use crate::process::Process;
use crate::run;
use crate::subnet::Subnet;

const BRIDGE: &str = "br0";
/// As the hosts call their only interface.
const INTERFACE: &str = "eth0";

/// One direction between two machines that is to carry nothing.
pub type Way = (String, String);

fn tool(inside: Option<Process>, program: &str, arguments: &[&str], input: &str) -> Result<()> {
    let mut command = Command::new("nsenter");
    match inside {
        Some(process) => {
            command.args(["--net", "--target", &process.pid.to_string(), "--", program]);
        }
        None => command = Command::new(program),
    }
    command.args(arguments);
    run::checked(command, input.as_bytes(), limits::TOOL_WITHIN).map(drop)
}

fn ip(inside: Option<Process>, lines: &str) -> Result<()> {
    tool(inside, "ip", &["-batch", "-"], lines)
}

fn nft(switch: Process, lines: &str) -> Result<()> {
    tool(Some(switch), "nft", &["-f", "-"], lines)
}

/// The machine's end of the leg that makes a fleet reachable from it.
pub fn machine_leg(subnet: Subnet) -> String {
    format!("skepfleet{}", subnet.index())
}

/// In the switch's namespace: the bridge, and an empty list of what is cut.
pub fn make_switch(switch: Process) -> Result<()> {
    // Without snooping: it would hold multicast and neighbour discovery back for its first seconds.
    ip(
        Some(switch),
        &format!(
            "link set lo up\n\
             link add {BRIDGE} type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n\
             link set {BRIDGE} up\n"
        ),
    )
    .context("failed to make the bridge")?;
    nft(
        switch,
        "table bridge fleet {
            set cut { type ifname . ifname; }
            chain forward {
                type filter hook forward priority 0; policy accept;
                iifname . oifname @cut drop
            }
        }",
    )
    .context("failed to make the table of cuts")
}

/// Connect a machine: `name` is its port on the bridge. A port of that name is replaced.
pub fn plug(
    switch: Process,
    machine: Process,
    name: &str,
    address: Ipv4Addr,
    subnet: Subnet,
) -> Result<()> {
    // Of a host that was restarted: the kernel takes its old namespace apart at leisure.
    let _ = ip(Some(switch), &format!("link del {name}\n"));
    let mac = Subnet::mac(address);
    ip(
        Some(switch),
        &format!(
            "link add {name} type veth peer name {INTERFACE} address {mac} netns {}\n\
             link set {name} master {BRIDGE} up\n",
            machine.pid
        ),
    )
    .with_context(|| format!("failed to plug {name} in"))?;
    let prefix = limits::FLEET_PREFIX;
    let route = match subnet.outside() {
        outside if outside == address => format!("addr add {} dev lo\n", limits::INTERNET),
        outside => format!("route add default via {outside}\n"),
    };
    ip(
        Some(machine),
        &format!(
            "link set lo up\n\
             addr add {address}/{prefix} dev {INTERFACE}\n\
             link set {INTERFACE} up\n\
             {route}"
        ),
    )
    .with_context(|| format!("failed to give {name} its address"))?;
    if subnet.outside() == address {
        // Nobody serves names there, and each question is to be told so at once, not one in a second.
        let unlimited = "echo 0 > /proc/sys/net/ipv4/icmp_ratelimit";
        tool(Some(machine), "sh", &["-c", unlimited], "")
            .with_context(|| format!("failed to have {name} refuse without a limit"))?;
    }
    Ok(())
}

/// A leg of the machine itself in the fleet's subnet.
pub fn plug_machine(switch: Process, subnet: Subnet) -> Result<()> {
    let leg = machine_leg(subnet);
    ip(None, &format!("link add {leg} type veth peer name machine netns {}\n", switch.pid))
        .and_then(|()| ip(Some(switch), &format!("link set machine master {BRIDGE} up\n")))
        .and_then(|()| {
            let (address, prefix) = (subnet.machine(), limits::FLEET_PREFIX);
            ip(None, &format!("addr add {address}/{prefix} dev {leg}\nlink set {leg} up\n"))
        })
        .context("failed to make the fleet reachable from this machine")
}

/// It goes with the switch too, but not at once.
pub fn unplug_machine(subnet: Subnet) {
    let _ = ip(None, &format!("link del {}\n", machine_leg(subnet)));
}

fn elements(ways: &[Way]) -> String {
    let pairs: Vec<String> =
        ways.iter().map(|(from, to)| format!("\"{from}\" . \"{to}\"")).collect();
    pairs.join(", ")
}

/// Drop what goes these ways, from now on; all of them at once. What is cut already stays so.
pub fn cut(switch: Process, ways: &[Way]) -> Result<()> {
    if ways.is_empty() {
        return Ok(());
    }
    nft(switch, &format!("add element bridge fleet cut {{ {} }}\n", elements(ways)))
        .context("failed to cut")
}

/// Every way carries again.
pub fn heal(switch: Process) -> Result<()> {
    nft(switch, "flush set bridge fleet cut\n").context("failed to heal")
}
