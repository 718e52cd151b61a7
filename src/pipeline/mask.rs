//! Finds, in one line of text that may not even be TOML, the values that stand behind a telling key.

use std::ops::Range;

/// Words that make a key telling wherever they stand in it.
const WORDS: [&str; 13] = [
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "secret",
    "token",
    "credential",
    "apikey",
    "auth",
    "bearer",
    "dsn",
    "cookie",
    "key",
];

/// Whether a key says that its value is a secret. `secret_keys` are the schema's own secret fields.
pub(super) fn is_telling(key: &str, secret_keys: &[String]) -> bool {
    if secret_keys.iter().any(|known| known == key) {
        return true;
    }
    words(key).iter().any(|word| {
        WORDS.contains(&word.as_str())
            || word
                .strip_suffix('s')
                .is_some_and(|one| one != "key" && WORDS.contains(&one))
    })
}

/// Whether a line leaves a value behind a telling key open, so that the lines after it belong to the value.
pub(super) fn leaves_open(line: &str, secret_keys: &[String]) -> bool {
    let Some(text) = telling(line, secret_keys).pop().and_then(|range| line.get(range)) else {
        return false;
    };
    let text = text.trim_end();
    match text.chars().next() {
        Some('[') => !text.contains(']'),
        Some('"' | '\'') => {
            let triple = text.get(..3).filter(|start| matches!(*start, "\"\"\"" | "\'\'\'"));
            triple.is_some_and(|triple| text.len() < 6 || !text.ends_with(triple))
        }
        _ => false,
    }
}

/// The byte ranges of a line that stand behind a telling key or are the password in a URL. What cannot be told apart is
/// hidden to the line's end.
pub(super) fn telling(line: &str, secret_keys: &[String]) -> Vec<Range<usize>> {
    let mut found = passwords(line);
    let mut from = 0;
    while let Some(equals) = line.get(from..).and_then(|rest| rest.find('=')).map(|at| from + at) {
        from = equals + 1;
        let Some((before, after)) = line.split_at_checked(equals) else {
            break;
        };
        let after = after.get(1..).unwrap_or_default();
        let value = from + (after.len() - after.trim_start().len());
        let text = line.get(value..).unwrap_or_default();
        if text.starts_with('{') || !names_a_secret(key_before(before), text, secret_keys) {
            continue;
        }
        let end = value + value_length(text);
        if value < end {
            found.push(value..end);
        }
        from = end.max(from);
    }
    found
}

/// What stands between `:` and `@` in the authority of each URL.
fn passwords(line: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (at, mark) in line.match_indices("://") {
        let start = at + mark.len();
        let rest = line.get(start..).unwrap_or_default();
        let authority = rest
            .split(|c: char| matches!(c, '/' | '"' | '\'') || c.is_whitespace())
            .next()
            .unwrap_or_default();
        if let Some((user, _)) = authority.rsplit_once('@')
            && let Some((name, password)) = user.split_once(':')
            && !password.is_empty()
        {
            let from = start + name.len() + 1;
            found.push(from..from + password.len());
        }
    }
    found
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

/// The key that stands right before an equals sign.
fn key_before(before: &str) -> &str {
    let trimmed = before.trim_end();
    let start = trimmed
        .rfind(|c: char| !(c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '"' | '\'')))
        .map_or(0, |at| {
            at + trimmed
                .get(at..)
                .and_then(|rest| rest.chars().next())
                .map_or(1, char::len_utf8)
        });
    trimmed.get(start..).unwrap_or_default()
}

/// How much of the text is the value: a quoted string to its end, anything else to the end of the line.
fn value_length(text: &str) -> usize {
    let Some(quote) = text.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
        return text.len();
    };
    let triple: String = std::iter::repeat_n(quote, 3).collect();
    if text.starts_with(&triple) {
        return text
            .get(3..)
            .and_then(|rest| rest.find(&triple))
            .map_or(text.len(), |at| at + 6);
    }
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if character == '\\' && quote == '"' {
            escaped = true;
        } else if character == quote {
            return at + 1;
        }
    }
    text.len()
}

/// The words of a key, in lower case: `secretAccessKey` and `secret-access-key` have the same three.
fn words(key: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut previous_lower = false;
    for character in key.chars() {
        if !character.is_alphanumeric() || (character.is_uppercase() && previous_lower) {
            words.push(String::new());
        }
        previous_lower = character.is_lowercase() || character.is_ascii_digit();
        if character.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(character.to_lowercase());
        }
    }
    words
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
            "keys = [\"pin\"]",
            "monkey = 1",
        ] {
            assert_eq!(masked(line), line);
        }
    }

    #[test]
    fn a_value_that_goes_on_is_known_as_such() {
        for line in [
            "passwords = [",
            "tokens = [ \"abc\",",
            "secret = \"\"\"",
            "key = '''abc",
        ] {
            assert!(leaves_open(line, &[]), "{line}");
        }
        for line in [
            "passwords = [\"abc\"]",
            "path = [",
            "secret = \"\"\"abc\"\"\"",
            "token = \"abc\"",
        ] {
            assert!(!leaves_open(line, &[]), "{line}");
        }
    }

    #[test]
    fn a_secret_pasted_in_place_of_its_name_is_hidden() {
        assert_eq!(masked("k = { secret = \"hunter2\" }"), "k = { secret = *** }");
    }
}
