//! POSIX ACLs: the kernel's `system.posix_acl_*` encoding as the text that tar archives carry.
//!
//! Encoding: version 2 (u32), then for each entry tag (u16), permissions (u16), id (u32), all little-endian.

use std::fmt::Write;

const VERSION: u32 = 2;

/// The text form with numeric ids, entries separated by commas: `user::rw-,user:1000:r--,group::r--,mask::r--,other::---`.
///
/// `None` where the value is not an ACL this function knows; it is then stored as a plain attribute.
pub fn to_text(value: &[u8]) -> Option<String> {
    let (version, entries) = value.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*version) != VERSION || entries.is_empty() || entries.len() % 8 != 0 {
        return None;
    }
    let mut text = String::new();
    for entry in entries.chunks_exact(8) {
        let (tag, rest) = entry.split_first_chunk::<2>()?;
        let (permissions, id) = rest.split_first_chunk::<2>()?;
        let id = u32::from_le_bytes(*id.first_chunk::<4>()?);
        let permissions = u16::from_le_bytes(*permissions);
        if permissions > 7 {
            return None;
        }
        if !text.is_empty() {
            text.push(',');
        }
        match u16::from_le_bytes(*tag) {
            0x01 => text.push_str("user::"),
            0x02 => write!(text, "user:{id}:").ok()?,
            0x04 => text.push_str("group::"),
            0x08 => write!(text, "group:{id}:").ok()?,
            0x10 => text.push_str("mask::"),
            0x20 => text.push_str("other::"),
            _ => return None,
        }
        for (bit, letter) in [(4, 'r'), (2, 'w'), (1, 'x')] {
            text.push(if permissions & bit == 0 { '-' } else { letter });
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut value = VERSION.to_le_bytes().to_vec();
        for (tag, permissions, id) in entries {
            value.extend_from_slice(&tag.to_le_bytes());
            value.extend_from_slice(&permissions.to_le_bytes());
            value.extend_from_slice(&id.to_le_bytes());
        }
        value
    }

    #[test]
    fn an_acl_is_written_with_numbers() {
        let none = u32::MAX;
        let value = encode(&[
            (1, 6, none),
            (2, 4, 1000),
            (4, 4, none),
            (0x10, 4, none),
            (0x20, 0, none),
        ]);
        assert_eq!(
            to_text(&value).as_deref(),
            Some("user::rw-,user:1000:r--,group::r--,mask::r--,other::---")
        );
    }

    #[test]
    fn anything_else_is_left_alone() {
        assert_eq!(to_text(b""), None);
        assert_eq!(to_text(&encode(&[(0x40, 4, 0)])), None);
        assert_eq!(to_text(&encode(&[(1, 9, 0)])), None);
    }
}
