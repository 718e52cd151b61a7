//! Bech32 (BIP 173), as age writes its keys: a readable prefix, `1`, data in groups of five bits, six digits of checksum.

const DIGITS: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const CHECKSUM: usize = 6;
/// Longest text that is looked at; a key has 74 characters.
const TEXT_MAX: usize = 200;

/// Writes `data` behind `prefix`, which is lower case.
pub(super) fn encode(prefix: &str, data: &[u8]) -> String {
    let values = regroup(data, 8, 5, Pad::Zeros).unwrap_or_default();
    let mut all = expand(prefix);
    all.extend_from_slice(&values);
    all.extend_from_slice(&[0; CHECKSUM]);
    let sum = polymod(&all) ^ 1;
    let sum = (0..CHECKSUM).map(|at| u8::try_from((sum >> (5 * (CHECKSUM - 1 - at))) & 31).unwrap_or(0));
    let digits = values.iter().copied().chain(sum);
    let mut text = format!("{prefix}1");
    text.extend(digits.filter_map(|value| DIGITS.get(usize::from(value)).map(|digit| char::from(*digit))));
    text
}

/// The data behind `prefix`; `None` where the text has another prefix, mixes cases or fails its checksum.
pub(super) fn decode(prefix: &str, text: &str) -> Option<Vec<u8>> {
    let mixed = text.bytes().any(|b| b.is_ascii_lowercase()) && text.bytes().any(|b| b.is_ascii_uppercase());
    if mixed || text.len() > TEXT_MAX {
        return None;
    }
    let text = text.to_ascii_lowercase();
    let (found, digits) = text.rsplit_once('1')?;
    let values: Option<Vec<u8>> = digits
        .bytes()
        .map(|digit| u8::try_from(DIGITS.iter().position(|d| *d == digit)?).ok())
        .collect();
    let values = values?;
    let mut all = expand(found);
    all.extend_from_slice(&values);
    let (data, _) = values.split_at_checked(values.len().checked_sub(CHECKSUM)?)?;
    if found != prefix || polymod(&all) != 1 {
        return None;
    }
    regroup(data, 5, 8, Pad::MustBeZeros)
}

fn expand(prefix: &str) -> Vec<u8> {
    let high = prefix.bytes().map(|b| b >> 5);
    let low = prefix.bytes().map(|b| b & 31);
    high.chain(std::iter::once(0)).chain(low).collect()
}

fn polymod(values: &[u8]) -> u32 {
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    values.iter().fold(1, |sum: u32, value| {
        let top = sum >> 25;
        let shifted = ((sum & 0x01ff_ffff) << 5) ^ u32::from(*value);
        let taps = GENERATOR.iter().enumerate().filter(|(bit, _)| (top >> bit) & 1 == 1);
        taps.fold(shifted, |sum, (_, tap)| sum ^ tap)
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pad {
    Zeros,
    MustBeZeros,
}

fn regroup(values: &[u8], from: u32, to: u32, pad: Pad) -> Option<Vec<u8>> {
    let (mut held, mut bits, mut groups) = (0_u32, 0, Vec::new());
    let mask = (1 << to) - 1;
    for value in values {
        held = (held << from) | u32::from(*value);
        bits += from;
        while bits >= to {
            bits -= to;
            groups.push(u8::try_from((held >> bits) & mask).ok()?);
        }
        held &= (1 << bits) - 1;
    }
    match pad {
        Pad::Zeros if bits > 0 => groups.push(u8::try_from((held << (to - bits)) & mask).ok()?),
        Pad::MustBeZeros if bits >= from || held != 0 => return None,
        Pad::Zeros | Pad::MustBeZeros => {}
    }
    Some(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_of_every_length_reads_back_in_both_cases() {
        for length in 0..40_u8 {
            let data: Vec<u8> = (0..length).map(|n| n.wrapping_mul(37)).collect();
            let text = encode("age", &data);
            assert_eq!(decode("age", &text), Some(data.clone()));
            assert_eq!(decode("age", &text.to_ascii_uppercase()), Some(data));
            assert_eq!(decode("other", &text), None);
        }
    }

    #[test]
    fn the_checksum_finds_any_wrong_digit() {
        let text = encode("age", &[7; 32]);
        for at in 4..text.len() {
            let mut wrong = text.clone().into_bytes();
            wrong[at] = if wrong[at] == b'q' { b'p' } else { b'q' };
            assert_eq!(decode("age", std::str::from_utf8(&wrong).unwrap()), None, "{at}");
        }
    }

    #[test]
    fn published_texts_are_read() {
        // BIP 173, valid strings.
        assert_eq!(decode("a", "A12UEL5L"), Some(Vec::new()));
        assert_eq!(
            decode("split", "split1checkupstagehandshakeupstreamerranterredcaperred2y9e3w").map(|d| d.len()),
            Some(30)
        );
        assert_eq!(
            decode("abcdef", "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw").map(|d| d.len()),
            Some(20)
        );
        assert_eq!(decode("a", "A1G7SGD8"), None);
    }
}
