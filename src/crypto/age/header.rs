//! The header of an age file: one stanza a recipient with the wrapped file key, and a MAC over all of it.

use aws_lc_rs::{aead, hkdf, hmac};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use zeroize::Zeroizing;

use super::stream::{Part, Payload};
use super::{AgeError, Identity, Recipient};

const INTRO: &str = "age-encryption.org/v1";
const WRAP_LABEL: &[u8] = b"age-encryption.org/v1/X25519";
const NONCE: usize = 16;
/// Columns of a stanza's body.
const COLUMNS: usize = 64;
/// Bytes of a header that a reader takes: hundreds of recipients.
pub const HEADER_MAX: usize = 64 << 10;

/// A header that was opened: what it takes to read the payload.
#[derive(Debug)]
pub struct Opened {
    payload_at: usize,
    payload: Payload,
}

impl Opened {
    /// Where the sealed chunks begin.
    pub const fn payload_at(&self) -> usize {
        self.payload_at
    }

    /// Opens all chunks; `body` is everything from [`Opened::payload_at`] on.
    pub fn open_all(&self, body: &[u8]) -> Result<Vec<u8>, AgeError> {
        self.payload.open(body)
    }

    /// Opens a part; `sealed` are exactly the bytes of that part in the file, its tag included.
    pub fn open_part(&self, part: &Part, sealed: Vec<u8>) -> Result<Vec<u8>, AgeError> {
        self.payload.open_part(part, sealed)
    }
}

/// The header that wraps `file_key` for everyone in `recipients`.
pub(super) fn seal_header(file_key: &[u8; 16], recipients: &[Recipient]) -> Result<Vec<u8>, AgeError> {
    let mut text = format!("{INTRO}\n");
    for recipient in recipients {
        let ephemeral = Identity::generate()?;
        let share = ephemeral.recipient();
        let key = wrap_key(&*ephemeral.agree(recipient.bytes())?, share.bytes(), recipient.bytes())?;
        let mut body = file_key.to_vec();
        seal_key(&key, &mut body)?;
        text.push_str(&format!("-> X25519 {}\n", BASE64.encode(share.bytes())));
        push_body(&mut text, &body);
    }
    text.push_str("---");
    let mac = mac(file_key, text.as_bytes())?;
    text.push_str(&format!(" {}\n", BASE64.encode(mac.as_ref())));
    Ok(text.into_bytes())
}

/// A body in lines of 64 columns; the last line is shorter than that, if need be empty.
fn push_body(text: &mut String, body: &[u8]) {
    let encoded = BASE64.encode(body);
    let mut rest = encoded.as_str();
    while rest.len() >= COLUMNS {
        let (line, later) = rest.split_at(COLUMNS);
        text.push_str(line);
        text.push('\n');
        rest = later;
    }
    text.push_str(rest);
    text.push('\n');
}

/// Opens the header at the beginning of `sealed`, which holds at least the header and the 16 bytes behind it.
///
/// # Errors
/// When it is no header, when none of `identities` fits, or when it was changed.
pub fn open_header(identities: &[Identity], sealed: &[u8]) -> Result<Opened, AgeError> {
    let header = Header::parse(sealed.get(..sealed.len().min(HEADER_MAX)).unwrap_or_default())?;
    let file_key = header.unwrap(identities)?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, expand(&file_key[..], b"", b"header")?.as_ref());
    hmac::verify(&key, header.signed, &header.mac).map_err(|_| AgeError::Header)?;
    let nonce = sealed
        .get(header.length..header.length + NONCE)
        .ok_or(AgeError::Header)?;
    Ok(Opened {
        payload_at: header.length + NONCE,
        payload: Payload::new(&file_key, nonce)?,
    })
}

/// For how many X25519 keys the header at the beginning of `sealed` says that it was made. Without one of them nobody can tell
/// whether that is so.
///
/// # Errors
/// When it is no header, or nothing that could be sealed follows it.
pub fn count_recipients(sealed: &[u8]) -> Result<usize, AgeError> {
    let header = Header::parse(sealed.get(..sealed.len().min(HEADER_MAX)).unwrap_or_default())?;
    let body = sealed.len().saturating_sub(header.length);
    if body < NONCE + super::TAG {
        return Err(AgeError::Payload);
    }
    Ok(header.stanzas.len())
}

/// A stanza for an X25519 key.
struct Stanza {
    share: [u8; 32],
    body: Vec<u8>,
}

struct Header<'a> {
    stanzas: Vec<Stanza>,
    /// What the MAC covers: from the beginning to `---`.
    signed: &'a [u8],
    mac: Vec<u8>,
    length: usize,
}

impl<'a> Header<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, AgeError> {
        let mut lines = Lines { bytes, at: 0 };
        if lines.next()? != INTRO {
            return Err(AgeError::Header);
        }
        let mut stanzas = Vec::new();
        loop {
            let begin = lines.at;
            let line = lines.next()?;
            if let Some(mac) = line.strip_prefix("--- ") {
                return Ok(Self {
                    stanzas,
                    signed: bytes.get(..begin + 3).ok_or(AgeError::Header)?,
                    mac: BASE64.decode(mac).map_err(|_| AgeError::Header)?,
                    length: lines.at,
                });
            }
            let arguments = line.strip_prefix("-> ").ok_or(AgeError::Header)?;
            let body = lines.body()?;
            let mut words = arguments.split(' ');
            if let (Some("X25519"), Some(share), None) = (words.next(), words.next(), words.next()) {
                let share = BASE64.decode(share).map_err(|_| AgeError::Header)?;
                let share = share.try_into().map_err(|_| AgeError::Header)?;
                stanzas.push(Stanza { share, body });
            }
        }
    }

    fn unwrap(&self, identities: &[Identity]) -> Result<Zeroizing<[u8; 16]>, AgeError> {
        for identity in identities {
            let own = identity.recipient();
            for stanza in &self.stanzas {
                // A share that agrees on nothing is one that nobody honest wrote.
                let shared = identity.agree(&stanza.share)?;
                let key = wrap_key(&shared, &stanza.share, own.bytes())?;
                if let Some(file_key) = open_key(&key, &stanza.body)? {
                    return Ok(file_key);
                }
            }
        }
        Err(AgeError::NoMatch)
    }
}

/// Lines of text, each ended by a newline.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Result<&'a str, AgeError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let end = rest.iter().position(|b| *b == b'\n').ok_or(AgeError::Header)?;
        self.at += end + 1;
        std::str::from_utf8(rest.get(..end).unwrap_or_default()).map_err(|_| AgeError::Header)
    }

    fn body(&mut self) -> Result<Vec<u8>, AgeError> {
        let mut body = String::new();
        loop {
            let line = self.next()?;
            body.push_str(line);
            if line.len() < COLUMNS {
                return BASE64.decode(body).map_err(|_| AgeError::Header);
            }
            if line.len() > COLUMNS {
                return Err(AgeError::Header);
            }
        }
    }
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-SHA-256, 32 bytes.
pub(super) fn expand(secret: &[u8], salt: &[u8], info: &[u8]) -> Result<Zeroizing<[u8; 32]>, AgeError> {
    let mut key = Zeroizing::new([0; 32]);
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, salt);
    let pseudorandom = salt.extract(secret);
    let info = [info];
    let output = pseudorandom.expand(&info, Length(32)).map_err(|_| AgeError::Header)?;
    output.fill(key.as_mut()).map_err(|_| AgeError::Header)?;
    Ok(key)
}

fn wrap_key(shared: &[u8; 32], share: &[u8; 32], recipient: &[u8; 32]) -> Result<Zeroizing<[u8; 32]>, AgeError> {
    expand(shared, &[*share, *recipient].concat(), WRAP_LABEL)
}

fn cipher(key: &[u8; 32]) -> Result<aead::LessSafeKey, AgeError> {
    let key = aead::UnboundKey::new(&aead::CHACHA20_POLY1305, key).map_err(|_| AgeError::Header)?;
    Ok(aead::LessSafeKey::new(key))
}

/// A wrapping key wraps one file key, so its nonce is zero.
fn no_nonce() -> aead::Nonce {
    aead::Nonce::assume_unique_for_key([0; 12])
}

fn seal_key(key: &[u8; 32], body: &mut Vec<u8>) -> Result<(), AgeError> {
    let sealed = cipher(key)?.seal_in_place_append_tag(no_nonce(), aead::Aad::empty(), body);
    sealed.map_err(|_| AgeError::Header)
}

/// The file key in a stanza's body; `None` where the key is another one.
fn open_key(key: &[u8; 32], body: &[u8]) -> Result<Option<Zeroizing<[u8; 16]>>, AgeError> {
    // A body of another length would let its writer try many keys at once.
    if body.len() != 32 {
        return Err(AgeError::Header);
    }
    let mut body = Zeroizing::new(body.to_vec());
    let Ok(plain) = cipher(key)?.open_in_place(no_nonce(), aead::Aad::empty(), &mut body) else {
        return Ok(None);
    };
    let file_key: [u8; 16] = (&*plain).try_into().map_err(|_| AgeError::Header)?;
    Ok(Some(Zeroizing::new(file_key)))
}

fn mac(file_key: &[u8; 16], text: &[u8]) -> Result<hmac::Tag, AgeError> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, expand(file_key, b"", b"header")?.as_ref());
    Ok(hmac::sign(&key, text))
}
