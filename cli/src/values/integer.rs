//! Whole numbers in flags, refused in Go's words.

use std::num::IntErrorKind;

fn refused(function: &str, text: &str, kind: &IntErrorKind) -> String {
    let why = match kind {
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
        _ => "invalid syntax",
    };
    format!("strconv.{function}: parsing {text:?}: {why}")
}

pub fn signed(text: &str) -> Result<i64, String> {
    text.parse().map_err(|e: std::num::ParseIntError| refused("ParseInt", text, e.kind()))
}

pub fn unsigned(text: &str) -> Result<u64, String> {
    text.parse().map_err(|e: std::num::ParseIntError| refused("ParseUint", text, e.kind()))
}

pub fn short(text: &str) -> Result<u16, String> {
    text.parse().map_err(|e: std::num::ParseIntError| refused("ParseUint", text, e.kind()))
}

/// Go's `strconv.ParseBool`.
pub fn truth(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("strconv.ParseBool: parsing {text:?}: invalid syntax")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_says_why() {
        assert_eq!(signed("-7"), Ok(-7));
        assert_eq!(signed("x").unwrap_err(), "strconv.ParseInt: parsing \"x\": invalid syntax");
        assert_eq!(
            short("70000").unwrap_err(),
            "strconv.ParseUint: parsing \"70000\": value out of range"
        );
        assert!(unsigned("-1").is_err());
    }
}
