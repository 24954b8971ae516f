//! Names for services that were given none, in Docker's manner: an adjective and a beekeeper.

const ADJECTIVES: &[&str] = &[
    "able", "airy", "bold", "brave", "bright", "brisk", "calm", "clever", "cosy", "deft", "eager",
    "fair", "fleet", "fond", "free", "gentle", "glad", "golden", "grand", "hardy", "honest",
    "humble", "jolly", "keen", "kind", "lively", "lucid", "mellow", "merry", "mild", "neat",
    "noble", "patient", "plucky", "proud", "quick", "quiet", "ready", "robust", "serene", "sharp",
    "sleek", "smart", "snug", "sound", "spry", "stout", "sunny", "sweet", "swift", "tidy", "trim",
    "true", "upbeat", "vivid", "warm", "wise", "witty", "zesty",
];

/// Who studied or kept bees.
const BEEKEEPERS: &[&str] = &[
    "butler",
    "crane",
    "dadant",
    "dzierzon",
    "frisch",
    "heinrich",
    "huber",
    "jansa",
    "langstroth",
    "lindauer",
    "lubbock",
    "maeterlinck",
    "morse",
    "prokopovych",
    "quinby",
    "reaumur",
    "root",
    "seeley",
    "swammerdam",
    "taranov",
    "tautz",
    "warder",
    "warre",
    "wheler",
    "wilson",
    "winston",
];

/// A name from random bits.
pub fn made_up(bits: u64) -> String {
    let adjective = ADJECTIVES[(bits as u32) as usize % ADJECTIVES.len()];
    let beekeeper = BEEKEEPERS[(bits >> 32) as usize % BEEKEEPERS.len()];
    format!("{adjective}_{beekeeper}")
}
