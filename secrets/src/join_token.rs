//! Join tokens: `SWMTKN-1-<root digest, 50 base36>-<secret, 25 base36>`, SwarmKit's format.
//!
//! A token proves the root to the joiner and the joiner's role to the CA. It is printed only by
//! [`JoinToken::render`]: `Debug` hides the secret.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

const PREFIX: &str = "SWMTKN-1-";
const DIGEST_CHARS: usize = 50; // ceil(256 bits / log2 36)
const SECRET_CHARS: usize = 25; // ceil(128 bits / log2 36)

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("invalid join token: expected prefix {PREFIX}")]
    Prefix,
    #[error("invalid join token: expected a digest and a secret separated by '-'")]
    Parts,
    #[error("invalid join token {part}: expected {expected} characters, got {got}")]
    Length { part: &'static str, expected: usize, got: usize },
    #[error("invalid join token {part}: expected only 0-9 and a-z")]
    Character { part: &'static str },
    #[error("invalid join token {part}: value too large")]
    Overflow { part: &'static str },
    #[error("remote CA does not match fingerprint: expected {expected}, got {got}")]
    RootMismatch { expected: String, got: String },
}

#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct JoinToken {
    digest: [u8; 32],
    secret: [u8; 16],
}

impl JoinToken {
    /// A token for this root with a fresh secret.
    pub fn generate(root_digest: [u8; 32]) -> Self {
        Self { digest: root_digest, secret: rand::random() }
    }

    /// The same root with a fresh secret; the old token opens nothing once this one is stored.
    pub fn rotate(&self) -> Self {
        Self::generate(self.digest)
    }

    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let rest = text.strip_prefix(PREFIX).ok_or(TokenError::Prefix)?;
        let (digest, secret) = rest.split_once('-').ok_or(TokenError::Parts)?;
        if secret.contains('-') {
            return Err(TokenError::Parts);
        }
        Ok(Self {
            digest: decode::<32>("digest", digest, DIGEST_CHARS)?,
            secret: decode::<16>("secret", secret, SECRET_CHARS)?,
        })
    }

    pub fn render(&self) -> Zeroizing<String> {
        let digest = encode(self.digest, DIGEST_CHARS);
        let secret = Zeroizing::new(encode(self.secret, SECRET_CHARS));
        Zeroizing::new(format!("{PREFIX}{digest}-{}", *secret))
    }

    pub fn root_digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Whether `other` is this token; takes the same time wherever they differ.
    pub fn matches(&self, other: &JoinToken) -> bool {
        let ours = self.digest.iter().chain(&self.secret);
        let theirs = other.digest.iter().chain(&other.secret);
        // black_box keeps the compiler from leaving the loop at the first difference.
        ours.zip(theirs).fold(0u8, |difference, (a, b)| std::hint::black_box(difference | (a ^ b)))
            == 0
    }

    /// Whether this is the root that the token promises; `pem` exactly as it was received.
    pub fn check_root(&self, pem: &[u8]) -> Result<(), TokenError> {
        let got = crate::root_ca::digest(pem);
        if got == self.digest {
            return Ok(());
        }
        Err(TokenError::RootMismatch { expected: hex(&self.digest), got: hex(&got) })
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinToken(digest {}, secret hidden)", hex(&self.digest))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The big-endian number in base36, padded with zeros on the left to `chars`.
fn encode<const N: usize>(mut number: [u8; N], chars: usize) -> String {
    let mut text = vec![b'0'; chars];
    for place in text.iter_mut().rev() {
        let mut remainder = 0u32;
        for byte in &mut number {
            let value = remainder << 8 | u32::from(*byte);
            *byte = (value / 36) as u8;
            remainder = value % 36;
        }
        *place = b"0123456789abcdefghijklmnopqrstuvwxyz"[remainder as usize];
    }
    number.zeroize();
    text.into_iter().map(char::from).collect()
}

fn decode<const N: usize>(
    part: &'static str,
    text: &str,
    chars: usize,
) -> Result<[u8; N], TokenError> {
    let got = text.chars().count();
    if got != chars {
        return Err(TokenError::Length { part, expected: chars, got });
    }
    let mut number = [0u8; N];
    for byte in text.bytes() {
        let mut carry = match byte {
            b'0'..=b'9' => u32::from(byte - b'0'),
            b'a'..=b'z' => u32::from(byte - b'a') + 10,
            _ => return Err(TokenError::Character { part }),
        };
        for place in number.iter_mut().rev() {
            let value = u32::from(*place) * 36 + carry;
            *place = value as u8;
            carry = value >> 8;
        }
        if carry != 0 {
            return Err(TokenError::Overflow { part });
        }
    }
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_value_and_errors() {
        let token = JoinToken { digest: [0xff; 32], secret: [0; 16] };
        let text = token.render();
        assert_eq!(text.len(), PREFIX.len() + DIGEST_CHARS + 1 + SECRET_CHARS);
        assert!(text.ends_with(&format!("-{}", "0".repeat(25))));
        assert_eq!(JoinToken::parse("nonsense"), Err(TokenError::Prefix));
        assert_eq!(JoinToken::parse("SWMTKN-1-abc"), Err(TokenError::Parts));
        let short = JoinToken::parse("SWMTKN-1-abc-def").unwrap_err();
        assert_eq!(short.to_string(), "invalid join token digest: expected 50 characters, got 3");
        let large = format!("SWMTKN-1-{}-{}", "z".repeat(50), "0".repeat(25));
        assert_eq!(JoinToken::parse(&large), Err(TokenError::Overflow { part: "digest" }));
        assert_eq!(
            JoinToken::parse(&text.to_uppercase()),
            Err(TokenError::Character { part: "digest" })
        );
    }

    #[test]
    fn checks_root_and_rotates() {
        let token = JoinToken::generate(crate::root_ca::digest(b"root"));
        token.check_root(b"root").unwrap();
        assert!(matches!(token.check_root(b"other"), Err(TokenError::RootMismatch { .. })));
        let rotated = token.rotate();
        assert!(!token.matches(&rotated) && token.matches(&token.clone()));
        assert_eq!(token.root_digest(), rotated.root_digest());
    }

    proptest! {
        #[test]
        fn render_then_parse(digest: [u8; 32], secret: [u8; 16]) {
            let token = JoinToken { digest, secret };
            prop_assert_eq!(JoinToken::parse(&token.render()).unwrap(), token);
        }

        #[test]
        fn parse_never_panics_and_is_canonical(text in "(SWMTKN-1-)?[0-9a-zA-Zé-]{0,90}") {
            if let Ok(token) = JoinToken::parse(&text) {
                prop_assert_eq!(&*token.render(), &text);
            }
        }
    }
}
