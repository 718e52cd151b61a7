//! Finds private keys in PEM (RFC 7468), also where line ends are escaped, and in PuTTY's format. BEGIN and END stay, the
//! body becomes one line.

use std::ops::Range;

/// Bytes between BEGIN and END: the largest keys people use have 16384 bits, 13 KiB in base64.
const BODY_MAX: usize = 64 << 10;
/// Bytes of a word of base64 that is taken for a part of a key where other characters stand between.
const PIECE_MIN: usize = 16;

/// A private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// From BEGIN to the end of END.
    pub(super) whole: Range<usize>,
    /// What is replaced: the body, or its pieces.
    pub(super) bodies: Vec<Range<usize>>,
}

/// Finds the block whose words `PRIVATE KEY` stand at `at`; looks at nothing before `from`.
pub(super) fn block(text: &[u8], from: usize, at: usize) -> Option<Block> {
    let get = |range: Range<usize>| text.get(range).unwrap_or_default();
    // `-----BEGIN EC PRIVATE KEY-----`: back to the dashes.
    let before = get(at.saturating_sub(64).max(from)..at);
    let begin = before.windows(6).rposition(|window| window == b"BEGIN ")?;
    let kind = before.get(begin + 6..).unwrap_or_default();
    if !kind
        .iter()
        .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b' ')
    {
        return None;
    }
    let dashes = before
        .get(..begin)
        .unwrap_or_default()
        .iter()
        .rev()
        .take_while(|b| matches!(b, b'-' | b' '))
        .count();
    if before
        .get(..begin)
        .unwrap_or_default()
        .iter()
        .rev()
        .take(dashes)
        .filter(|b| **b == b'-')
        .count()
        < 4
    {
        return None;
    }
    let start = at - before.len() + begin - dashes;
    let mut head = at + b"PRIVATE KEY".len();
    if get(head..head + 6) == b" BLOCK" {
        head += 6;
    }
    head += get(head..head + 8)
        .iter()
        .take_while(|b| matches!(b, b'-' | b' '))
        .count();
    let limit = text.len().min(head + BODY_MAX);
    let area = get(head..limit);
    let next = position(area, b"BEGIN ").unwrap_or(area.len());
    let ended = position(area.get(..next).unwrap_or_default(), b"END ");
    let (body_end, end) = match ended {
        Some(end) => {
            let dashes = area
                .get(..end)
                .unwrap_or_default()
                .iter()
                .rev()
                .take_while(|b| matches!(b, b'-' | b' '))
                .count();
            let line = area.get(end..).unwrap_or_default().iter().take(80);
            let foot = line
                .take_while(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || matches!(b, b' ' | b'-'))
                .count();
            (head + end - dashes, head + end + foot)
        }
        None => {
            let end = head + unclosed(area.get(..next).unwrap_or_default());
            (end, end)
        }
    };
    Some(Block {
        whole: start..end,
        bodies: bodies(text, head..body_end),
    })
}

fn position(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).position(|window| window == word)
}

/// The body without the line ends around it; or its pieces, where there is more than base64 and headers in it.
fn bodies(text: &[u8], area: Range<usize>) -> Vec<Range<usize>> {
    let body = text.get(area.clone()).unwrap_or_default();
    let clean = |b: &u8| !matches!(b, b'"' | b'\'' | b'`' | b'<' | b'>' | b'{' | b'}' | b'[' | b']');
    if body.iter().all(clean) {
        let before = ends_before(body);
        let after = ends_after(body.get(before..).unwrap_or_default());
        let range = area.start + before..area.end - after;
        return if range.is_empty() { Vec::new() } else { vec![range] };
    }
    let mut pieces = Vec::new();
    let mut from = 0;
    for (at, byte) in body.iter().chain(std::iter::once(&b' ')).enumerate() {
        if !(byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'_')) {
            let word = body.get(from..at).unwrap_or_default();
            // `\n` before a word leaves its letter with the word; it is a line end all the same.
            let escape = usize::from(
                from > 0 && body.get(from - 1) == Some(&b'\\') && matches!(word.first(), Some(b'n' | b'r')),
            );
            if word.len() - escape >= PIECE_MIN {
                pieces.push(area.start + from + escape..area.start + at);
            }
            from = at + 1;
        }
    }
    pieces
}

/// The length of the blanks and line ends, escaped ones too, that the body begins with.
fn ends_before(body: &[u8]) -> usize {
    let mut at = 0;
    loop {
        match body.get(at) {
            Some(b) if b.is_ascii_whitespace() => at += 1,
            Some(b'\\') => {
                let slashes = body.iter().skip(at).take_while(|b| **b == b'\\').count();
                match body.get(at + slashes) {
                    Some(b'n' | b'r') => at += slashes + 1,
                    _ => return at,
                }
            }
            _ => return at,
        }
    }
}

/// The same at its end.
fn ends_after(body: &[u8]) -> usize {
    let mut end = body.len();
    loop {
        let rest = body.get(..end).unwrap_or_default();
        match rest.last() {
            Some(b) if b.is_ascii_whitespace() => end -= 1,
            Some(b'n' | b'r') if rest.len() >= 2 && rest.get(rest.len() - 2) == Some(&b'\\') => {
                end -= 1;
                end -= body
                    .get(..end)
                    .unwrap_or_default()
                    .iter()
                    .rev()
                    .take_while(|b| **b == b'\\')
                    .count();
            }
            _ => return body.len() - end,
        }
    }
}

/// How far a body reaches that no END closes: while its lines are base64 or headers.
fn unclosed(area: &[u8]) -> usize {
    let mut reached = 0;
    let mut begun = false;
    for line in area.split_inclusive(|b| *b == b'\n') {
        let mut text = line.trim_ascii();
        if let Some(quote) = text.iter().position(|b| matches!(b, b'"' | b'\'' | b'`' | b'<')) {
            // The string that holds it ends here.
            let lead = line.iter().take_while(|b| b.is_ascii_whitespace()).count();
            text = text.get(..quote).unwrap_or_default();
            let fits = text.iter().all(|b| is_base64(*b) || *b == b'\\');
            return reached + if fits { lead + quote } else { 0 };
        }
        let base64 = text.iter().all(|b| is_base64(*b) || *b == b'\\');
        let header = !begun
            && (text.starts_with(b"Proc-Type:") || text.starts_with(b"DEK-Info:") || text.starts_with(b"Comment:"));
        if !base64 && !header {
            // A line on which more follows: the body ends where base64 does.
            let lead = line.iter().take_while(|b| b.is_ascii_whitespace()).count();
            let own = text.iter().take_while(|b| is_base64(**b) || **b == b'\\').count();
            let rest = if !begun && own >= PIECE_MIN { lead + own } else { 0 };
            return reached + rest;
        }
        if text.is_empty() && begun {
            return reached;
        }
        begun |= base64 && !text.is_empty();
        reached += line.len();
    }
    reached
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_')
}

/// PuTTY's format: `Private-Lines: N` (at `at`), then as many lines.
pub(super) fn putty(text: &[u8], at: usize) -> Option<Block> {
    let rest = text.get(at + b"Private-Lines:".len()..)?;
    let blanks = rest.iter().take_while(|b| **b == b' ').count();
    let digits = rest
        .iter()
        .skip(blanks)
        .take(4)
        .take_while(|b| b.is_ascii_digit())
        .count();
    let number = std::str::from_utf8(rest.get(blanks..blanks + digits)?).ok()?;
    let lines: usize = number.parse().ok().filter(|lines| (1..=1000).contains(lines))?;
    let area = rest.get(..rest.len().min(BODY_MAX))?;
    let head = area.iter().position(|b| *b == b'\n')? + 1;
    let ends: Vec<usize> = (head..area.len())
        .filter(|at| area.get(*at) == Some(&b'\n'))
        .take(lines)
        .collect();
    let end = ends.last().copied().unwrap_or(area.len());
    let base = at + b"Private-Lines:".len();
    Some(Block {
        whole: at..base + end,
        bodies: bodies(text, base + head..base + end),
    })
}
