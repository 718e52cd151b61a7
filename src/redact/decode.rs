//! Tells text from other bytes: UTF-8, UTF-16 with a byte order mark, and Latin-1 or its like.

use std::borrow::Cow;

use super::NotText;

/// How a text was written, so that it can be written so again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// A byte is a character, or a part of one in UTF-8.
    Bytes,
    /// UTF-16, little-endian, with its mark.
    LittleEndian,
    /// UTF-16, big-endian, with its mark.
    BigEndian,
}

/// The text in bytes that are ASCII where a character is ASCII.
pub(super) fn decode(bytes: &[u8]) -> Result<(Cow<'_, [u8]>, Encoding), NotText> {
    match bytes {
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes).map(|text| (text, Encoding::LittleEndian)),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes).map(|text| (text, Encoding::BigEndian)),
        _ if bytes.contains(&0) => Err(NotText::Binary),
        _ if std::str::from_utf8(bytes).is_ok() || is_latin(bytes) => Ok((bytes.into(), Encoding::Bytes)),
        _ => Err(NotText::Binary),
    }
}

fn wide(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<Cow<'static, [u8]>, NotText> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(NotText::Binary);
    }
    let text: String = char::decode_utf16(pairs.iter().map(|pair| unit(*pair)))
        .collect::<Result<_, _>>()
        .map_err(|_| NotText::Binary)?;
    if text.contains('\0') {
        Err(NotText::Binary)
    } else {
        Ok(Cow::Owned(text.into_bytes()))
    }
}

/// A byte a character: mostly ASCII, and no control characters but those of texts.
fn is_latin(bytes: &[u8]) -> bool {
    let control = |b: &u8| (*b < 0x20 && !matches!(b, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b)) || *b == 0x7f;
    let high = bytes.iter().filter(|b| **b >= 0x80).count();
    !bytes.iter().any(control) && high * 10 <= bytes.len() * 3
}

impl Encoding {
    /// Writes the text as it was written.
    pub(super) fn encode(self, text: Vec<u8>) -> Vec<u8> {
        let bytes: fn(u16) -> [u8; 2] = match self {
            Self::Bytes => return text,
            Self::LittleEndian => u16::to_le_bytes,
            Self::BigEndian => u16::to_be_bytes,
        };
        let text = String::from_utf8_lossy(&text);
        let units = std::iter::once(0xfeff).chain(text.encode_utf16());
        units.flat_map(bytes).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        for bytes in [
            &b"a\0b"[..],
            b"\xff\xfea",
            b"\xff\xfe\0\0",
            b"\xff\xfe\x00\xd8",
            b"\x80\x81\x82\x83",
            b"caf\xe9\x01",
        ] {
            assert_eq!(decode(bytes), Err(NotText::Binary), "{bytes:?}");
        }
    }

    #[test]
    fn texts_are_read_and_written_again() {
        for bytes in [
            &b"caf\xe9 au lait"[..],
            b"\xc3\xa4",
            b"",
            b"\xff\xfea\0\xe4\0",
            b"\xfe\xff\0a\xd8\x3d\xde\x00",
        ] {
            let (text, encoding) = decode(bytes).unwrap();
            assert_eq!(encoding.encode(text.into_owned()), bytes);
        }
    }
}
