//! Sealing in the age file format, version 1 (age-encryption.org/v1), for X25519 keys: what this makes the `age` program opens, and
//! the other way round.
//!
//! Own code, because what it saves is most of the cost: a pack is sealed by assembly at twice the speed, any 64 KiB of one
//! are opened alone, and of the common library's ninety packages none is needed. The primitives are aws-lc's. Other kinds of
//! keys (passphrases, SSH, plug-ins) are not known here.

mod header;
mod keys;
mod stream;

pub use header::{HEADER_MAX, Opened, count_recipients, open_header};
pub use keys::{Identity, NotAKey, Recipient};
pub use stream::{CHUNK, SealedLength, Sealer, TAG};

use header::seal_header;
use stream::Payload;

/// Why something cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AgeError {
    /// Not the header of an age file of version 1.
    #[error("it is not an age file, or its header is damaged")]
    Header,
    /// Sealed to other keys than the ones given.
    #[error("it is sealed to none of the keys given")]
    NoMatch,
    /// The sealed bytes were changed or cut.
    #[error("the sealed bytes are damaged or cut")]
    Payload,
    /// The system gave no randomness.
    #[error("the system has no randomness")]
    Random,
}

/// Seals `plain` to everyone in `recipients`.
///
/// # Errors
/// When the system has no randomness.
pub fn seal(recipients: &[Recipient], plain: &[u8]) -> Result<Vec<u8>, AgeError> {
    let (mut sealed, payload) = begin(recipients, plain.len())?;
    payload.seal(plain, &mut sealed)?;
    Ok(sealed)
}

/// Begins to seal what comes piece by piece: the first sealed bytes, and who seals the rest.
///
/// # Errors
/// When the system has no randomness.
pub fn sealer(recipients: &[Recipient]) -> Result<(Vec<u8>, Sealer), AgeError> {
    let (head, payload) = begin(recipients, 0)?;
    Ok((head, Sealer::new(payload)))
}

fn begin(recipients: &[Recipient], plain: usize) -> Result<(Vec<u8>, Payload), AgeError> {
    let mut file_key = zeroize::Zeroizing::new([0; 16]);
    let mut nonce = [0; 16];
    random(file_key.as_mut())?;
    random(&mut nonce)?;
    let header = seal_header(&file_key, recipients)?;
    let mut sealed = Vec::with_capacity(header.len() + nonce.len() + stream::sealed_length(plain));
    sealed.extend_from_slice(&header);
    sealed.extend_from_slice(&nonce);
    Ok((sealed, Payload::new(&file_key, &nonce)?))
}

/// Opens the whole of `sealed` with whichever of `identities` fits.
pub fn open(identities: &[Identity], sealed: &[u8]) -> Result<Vec<u8>, AgeError> {
    let opened = open_header(identities, sealed)?;
    let body = sealed.get(opened.payload_at()..).ok_or(AgeError::Payload)?;
    opened.open_all(body)
}

fn random(bytes: &mut [u8]) -> Result<(), AgeError> {
    getrandom::fill(bytes).map_err(|_| AgeError::Random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_tells_for_how_many_it_was_made_without_a_key() {
        let keys: Vec<Identity> = (0..3).map(|_| Identity::generate().unwrap()).collect();
        let recipients: Vec<Recipient> = keys.iter().map(Identity::recipient).collect();
        for count in 1..=3 {
            let sealed = seal(&recipients[..count], b"plain").unwrap();
            assert_eq!(count_recipients(&sealed), Ok(count));
            assert!(count_recipients(&sealed[..sealed.len() - b"plain".len() - TAG]).is_err());
            assert_eq!(count_recipients(&sealed[1..]), Err(AgeError::Header));
        }
        assert_eq!(count_recipients(b""), Err(AgeError::Header));
    }

    #[test]
    fn what_is_sealed_opens_for_each_recipient_and_for_nobody_else() {
        let (one, two, other) = (
            Identity::generate().unwrap(),
            Identity::generate().unwrap(),
            Identity::generate().unwrap(),
        );
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
            let plain: Vec<u8> = (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect();
            let sealed = seal(&[one.recipient(), two.recipient()], &plain).unwrap();
            assert_eq!(open(std::slice::from_ref(&one), &sealed).unwrap(), plain);
            assert_eq!(open(&[other.clone(), two.clone()], &sealed).unwrap(), plain);
            assert_eq!(open(std::slice::from_ref(&other), &sealed), Err(AgeError::NoMatch));
        }
    }

    #[test]
    fn what_comes_in_pieces_is_sealed_as_a_whole_is() {
        let identity = Identity::generate().unwrap();
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 5 * CHUNK + 7] {
            let plain: Vec<u8> = (0..length).map(|n| u8::try_from(n % 239).unwrap()).collect();
            for piece in [1000, CHUNK, 3 * CHUNK + 1] {
                let (mut sealed, mut sealer) = sealer(&[identity.recipient()]).unwrap();
                for piece in plain.chunks(piece) {
                    sealed.extend(sealer.update(piece).unwrap());
                }
                sealed.extend(sealer.finish().unwrap());
                assert_eq!(open(std::slice::from_ref(&identity), &sealed).unwrap(), plain);
                let whole = seal(&[identity.recipient()], &plain).unwrap();
                assert_eq!(whole.len(), sealed.len());
            }
        }
    }

    #[test]
    fn any_part_opens_alone() {
        let identity = Identity::generate().unwrap();
        let plain: Vec<u8> = (0..200_000_u32).map(|n| u8::try_from(n % 241).unwrap()).collect();
        let sealed = seal(&[identity.recipient()], &plain).unwrap();
        let opened = open_header(std::slice::from_ref(&identity), &sealed).unwrap();
        let lengths = SealedLength::of_object(sealed.len() as u64, opened.payload_at() as u64).unwrap();
        assert_eq!(lengths.plain(), plain.len() as u64);
        for range in [0..1, 65_000..66_000, 131_072..200_000, 0..200_000, 199_999..200_000] {
            let part = lengths.part(range.clone()).unwrap();
            let at = opened.payload_at() as u64;
            let bytes = &sealed
                [usize::try_from(at + part.sealed.start).unwrap()..usize::try_from(at + part.sealed.end).unwrap()];
            let found = opened.open_part(&part, bytes.to_vec()).unwrap();
            assert_eq!(
                found,
                &plain[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()]
            );
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let identity = Identity::generate().unwrap();
        let sealed = seal(&[identity.recipient()], b"some content").unwrap();
        let keys = std::slice::from_ref(&identity);
        for at in 0..sealed.len() {
            let mut wrong = sealed.clone();
            wrong[at] ^= 1;
            assert!(open(keys, &wrong).is_err(), "{at}");
            assert!(open(keys, &sealed[..at]).is_err(), "cut at {at}");
        }
        let mut longer = sealed.clone();
        longer.push(0);
        assert!(open(keys, &longer).is_err());
    }
}
