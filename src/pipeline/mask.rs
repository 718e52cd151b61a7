//! Finds, in one line of text that may not even be TOML, the values that stand behind a telling key.

use std::ops::Range;

use crate::sensitive::keys;

/// Whether a key says that its value is a secret. `secret_keys` are the schema's own secret fields.
pub(super) fn is_telling(key: &str, secret_keys: &[String]) -> bool {
    secret_keys.iter().any(|known| known == key) || keys::is_telling(key)
}

/// Whether a line below `above` may belong to a value behind a telling key: it has no key of its own and the nearest one
/// above it tells. The text may be no TOML, so whether that value was closed is not asked.
pub(super) fn goes_on(above: &str, line: &str, secret_keys: &[String]) -> bool {
    if begins_anew(line) || is_table(line.trim_start()) {
        return false;
    }
    for line in above.lines().rev() {
        if !values(line, secret_keys).is_empty() {
            return true;
        }
        if begins_anew(line) {
            return false;
        }
    }
    false
}

/// Whether a line is the header of a table or gives a key of its own.
fn begins_anew(line: &str) -> bool {
    let line = line.trim();
    if let Some(header) = line.strip_prefix('[') {
        let name = header.trim_start_matches('[').trim_end_matches(']');
        return line.ends_with(']') && name.split('.').all(is_bare);
    }
    line.split_once('=').is_some_and(|(key, value)| {
        key.trim().split('.').all(is_bare) && value.starts_with(' ') && !value.trim().is_empty()
    })
}

fn is_bare(key: &str) -> bool {
    let key = key.trim();
    !key.is_empty()
        && key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// The byte ranges of a line that stand behind a telling key or are the password in a URL. What cannot be told apart is
/// hidden to the line's end.
pub(super) fn telling(line: &str, secret_keys: &[String]) -> Vec<Range<usize>> {
    let mut found = passwords(line);
    found.extend(values(line, secret_keys));
    found
}

/// The values behind telling keys. One that was not begun has an empty range; one without any key counts as telling.
fn values(line: &str, secret_keys: &[String]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(equals) = line.get(from..).and_then(|rest| rest.find('=')).map(|at| from + at) {
        from = equals + 1;
        let Some((before, after)) = line.split_at_checked(equals) else {
            break;
        };
        let after = after.get(1..).unwrap_or_default();
        let value = from + (after.len() - after.trim_start().len());
        let text = line.get(value..).unwrap_or_default();
        let key = key_before(before);
        if is_table(text) || !(key.is_empty() || names_a_secret(key, text, secret_keys)) {
            continue;
        }
        let end = value + value_length(text);
        found.push(value..end);
        from = end.max(from);
    }
    found
}

/// What stands between `:` and `@` in the authority of each URL; to the end of the line where the URL is broken off.
fn passwords(line: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (at, mark) in line.match_indices("://") {
        let start = at + mark.len();
        let rest = line.get(start..).unwrap_or_default();
        let authority = rest
            .split(|c: char| matches!(c, '/' | '"' | '\'') || c.is_whitespace())
            .next()
            .unwrap_or_default();
        let Some((name, behind)) = authority.split_once(':') else {
            continue;
        };
        let from = start + name.len() + 1;
        match behind.rsplit_once('@') {
            Some(("", _)) => {}
            Some((password, _)) => found.push(from..from + password.len()),
            None if behind.bytes().all(|b| b.is_ascii_digit()) => {}
            None => found.push(from..line.len()),
        }
    }
    found
}

/// Whether the value is a table, or a list that begins with one: its own keys say what is a secret.
fn is_table(text: &str) -> bool {
    let Some(inner) = text.trim_start_matches(['[', ' ']).strip_prefix('{') else {
        return false;
    };
    inner.split_once('=').is_some_and(|(key, _)| is_bare(key))
}

/// Whether the dotted key ends in a telling name. The words of a reference to a secret are no secrets.
fn names_a_secret(key: &str, value: &str, secret_keys: &[String]) -> bool {
    let segments: Vec<&str> = key
        .split('.')
        .map(|segment| segment.trim().trim_matches(['"', '\'']))
        .collect();
    match segments.last() {
        Some(&("file" | "command")) | None => false,
        Some(&"secret") if is_variable_name(value) => false,
        Some(_) => segments.iter().any(|segment| is_telling(segment, secret_keys)),
    }
}

/// Whether the value is a quoted name such as `"OFFSITE_KEY"`: upper-case letters, digits and `_`.
fn is_variable_name(value: &str) -> bool {
    let Some(rest) = value.strip_prefix('"') else {
        return false;
    };
    let Some((name, _)) = rest.split_once('"') else {
        return false;
    };
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

/// The key before an equals sign, with whatever stands before it that is no key: too much tells more than too little.
fn key_before(before: &str) -> &str {
    before.rsplit([',', '{', '=']).next().unwrap_or_default().trim()
}

/// How much of the text is the value: a quoted string to its end where nothing odd follows, anything else to the end of
/// the line.
fn value_length(text: &str) -> usize {
    let Some(length) = quoted(text) else {
        return text.len();
    };
    let rest = text.get(length..).unwrap_or_default().trim_start();
    if rest.is_empty() || rest.starts_with([',', '}', ']', '#']) {
        length
    } else {
        text.len()
    }
}

/// The bytes of a quoted string that is closed on its line.
fn quoted(text: &str) -> Option<usize> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let triple: String = std::iter::repeat_n(quote, 3).collect();
    if text.starts_with(&triple) {
        return text.get(3..)?.find(&triple).map(|at| at + 6);
    }
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if character == '\\' && quote == '"' {
            escaped = true;
        } else if character == quote {
            return Some(at + 1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(line: &str) -> String {
        let mut text = line.to_owned();
        let mut ranges = telling(line, &["values".to_owned()]);
        ranges.sort_by_key(|range| range.start);
        for range in ranges.into_iter().rev() {
            text.replace_range(range, "***");
        }
        text
    }

    #[test]
    fn what_stands_behind_a_telling_key_is_hidden_also_where_the_line_is_no_toml() {
        for (line, hidden) in [
            ("password = \"abc\" # x", "password = *** # x"),
            ("db-password = 'abc", "db-password = ***"),
            ("secretAccessKey=abc def", "secretAccessKey=***"),
            (
                "a = { url = \"u\", access-key = \"abc\", n = 1 }",
                "a = { url = \"u\", access-key = ***, n = 1 }",
            ),
            ("values = [\"abc\"", "values = ***"),
            ("step.scrub.values=[\"abc\"]", "step.scrub.values=***"),
            ("x.token.live = \"a\\\"bc\" ", "x.token.live = *** "),
            ("token = \"\"\"abc", "token = ***"),
            ("\"api key\" = \"abc\"", "\"api key\" = ***"),
            ("password = \"ab\"cd\" # x", "password = ***"),
            (" = \"abc\"", " = ***"),
            ("password ={{ \"abc\"", "password =***"),
            ("url = \"sftp://me:ab", "url = \"sftp://me:***"),
            ("url = \"sftp://me:abc@host/x\"", "url = \"sftp://me:***@host/x\""),
        ] {
            assert_eq!(masked(line), hidden);
        }
    }

    #[test]
    fn references_and_plain_keys_are_shown() {
        for line in [
            "secrets = { file = \".env.live\" }",
            "secrets.file = \".env.live\"",
            "access-key-id = { secret = \"OFFSITE_KEY\" }",
            "path = \"/srv/data\"",
            "values = [{ secret = \"ONE\" }, { file = \"/run/two\" }]",
            "keys = [\"pin\"]",
            "monkey = 1",
            "url = \"https://host:8443/x\"",
        ] {
            assert_eq!(masked(line), line);
        }
    }

    #[test]
    fn a_line_below_a_telling_key_goes_on_until_another_key_begins() {
        for (above, line) in [
            ("passwords = [", "  \"abc\","),
            ("tokens = [ \"a]bc\",", "\"de\"]"),
            ("api-key = '''abc\nx=y", "z"),
            ("password =", "\"abc\""),
            ("password = \"abc", "de=="),
            ("secret = \"\"\" \"\"\"", "abc"),
        ] {
            assert!(goes_on(above, line, &[]), "{above} {line}");
        }
        for (above, line) in [
            ("path = [", "\"/srv\""),
            ("token = \"abc\"", "level = 3"),
            ("token = \"abc\"", "[path]"),
            ("token = \"abc\"\nlevel = [", "3"),
            ("secrets = [", "  { secret = \"ONE\" },"),
        ] {
            assert!(!goes_on(above, line, &[]), "{above} {line}");
        }
    }

    #[test]
    fn a_secret_pasted_in_place_of_its_name_is_hidden() {
        assert_eq!(masked("k = { secret = \"hunter2\" }"), "k = { secret = *** }");
    }
}
