//! From what a user typed to one object: a full id, else a name, else the start of an id that only one has.
//!
//! It decides nothing beyond which object is meant; the wording of failures is Docker's.

use std::str::FromStr;

use skep_types::id::ID_DIGITS;

use crate::error::ApiError;

/// Finds the one object that `given` means among `objects` (id, name, and what to give back).
///
/// A full id wins over a name, and a name over the start of an id, as in Docker. `objects` is gone through at most three times.
/// Errors: `KIND GIVEN not found`, and `KIND GIVEN is ambiguous (N matches found)`.
pub fn find<'a, I, T>(
    kind: &str,
    given: &str,
    objects: impl Iterator<Item = (I, &'a str, T)> + Clone,
) -> Result<T, ApiError>
where
    I: FromStr + Ord,
{
    if given.is_empty() {
        return Err(ApiError::invalid(format!("invalid {kind} name or ID: it is empty")));
    }
    if let Ok(full) = given.parse::<I>()
        && let Some((_, _, found)) = objects.clone().find(|(id, _, _)| *id == full)
    {
        return Ok(found);
    }
    let named = objects.clone().filter(|(_, name, _)| *name == given);
    if let Some(found) = only(kind, given, named)? {
        return Ok(found);
    }
    let found = match range::<I>(given) {
        Some((first, last)) => {
            only(kind, given, objects.filter(|(id, _, _)| first <= *id && *id <= last))?
        }
        None => None,
    };
    found.ok_or_else(|| ApiError::not_found(format!("{kind} {given} not found")))
}

fn only<'a, I, T>(
    kind: &str,
    given: &str,
    mut matches: impl Iterator<Item = (I, &'a str, T)>,
) -> Result<Option<T>, ApiError> {
    let Some((_, _, found)) = matches.next() else { return Ok(None) };
    match 1 + matches.count() {
        1 => Ok(Some(found)),
        many => {
            Err(ApiError::invalid(format!("{kind} {given} is ambiguous ({many} matches found)")))
        }
    }
}

/// The first and last id that start with `prefix`: ids order as their texts do, so no text need be made.
fn range<I: FromStr>(prefix: &str) -> Option<(I, I)> {
    // The largest id there is; what starts beyond it is none.
    const LARGEST: &str = "f5lxx1zz5pnorynqglhzmsp33";
    if prefix.len() > ID_DIGITS || !prefix.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'z')) {
        return None;
    }
    let first = format!("{prefix:0<ID_DIGITS$}").parse().ok()?;
    let last = format!("{prefix:z<ID_DIGITS$}");
    let last = if last.as_str() > LARGEST { LARGEST } else { &last };
    Some((first, last.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use skep_types::ServiceId;

    use super::*;

    fn check(given: &str, expected: Result<usize, &str>) {
        let id = |text: &str| text.parse::<ServiceId>().unwrap();
        let objects = [
            (id("abc0000000000000000000000"), "web", 0),
            (id("abd0000000000000000000000"), "db", 1),
            (id("f5lxx1zz5pnorynqglhzmsp33"), "abc", 2),
            (id("0000000000000000000000001"), "twin", 3),
            (id("0000000000000000000000002"), "twin", 4),
        ];
        let found = find("service", given, objects.iter().copied());
        assert_eq!(found.map_err(|error| error.message), expected.map_err(str::to_owned));
    }

    proptest::proptest! {
        /// What is found by numbers is what would be found by texts.
        #[test]
        fn prefixes_are_those_of_the_texts(ids: Vec<u128>, wanted: u128, length in 1usize..=25) {
            let ids: std::collections::BTreeSet<u128> = ids.into_iter().chain([wanted]).collect();
            let text = ServiceId::new(wanted).to_string();
            let objects = ids.iter().map(|bits| (ServiceId::new(*bits), "-", *bits));
            let many = objects.clone().filter(|(id, ..)| id.to_string().starts_with(&text[..length]));
            let expected = match many.count() {
                1 => Ok(wanted),
                many => Err(format!("service {} is ambiguous ({many} matches found)", &text[..length])),
            };
            let found = find("service", &text[..length], objects).map_err(|error| error.message);
            proptest::prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn ids_names_and_prefixes() {
        check("abc0000000000000000000000", Ok(0));
        check("web", Ok(0));
        // A name wins over the start of an id.
        check("abc", Ok(2));
        check("abc0", Ok(0));
        check("f", Ok(2));
        check("f5lxx1zz5pnorynqglhzmsp33", Ok(2));
        check("ab", Err("service ab is ambiguous (2 matches found)"));
        check("twin", Err("service twin is ambiguous (2 matches found)"));
        check("foo", Err("service foo not found"));
        check("zzz", Err("service zzz not found"));
        check("ABC", Err("service ABC not found"));
        check("", Err("invalid service name or ID: it is empty"));
        check("abc00000000000000000000000", Err("service abc00000000000000000000000 not found"));
    }
}
