//! Short texts that this host locks for itself and for whoever holds the keys of an epoch: AES-256-GCM under a key of its own, bound to
//! the place where the text stands.

use aws_lc_rs::aead;

/// A text that cannot be unlocked: another key, another place, or changed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it cannot be unlocked")]
pub struct NotUnlocked;

const NONCE: usize = 12;
/// What the key is derived for; another use of the same secret has another key.
const CONTEXT: &str = "strongroom 2026 texts that a host locks for itself";

fn key(secret: &[u8; 32]) -> Result<aead::LessSafeKey, NotUnlocked> {
    let derived = zeroize::Zeroizing::new(blake3::derive_key(CONTEXT, secret));
    let key = aead::UnboundKey::new(&aead::AES_256_GCM, derived.as_ref()).map_err(|_| NotUnlocked)?;
    Ok(aead::LessSafeKey::new(key))
}

/// Locks `text` where `place` says that it stands.
///
/// # Errors
/// When the system has no randomness.
pub fn lock(secret: &[u8; 32], place: &str, text: &[u8]) -> Result<Vec<u8>, NotUnlocked> {
    let mut nonce = [0; NONCE];
    getrandom::fill(&mut nonce).map_err(|_| NotUnlocked)?;
    let mut locked = text.to_vec();
    key(secret)?
        .seal_in_place_append_tag(
            aead::Nonce::assume_unique_for_key(nonce),
            aead::Aad::from(place.as_bytes()),
            &mut locked,
        )
        .map_err(|_| NotUnlocked)?;
    locked.splice(..0, nonce);
    Ok(locked)
}

/// Unlocks a text that stands where `place` says.
///
/// # Errors
/// When it was locked with another secret or for another place, or was changed.
pub fn unlock(secret: &[u8; 32], place: &str, locked: &[u8]) -> Result<Vec<u8>, NotUnlocked> {
    let (nonce, body) = locked.split_first_chunk::<NONCE>().ok_or(NotUnlocked)?;
    let mut text = body.to_vec();
    let opened = key(secret)?
        .open_in_place(
            aead::Nonce::assume_unique_for_key(*nonce),
            aead::Aad::from(place.as_bytes()),
            &mut text,
        )
        .map_err(|_| NotUnlocked)?;
    let length = opened.len();
    text.truncate(length);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_unlocks_with_its_secret_in_its_place_and_nowhere_else() {
        let locked = lock(&[7; 32], "here", b"some text").unwrap();
        assert_eq!(unlock(&[7; 32], "here", &locked).unwrap(), b"some text");
        assert_eq!(unlock(&[7; 32], "there", &locked), Err(NotUnlocked));
        assert_eq!(unlock(&[8; 32], "here", &locked), Err(NotUnlocked));
        for at in 0..locked.len() {
            let mut wrong = locked.clone();
            wrong[at] ^= 1;
            assert_eq!(unlock(&[7; 32], "here", &wrong), Err(NotUnlocked));
            assert_eq!(unlock(&[7; 32], "here", &locked[..at]), Err(NotUnlocked));
        }
        assert_ne!(locked, lock(&[7; 32], "here", b"some text").unwrap());
    }
}
