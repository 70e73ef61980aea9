//! Join tokens, as text to copy. Its holder may become a member once, and knows the authority to
//! trust.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prost::Message;
use tokio_rustls::rustls::pki_types::CertificateDer;
use windrow_proto::v1;

use crate::SecurityError;

const PREFIX: &str = "windrow-join-2.";
/// The length of the digest at its end, which reveals typing errors.
const CHECK_BYTES: usize = 8;
/// Longer text is not decoded; no token is that long.
const TEXT_BYTES_MAX: usize = 16 << 10;

/// A join token.
#[derive(Clone, PartialEq)]
pub struct JoinToken {
    /// The coordinator's key for the token.
    pub id: String,
    /// Proves that the holder was given the token.
    pub secret: Vec<u8>,
    /// The certificate of the cluster's authority.
    pub authority: CertificateDer<'static>,
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = v1::JoinToken {
            id: self.id.clone(),
            secret: self.secret.clone().into(),
            authority: self.authority.to_vec().into(),
        };
        let mut bytes = message.encode_to_vec();
        bytes.extend(check_of(&bytes));
        write!(f, "{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

fn check_of(bytes: &[u8]) -> [u8; CHECK_BYTES] {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let start = digest.as_ref().first_chunk();
    start.copied().unwrap_or_default()
}

/// Omits the secret.
impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken").field("id", &self.id).finish_non_exhaustive()
    }
}

impl FromStr for JoinToken {
    type Err = SecurityError;

    fn from_str(text: &str) -> Result<Self, SecurityError> {
        let malformed = || {
            SecurityError::Malformed(
                "this is not a whole join token as 'windrow token' prints it: it is incomplete, or was changed".to_string(),
            )
        };
        // Tokens survive mails, editors and shells: wrapped lines, any line ends, a byte-order
        // mark.
        let is_of_token = |c: &char| !c.is_whitespace() && *c != '\u{feff}';
        let text: String = text.chars().filter(is_of_token).collect();
        let encoded = text.strip_prefix(PREFIX).filter(|_| text.len() <= TEXT_BYTES_MAX);
        let bytes = encoded.and_then(|encoded| URL_SAFE_NO_PAD.decode(encoded).ok());
        let bytes = bytes.ok_or_else(malformed)?;
        let (bytes, check) = bytes.split_last_chunk().ok_or_else(malformed)?;
        if *check != check_of(bytes) {
            return Err(malformed());
        }
        let message = v1::JoinToken::decode(bytes);
        let v1::JoinToken { id, secret, authority } = message.map_err(|_| malformed())?;
        if id.is_empty() || secret.is_empty() || authority.is_empty() {
            return Err(malformed());
        }
        Ok(Self { id, secret: secret.to_vec(), authority: authority.to_vec().into() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn tokens_survive_being_copied(
            id in "[0-9a-f]{16}",
            secret in vec(any::<u8>(), 1..40),
            authority in vec(any::<u8>(), 1..500),
        ) {
            let token = JoinToken { id, secret, authority: authority.into() };
            let token_text = token.to_string();
            let (first, rest) = token_text.split_at(20);
            let text = format!("\u{feff} {first}\r\n{rest}\n");
            let shown = format!("{token:?}");
            prop_assert!(!shown.contains("secret"), "{}", shown);
            prop_assert_eq!(text.parse::<JoinToken>().unwrap(), token);
        }

        #[test]
        fn a_changed_character_is_noticed(at in 0_usize..300, to in "[A-Za-z0-9_-]") {
            let authority = vec![7; 200].into();
            let token = JoinToken { id: "1".into(), secret: vec![1; 32], authority }.to_string();
            let at = PREFIX.len() + at % (token.len() - PREFIX.len());
            let changed = format!("{}{to}{}", &token[..at], &token[at + 1..]);
            let parsed = changed.parse::<JoinToken>();
            prop_assert!(changed == token || parsed.is_err());
        }

        #[test]
        fn any_text_is_a_token_or_an_error(text in "(windrow-join-2.)?[A-Za-z0-9_=-]{0,80}") {
            let _ = text.parse::<JoinToken>();
        }
    }
}
