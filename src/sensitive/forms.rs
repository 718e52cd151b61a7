//! The forms in which a value may appear in a text: plain, percent-encoded, base64 at any alignment, hex, escaped for
//! JSON (twice), for a shell, for markup.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_encode};
use zeroize::Zeroize;

/// Bytes below which a form is not sought: it would be found in ordinary text.
pub(super) const FORM_MIN: usize = 6;

/// Bytes of a value of which forms other than the plain one are made; a longer one is sought by its parts too.
const FORM_MAX: usize = 8 << 10;

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const COMPONENT: &AsciiSet = &UNRESERVED
    .remove(b'!')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*');
const FORM: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'*')
    .remove(b' ');
const USERINFO: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'/')
    .add(b':')
    .add(b';')
    .add(b'=')
    .add(b'@')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'|');
const QUERY: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'\'')
    .add(b'&')
    .add(b'+');

/// Adds all forms of `value` that are long enough to be sought.
pub(super) fn add_forms(value: &[u8], into: &mut BTreeSet<Vec<u8>>) {
    if value.len() < FORM_MIN {
        return;
    }
    let mut add = |form: Vec<u8>| {
        if form.len() >= FORM_MIN {
            into.insert(form);
        }
    };
    add(value.to_vec());
    if value.len() > FORM_MAX {
        return;
    }
    add(hex::encode(value).into_bytes());
    add(hex::encode_upper(value).into_bytes());
    base64_forms(value, &mut add);
    for set in [NON_ALPHANUMERIC, UNRESERVED, COMPONENT, USERINFO, QUERY] {
        percent_forms(percent_encode(value, set).to_string(), &mut add);
    }
    percent_forms(percent_encode(value, FORM).to_string().replace(' ', "+"), &mut add);
    escaped_forms(value, &mut add);
}

/// Both cases of the hex digits behind `%`, and each percent sign encoded once more.
fn percent_forms(upper: String, add: &mut impl FnMut(Vec<u8>)) {
    let mut lower = upper.clone().into_bytes();
    let mut after = 0;
    for byte in &mut lower {
        if *byte == b'%' {
            after = 2;
        } else if after > 0 {
            *byte = byte.to_ascii_lowercase();
            after -= 1;
        }
    }
    add(upper.replace('%', "%25").into_bytes());
    add(lower);
    add(upper.into_bytes());
}

/// The characters that depend on `value` alone, wherever it stands in what was encoded; and the whole with its padding.
fn base64_forms(value: &[u8], add: &mut impl FnMut(Vec<u8>)) {
    for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
        for (shift, skipped) in [(0usize, 0usize), (1, 2), (2, 3)] {
            let mut shifted = vec![0; shift];
            shifted.extend_from_slice(value);
            let whole = engine.encode(&shifted).into_bytes();
            let own = shifted.len() * 8 / 6;
            if let Some(form) = whole.get(skipped..own.min(whole.len())) {
                add(form.to_vec());
            }
            if shift == 0 {
                let mut padded = whole.clone();
                padded.resize(whole.len().div_ceil(4) * 4, b'=');
                add(padded);
                add(whole);
            }
            shifted.zeroize();
        }
    }
}

fn escaped_forms(value: &[u8], add: &mut impl FnMut(Vec<u8>)) {
    let Ok(text) = std::str::from_utf8(value) else {
        return;
    };
    for once in [
        json(text, false, false),
        json(text, true, false),
        json(text, false, true),
        json(text, true, true),
    ] {
        for twice in [json(&once, false, false), json(&once, true, false)] {
            add(twice.into_bytes());
        }
        add(once.into_bytes());
    }
    let replaced = |pairs: &[(char, &str)]| {
        let mut out = String::with_capacity(text.len() + 8);
        for c in text.chars() {
            match pairs.iter().find(|(from, _)| *from == c) {
                Some((_, to)) => out.push_str(to),
                None => out.push(c),
            }
        }
        out.into_bytes()
    };
    add(replaced(&[('\'', "'\\''")]));
    add(replaced(&[('\'', "'\"'\"'")]));
    add(replaced(&[('\'', "''")]));
    add(replaced(&[('"', "\"\"")]));
    add(replaced(&[('\'', "\\'"), ('\\', "\\\\")]));
    add(replaced(&[('$', "\\$"), ('`', "\\`"), ('"', "\\\""), ('\\', "\\\\")]));
    add(replaced(&[
        ('$', "\\$"),
        ('`', "\\`"),
        ('"', "\\\""),
        ('\\', "\\\\"),
        ('!', "\\!"),
    ]));
    add(replaced(&[('$', "$$")]));
    add(replaced(&[('%', "%%")]));
    add(replaced(&[
        ('&', "&amp;"),
        ('<', "&lt;"),
        ('>', "&gt;"),
        ('"', "&quot;"),
        ('\'', "&#39;"),
    ]));
    add(replaced(&[
        ('&', "&amp;"),
        ('<', "&lt;"),
        ('>', "&gt;"),
        ('"', "&quot;"),
        ('\'', "&apos;"),
    ]));
    add(replaced(&[
        ('&', "&amp;"),
        ('<', "&lt;"),
        ('>', "&gt;"),
        ('"', "&#34;"),
        ('\'', "&#39;"),
    ]));
    add(replaced(&[('&', "&amp;"), ('<', "&lt;"), ('>', "&gt;")]));
    // What `printf %q` and Rust's and Python's debug output make of it.
    let mut quoted = String::new();
    for c in text.chars() {
        if c.is_ascii()
            && !c.is_ascii_alphanumeric()
            && !matches!(c, '_' | '-' | '.' | '/' | ':' | '@' | '%' | '+' | ',' | '=')
        {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    add(quoted.into_bytes());
    add(text.escape_debug().to_string().into_bytes());
}

/// The inside of a JSON string; `ascii` writes what is not ASCII as `\u`, `html` also `<`, `>`, `&` and the slash.
fn json(text: &str, ascii: bool, html: bool) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '/' if html && !ascii => out.push_str("\\/"),
            '<' | '>' | '&' if html && ascii => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c if u32::from(c) < 0x20 || (ascii && !c.is_ascii()) => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
    }
    out
}
