//! What a daemon has of its host: files, processes, mounts, interfaces, rules, cgroups. Two looks
//! tell what was left behind.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::Result;

use crate::host::Host;

/// The names alone: what is in the files changes as it should. The daemon's process and the look
/// itself are left out, and the table that is the operator's once it is made.
const LOOK: &str = r#"
    cd /var/lib/skep && find . -mindepth 1 -maxdepth 3 -printf 'state %p\n'
    cd /run/skep && find . -mindepth 1 -maxdepth 3 -printf 'run %p\n'
    for process in /proc/[0-9]*; do
        line=$(tr '\0' ' ' < $process/cmdline 2>/dev/null)
        case "$line" in
            ''|sh\ *|tr\ *|find\ *|*skep\ daemon*) ;;
            *) echo "process $line" ;;
        esac
    done
    while read -r _ place kind _; do
        case "$place" in /var/lib/skep/*|/run/skep/*) echo "mount $place $kind" ;; esac
    done < /proc/mounts
    ip -br link | while read -r name _; do echo "interface ${name%@*}"; done
    nft list ruleset | awk '/^table inet skep-user /{theirs=1} !theirs{$1=$1; print "rule " $0} /^}/{theirs=0}'
    find /sys/fs/cgroup -type d -path '*/skep/*' -printf 'cgroup %p\n'
    find /sys/fs/cgroup -type d -path '*/skep' -printf 'cgroup %p\n'
"#;

/// What one look found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footprint(BTreeSet<String>);

impl Footprint {
    pub fn of(host: &Host) -> Result<Self> {
        let found = host.check(&["sh", "-c", LOOK])?;
        Ok(Self(found.lines().map(str::to_owned).collect()))
    }

    /// What is here and was not there, and the other way round.
    pub fn against(&self, before: &Self) -> Difference {
        Difference {
            more: self.0.difference(&before.0).cloned().collect(),
            less: before.0.difference(&self.0).cloned().collect(),
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    pub more: Vec<String>,
    pub less: Vec<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = self.more.iter().map(|line| format!("+ {line}"));
        let all: Vec<String> =
            more.chain(self.less.iter().map(|line| format!("- {line}"))).collect();
        f.write_str(&all.join("\n"))
    }
}
