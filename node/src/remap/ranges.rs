//! /etc/subuid and /etc/subgid, read to maps: `USER:FIRST:COUNT` a line. Pure.

use skep_idmap::IdRange;

/// Docker's, for a user that is made.
pub const FIRST: u32 = 100_000;
pub const COUNT: u32 = 65_536;

/// The kernel takes no more lines.
const RANGES_MAX: usize = 340;

struct Line<'a> {
    user: &'a str,
    first: u32,
    count: u32,
}

fn lines(text: &str) -> impl Iterator<Item = Result<Line<'_>, String>> {
    let lines = text.lines().map(str::trim).filter(|it| !it.is_empty() && !it.starts_with('#'));
    lines.map(|line| {
        let parts: Vec<&str> = line.split(':').collect();
        let number = |text: &str| text.parse::<u32>().ok();
        match parts.as_slice() {
            [user, first, count] => match (number(first), number(count)) {
                (Some(first), Some(count)) if first.checked_add(count).is_some() => {
                    Ok(Line { user, first, count })
                }
                _ => Err(format!("cannot parse {line:?}")),
            },
            _ => Err(format!("cannot parse {line:?}")),
        }
    })
}

/// A user's ranges by name or number, one after the other from the container's root up.
pub fn of(text: &str, name: &str, uid: u32) -> Result<Vec<IdRange>, String> {
    let (mut found, mut inside) = (Vec::new(), 0u32);
    for line in lines(text) {
        let line = line?;
        if (line.user != name && line.user.parse() != Ok(uid)) || line.count == 0 {
            continue;
        }
        found.push(IdRange { inside, outside: line.first, count: line.count });
        inside = inside
            .checked_add(line.count)
            .ok_or_else(|| format!("the ranges of {name} hold more ids than there are"))?;
    }
    match found.len() > RANGES_MAX {
        true => Err(format!("{name} has {} ranges, at most {RANGES_MAX} are allowed", found.len())),
        false => Ok(found),
    }
}

/// Where a new range may begin that meets no other.
pub fn free(text: &str) -> Result<u32, String> {
    let mut taken = lines(text).collect::<Result<Vec<_>, _>>()?;
    taken.sort_by_key(|line| line.first);
    let mut first = FIRST;
    for line in taken {
        if first < line.first.saturating_add(line.count) && line.first < first.saturating_add(COUNT)
        {
            first = line.first.saturating_add(line.count);
        }
    }
    match first.checked_add(COUNT) {
        Some(_) => Ok(first),
        None => Err("there is no room for another range of ids".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_ranges_follow_one_another() {
        let text = "root:1:5\n# a note\n\nbee:100000:65536\nwasp:200000:65536\n1000:300000:10\n";
        let range = |inside, outside, count| IdRange { inside, outside, count };
        assert_eq!(
            of(text, "bee", 1000).unwrap(),
            [range(0, 100_000, 65536), range(65536, 300_000, 10)]
        );
        assert_eq!(of(text, "wasp", 7).unwrap(), [range(0, 200_000, 65536)]);
        assert!(of(text, "fly", 8).unwrap().is_empty());
        for bad in ["bee:1", "bee:x:5", "bee:1:2:3", "bee:4294967295:2"] {
            assert!(of(bad, "bee", 1).is_err(), "{bad}");
        }
        assert!(of("bee:0:4294967295\nbee:0:4294967295\n", "bee", 1).is_err());
    }

    #[test]
    fn a_new_range_meets_no_other() {
        assert_eq!(free("").unwrap(), 100_000);
        assert_eq!(free("bee:100000:65536\nwasp:165536:65536\n").unwrap(), 231_072);
        // Too little room between two.
        assert_eq!(free("wasp:170000:5\nbee:100000:65536\n").unwrap(), 170_005);
        assert_eq!(free("bee:1000:10\n").unwrap(), 100_000);
        assert!(free("bee:100000:4294860000\n").is_err());
    }
}
