//! The zstd seekable format's table: a skippable frame at the end that says where each frame lies.
//!
//! Layout as in zstd's `contrib/seekable_format`, without checksums: magic `0x184D2A5E`, length, for each frame its
//! compressed and plain length (u32 each), then the number of frames (u32), a descriptor byte and `0x8F92EAB1`. All
//! little-endian. Plain `zstd -d` skips it.

use crate::limits::FRAME_MAX;

const SKIPPABLE: u32 = 0x184D_2A5E;
const SEEKABLE: u32 = 0x8F92_EAB1;
/// Bytes of the closing part: number of frames, descriptor, magic.
pub const FOOTER: usize = 9;
const HEADER: usize = 8;
const ENTRY: usize = 8;
/// The format's own limit on the number of frames.
const FRAMES_MAX: usize = 0x800_0000;

/// Lengths of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLength {
    /// Compressed bytes.
    pub stored: u32,
    /// Plain bytes.
    pub plain: u32,
}

/// Why a table cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SeekTableError {
    /// No table where one belongs.
    #[error("the table of frames at the end is missing or cut")]
    Missing,
    /// The table and the object do not agree.
    #[error("the table of frames does not fit the object")]
    Mismatch,
    /// A frame that claims to be larger than any this program writes.
    #[error("a frame claims to be larger than {FRAME_MAX} bytes")]
    TooLarge,
    /// More frames than the format allows.
    #[error("too many frames")]
    TooMany,
}

/// The bytes of the table that closes an object with these frames.
pub fn write(frames: &[FrameLength]) -> Result<Vec<u8>, SeekTableError> {
    let count = u32::try_from(frames.len())
        .ok()
        .filter(|_| frames.len() <= FRAMES_MAX)
        .ok_or(SeekTableError::TooMany)?;
    let body = frames.len() * ENTRY + FOOTER;
    let length = u32::try_from(body).map_err(|_| SeekTableError::TooMany)?;
    let mut table = Vec::with_capacity(HEADER + body);
    table.extend_from_slice(&SKIPPABLE.to_le_bytes());
    table.extend_from_slice(&length.to_le_bytes());
    for frame in frames {
        table.extend_from_slice(&frame.stored.to_le_bytes());
        table.extend_from_slice(&frame.plain.to_le_bytes());
    }
    table.extend_from_slice(&count.to_le_bytes());
    table.push(0);
    table.extend_from_slice(&SEEKABLE.to_le_bytes());
    Ok(table)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(four.try_into().ok()?))
}

/// The length of the whole table, from the last [`FOOTER`] bytes of an object.
pub fn table_length(footer: &[u8]) -> Result<u64, SeekTableError> {
    let at = footer.len().checked_sub(FOOTER).ok_or(SeekTableError::Missing)?;
    let (count, descriptor, magic) = (word(footer, at), footer.get(at + 4), word(footer, at + 5));
    if magic != Some(SEEKABLE) || descriptor != Some(&0) {
        return Err(SeekTableError::Missing);
    }
    let count = count.ok_or(SeekTableError::Missing)? as usize;
    if count > FRAMES_MAX {
        return Err(SeekTableError::TooMany);
    }
    Ok((HEADER + count * ENTRY + FOOTER) as u64)
}

/// Reads a whole table (`table` is exactly its bytes) of an object of `object` stored bytes and `plain` plain bytes.
///
/// # Errors
/// When the lengths do not add up to the object's or a frame is larger than [`FRAME_MAX`].
pub fn read(table: &[u8], object: u64, plain: u64) -> Result<Vec<FrameLength>, SeekTableError> {
    let frames = read_any(table, object)?;
    let total: u64 = frames.iter().map(|frame| u64::from(frame.plain)).sum();
    if total == plain {
        Ok(frames)
    } else {
        Err(SeekTableError::Mismatch)
    }
}

/// The same of an object whose plain bytes nobody has told.
///
/// # Errors
/// When the stored lengths do not add up to the object's or a frame is larger than [`FRAME_MAX`].
pub fn read_any(table: &[u8], object: u64) -> Result<Vec<FrameLength>, SeekTableError> {
    if table_length(table)? != table.len() as u64 {
        return Err(SeekTableError::Mismatch);
    }
    let length = word(table, 4).ok_or(SeekTableError::Missing)? as usize;
    if word(table, 0) != Some(SKIPPABLE) || length != table.len() - HEADER {
        return Err(SeekTableError::Mismatch);
    }
    let entries = table.get(HEADER..table.len() - FOOTER).ok_or(SeekTableError::Missing)?;
    let mut stored_total = table.len() as u64;
    let mut frames = Vec::with_capacity(entries.len() / ENTRY);
    for entry in entries.chunks_exact(ENTRY) {
        let (Some(stored), Some(plain)) = (word(entry, 0), word(entry, 4)) else {
            return Err(SeekTableError::Missing);
        };
        if plain as usize > FRAME_MAX || stored as usize > FRAME_MAX + FRAME_MAX / 8 {
            return Err(SeekTableError::TooLarge);
        }
        stored_total += u64::from(stored);
        frames.push(FrameLength { stored, plain });
    }
    if stored_total == object {
        Ok(frames)
    } else {
        Err(SeekTableError::Mismatch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames() -> Vec<FrameLength> {
        (1..50)
            .map(|n| FrameLength {
                stored: n * 10,
                plain: n * 100,
            })
            .collect()
    }

    #[test]
    fn a_table_reads_back() {
        let table = write(&frames()).unwrap();
        let stored: u64 = frames().iter().map(|f| u64::from(f.stored)).sum();
        let plain: u64 = frames().iter().map(|f| u64::from(f.plain)).sum();
        assert_eq!(table_length(&table[table.len() - FOOTER..]), Ok(table.len() as u64));
        assert_eq!(read(&table, stored + table.len() as u64, plain), Ok(frames()));
        assert_eq!(read(&table, stored, plain), Err(SeekTableError::Mismatch));
    }

    #[test]
    fn a_frame_that_claims_too_much_is_refused() {
        let table = write(&[FrameLength {
            stored: 10,
            plain: u32::MAX,
        }])
        .unwrap();
        assert_eq!(
            read(&table, 10 + table.len() as u64, u64::from(u32::MAX)),
            Err(SeekTableError::TooLarge)
        );
    }

    #[test]
    fn no_byte_string_makes_the_reader_panic() {
        let table = write(&frames()).unwrap();
        for at in 0..table.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut wrong = table.clone();
                wrong[at] ^= flip;
                let _ = read(&wrong, 1000, 1000);
                let _ = read(&table[at..], 1000, 1000);
            }
        }
    }
}
