//! Whom a container runs as, by its own /etc/passwd and /etc/group, in Docker's way.

use nix::unistd::{Gid, Uid};
use skep_idmap::IdMaps;

/// The answer: numbers for the kernel, a home for the environment.
#[derive(Debug, PartialEq, Eq)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    /// The primary group first: leaving it out would let a process shed a group that was meant to
    /// deny it something.
    pub groups: Vec<u32>,
    pub home: String,
}

impl Identity {
    /// The user and the group as the host counts; ids that are not mapped stay.
    pub fn outside(&self, ids: &IdMaps) -> (Uid, Gid) {
        let uid = ids.uid_outside(self.uid).unwrap_or(self.uid);
        let gid = ids.gid_outside(self.gid).unwrap_or(self.gid);
        (Uid::from_raw(uid), Gid::from_raw(gid))
    }
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: Vec<&'a str>,
}

/// Resolves `user[:group]` and further groups. Errors are Docker's words.
pub fn resolve(
    user: &str,
    groups: &[String],
    passwd: &str,
    group: &str,
) -> Result<Identity, String> {
    let accounts: Vec<Account> = passwd.lines().filter_map(account).collect();
    let known: Vec<Group> = group.lines().filter_map(group_line).collect();
    let (wanted_user, wanted_group) = user.split_once(':').unwrap_or((user, ""));

    let by_name = |a: &&Account| a.name == wanted_user;
    let number = id(wanted_user);
    let found = match wanted_user {
        "" => accounts.iter().find(|a| a.uid == 0),
        _ => accounts
            .iter()
            .find(by_name)
            .or_else(|| accounts.iter().find(|a| Some(a.uid) == number)),
    };
    let (uid, mut gid, home) = match (found, number) {
        (Some(account), _) => (account.uid, account.gid, account.home.to_owned()),
        (None, _) if wanted_user.is_empty() => (0, 0, "/".to_owned()),
        (None, Some(uid)) => (uid, 0, "/".to_owned()),
        (None, None) => {
            return Err(format!(
                "unable to find user {wanted_user}: no matching entries in passwd file"
            ));
        }
    };
    let mut all = Vec::new();
    if wanted_group.is_empty() {
        if let Some(account) = found {
            let memberships = known.iter().filter(|g| g.members.contains(&account.name));
            all.extend(memberships.map(|g| g.gid));
        }
    } else {
        gid = group_id(wanted_group, &known)?;
    }
    for name in groups {
        all.push(group_id(name, &known)?);
    }
    all.retain(|extra| *extra != gid);
    all.insert(0, gid);
    let mut seen = std::collections::BTreeSet::new();
    all.retain(|gid| seen.insert(*gid));
    let home = if home.is_empty() { "/".to_owned() } else { home };
    Ok(Identity { uid, gid, groups: all, home })
}

fn group_id(wanted: &str, known: &[Group]) -> Result<u32, String> {
    let number = id(wanted);
    let named = known.iter().find(|g| g.name == wanted);
    named
        .or_else(|| known.iter().find(|g| Some(g.gid) == number))
        .map(|g| g.gid)
        .or(number)
        .ok_or_else(|| format!("unable to find group {wanted}: no matching entries in group file"))
}

/// A number that may be an id; Docker takes those that fit a positive 32-bit integer.
fn id(text: &str) -> Option<u32> {
    text.parse::<i32>().ok().and_then(|n| u32::try_from(n).ok())
}

fn account(line: &str) -> Option<Account<'_>> {
    let mut parts = line.split(':');
    let name = parts.next().filter(|name| !name.is_empty() && !name.starts_with('#'))?;
    let uid = parts.nth(1)?.parse().ok()?;
    let gid = parts.next()?.parse().ok()?;
    let home = parts.nth(1).unwrap_or("");
    Some(Account { name, uid, gid, home })
}

fn group_line(line: &str) -> Option<Group<'_>> {
    let mut parts = line.split(':');
    let name = parts.next().filter(|name| !name.is_empty() && !name.starts_with('#'))?;
    let gid = parts.nth(1)?.parse().ok()?;
    let members = parts.next().unwrap_or("").split(',').map(str::trim).collect();
    Some(Group { name, gid, members })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/srv/web:/bin/false\n\
                          bad line\n1000:x:7:7::/seven:\n";
    const GROUP: &str = "root:x:0:\nweb:x:34:\nlogs:x:50:web,other\naudio:x:60:root\n";

    fn check(user: &str, groups: &[&str]) -> Result<(u32, u32, Vec<u32>, String), String> {
        let groups: Vec<String> = groups.iter().map(|g| (*g).to_owned()).collect();
        let found = resolve(user, &groups, PASSWD, GROUP)?;
        Ok((found.uid, found.gid, found.groups, found.home))
    }

    #[test]
    fn users_are_found_as_docker_finds_them() {
        assert_eq!(check("", &[]), Ok((0, 0, vec![0, 60], "/root".into())));
        assert_eq!(check("web", &[]), Ok((33, 34, vec![34, 50], "/srv/web".into())));
        assert_eq!(check("33", &[]), Ok((33, 34, vec![34, 50], "/srv/web".into())));
        assert_eq!(check("web:logs", &[]), Ok((33, 50, vec![50], "/srv/web".into())));
        assert_eq!(check("99", &[]), Ok((99, 0, vec![0], "/".into())));
        assert_eq!(check("99:98", &["logs", "7"]), Ok((99, 98, vec![98, 50, 7], "/".into())));
        assert_eq!(
            check("1000", &[]),
            Ok((7, 7, vec![7], "/seven".into())),
            "names before numbers"
        );
        assert_eq!(
            check("nobody", &[]),
            Err("unable to find user nobody: no matching entries in passwd file".into())
        );
        assert_eq!(
            check("web:nope", &[]),
            Err("unable to find group nope: no matching entries in group file".into())
        );
    }
}
