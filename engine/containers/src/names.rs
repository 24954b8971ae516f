//! What containers are called: what a name may be, and names for those that were given none.

use skep_docker_api::ApiError;

const QUALITIES: [&str; 48] = [
    "amber", "ancient", "blithe", "bold", "brave", "breezy", "bright", "brisk", "busy", "calm",
    "candid", "clever", "cosy", "crisp", "dapper", "deft", "eager", "fair", "fleet", "fond",
    "frosty", "gentle", "golden", "hardy", "hasty", "humble", "jolly", "keen", "kind", "lively",
    "lucid", "mellow", "merry", "mild", "nimble", "patient", "placid", "proud", "quiet", "rapid",
    "silver", "steady", "sunny", "swift", "tidy", "vivid", "warm", "witty",
];
const THINGS: [&str; 48] = [
    "acacia", "alder", "aster", "basil", "beech", "birch", "borage", "bramble", "briar", "carder",
    "cedar", "cherry", "clover", "comb", "cowslip", "daisy", "drone", "elder", "fennel", "fern",
    "forager", "foxglove", "gorse", "hazel", "heather", "honey", "hyssop", "ivy", "lavender",
    "linden", "lupin", "mallow", "maple", "mason", "meadow", "nectar", "orchard", "pollen",
    "poppy", "queen", "rowan", "sage", "swarm", "thistle", "thyme", "violet", "willow", "yarrow",
];

/// A name with or without its slash to one without.
pub fn check(given: &str) -> Result<String, ApiError> {
    let name = given.strip_prefix('/').unwrap_or(given);
    let first = name.chars().next().is_some_and(|it| it.is_ascii_alphanumeric());
    let rest = name.chars().all(|it| it.is_ascii_alphanumeric() || "_.-".contains(it));
    if first && rest && (2..=253).contains(&name.len()) {
        return Ok(name.to_owned());
    }
    Err(ApiError::invalid(format!(
        "Invalid container name ({given}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
    )))
}

/// A name that `taken` does not know.
pub fn make_up(taken: impl Fn(&str) -> bool) -> String {
    let one = |of: &[&'static str]| of[rand::random_range(0..of.len())];
    for attempt in 0.. {
        let mut name = format!("{}_{}", one(&QUALITIES), one(&THINGS));
        if attempt > 3 {
            // The more are taken, the longer the number.
            name.push_str(&rand::random_range(0..10_u64.pow(attempt.min(18))).to_string());
        }
        if !taken(&name) {
            return name;
        }
    }
    unreachable!("numbers do not end")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dockers() {
        assert_eq!(check("/web-1").unwrap(), "web-1");
        for bad in ["", "a", "-web", "we b", "web/1", "wéb"] {
            assert!(check(bad).unwrap_err().message.contains("only [a-zA-Z0-9]"), "{bad}");
        }
    }

    #[test]
    fn made_up_names_are_free_and_good() {
        let first = make_up(|_| false);
        assert_eq!(check(&first).unwrap(), first);
        let mut tries = 0;
        let counted = std::cell::RefCell::new(&mut tries);
        let last = make_up(|_| {
            **counted.borrow_mut() += 1;
            **counted.borrow() < 20
        });
        assert!(last.ends_with(|it: char| it.is_ascii_digit()), "{last}");
    }
}
