//! `key=value` pairs.

use skep_docker_api::json::Map;

/// Pairs to a map; a key alone has an empty value, and the last of a key wins.
pub fn map(pairs: &[String]) -> Map {
    let split = |pair: &String| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key.to_owned(), value.to_owned())
    };
    pairs.iter().map(split).collect()
}
