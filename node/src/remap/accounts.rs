//! Whose ids: `USER[:GROUP]` or `UID[:GID]`, held against the accounts that there are.

use nix::unistd::{Gid, Group, Uid, User};

use super::RemapError;

/// A user of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    pub uid: u32,
}

/// The host's accounts.
pub trait Accounts {
    fn user(&self, name: &str) -> Option<Account>;
    fn user_of(&self, uid: u32) -> Option<Account>;
    fn has_group(&self, name: &str) -> bool;
    fn has_gid(&self, gid: u32) -> bool;
}

/// Those of this machine, whatever keeps them.
pub struct Host;

impl Accounts for Host {
    fn user(&self, name: &str) -> Option<Account> {
        let user = User::from_name(name).ok().flatten()?;
        Some(Account { name: user.name, uid: user.uid.as_raw() })
    }

    fn user_of(&self, uid: u32) -> Option<Account> {
        let user = User::from_uid(Uid::from_raw(uid)).ok().flatten()?;
        Some(Account { name: user.name, uid })
    }

    fn has_group(&self, name: &str) -> bool {
        Group::from_name(name).is_ok_and(|it| it.is_some())
    }

    fn has_gid(&self, gid: u32) -> bool {
        Group::from_gid(Gid::from_raw(gid)).is_ok_and(|it| it.is_some())
    }
}

/// The user that is meant. A group is looked for and means nothing more, as in Docker: where none is
/// given it is that of the user's own name or number.
pub fn parse(spec: &str, accounts: &impl Accounts) -> Result<Account, RemapError> {
    let (user, group) = match spec.split(':').collect::<Vec<_>>().as_slice() {
        [user] => (*user, None),
        [user, group] => (*user, Some(*group)),
        _ => return Err(RemapError::Specification(spec.to_owned())),
    };
    let found = match user.parse::<u32>() {
        Ok(uid) => accounts.user_of(uid).ok_or(RemapError::NoUid(uid))?,
        Err(_) => accounts.user(user).ok_or_else(|| RemapError::NoUser(user.to_owned()))?,
    };
    let group = group.unwrap_or(user);
    match group.parse::<u32>() {
        Ok(gid) if !accounts.has_gid(gid) => Err(RemapError::NoGid(gid)),
        Err(_) if !accounts.has_group(group) => Err(RemapError::NoGroup(group.to_owned())),
        _ => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Known;

    impl Accounts for Known {
        fn user(&self, name: &str) -> Option<Account> {
            (name == "bee").then(|| Account { name: name.to_owned(), uid: 1000 })
        }

        fn user_of(&self, uid: u32) -> Option<Account> {
            (uid == 1000).then(|| Account { name: "bee".to_owned(), uid })
        }

        fn has_group(&self, name: &str) -> bool {
            ["bee", "hive"].contains(&name)
        }

        fn has_gid(&self, gid: u32) -> bool {
            [1000, 50].contains(&gid)
        }
    }

    #[test]
    fn users_are_named_or_numbered() {
        for spec in ["bee", "1000", "bee:hive", "bee:50", "1000:hive", "1000:1000"] {
            let found = parse(spec, &Known).unwrap();
            assert_eq!((found.name.as_str(), found.uid), ("bee", 1000), "{spec}");
        }
        let said = |spec: &str| parse(spec, &Known).unwrap_err().to_string();
        assert_eq!(
            said("bee:hive:x"),
            "invalid user/group specification in --userns-remap: \"bee:hive:x\""
        );
        assert_eq!(said("7"), "uid 7 has no entry in /etc/passwd");
        assert_eq!(said("1000:7"), "gid 7 has no entry in /etc/group");
        assert!(said("wasp").starts_with("error during uid lookup for \"wasp\""));
        assert!(said("bee:nest").starts_with("error during gid lookup for \"nest\""));
    }
}
