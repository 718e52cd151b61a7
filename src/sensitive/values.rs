//! Judges a value by its look: a placeholder, a plain setting, or something random.

use super::keys::{Numbers, Telling, Weight};
use super::{Rule, marker_length, without_markers};

/// Whether `value`, behind a key that tells `telling`, is no secret and stays.
///
/// In doubt a value is a secret. A value that is a redaction marker stays, so that a second pass changes nothing.
pub fn stays(value: &[u8], telling: Telling) -> bool {
    let value = value.trim_ascii();
    if marker_length(value) == Some(value.len()) {
        return true;
    }
    let marked = without_markers(value);
    let redacted_before = marked.len() != value.len();
    let value = &*marked;
    if is_placeholder(value) || is_switch(value) || is_span(value) || is_known_path(value) {
        return true;
    }
    if is_number(value) {
        return number_stays(value, telling);
    }
    match telling.weight {
        Weight::Strong => false,
        // What was redacted inside in a first pass was judged as a whole then.
        Weight::Soft => redacted_before || is_plain_setting(value),
        Weight::Random => redacted_before || !is_random(value) || is_uuid(value),
        Weight::Locator => redacted_before || !may_hold_credentials(value, telling.rule),
    }
}

fn number_stays(value: &[u8], telling: Telling) -> bool {
    let digits = value.iter().filter(|b| b.is_ascii_digit()).count();
    match (telling.numbers, telling.weight, telling.rule) {
        (Numbers::Count, ..) | (_, Weight::Soft | Weight::Locator, _) => true,
        (_, Weight::Random, _) => digits < 16,
        (_, Weight::Strong, Rule::Password) => digits < 4,
        (_, Weight::Strong, _) => digits < 6,
    }
}

/// Whether the value says that a real one belongs here: empty, `${X}`, `{{x}}`, `<x>`, `changeme`, `***`, `null`.
pub fn is_placeholder(value: &[u8]) -> bool {
    value.is_empty() || is_reference(value) || is_dummy(value)
}

/// A value that is nothing but references: `${X}`, `$X`, `$(x)`, `{{ x }}`, `<x>`, `%X%`, `%(x)s`, `#{x}`, `@x@`.
fn is_reference(value: &[u8]) -> bool {
    let mut rest = value;
    let mut found = false;
    loop {
        // Separators between references tell nothing.
        let skipped = rest
            .iter()
            .take_while(|b| matches!(b, b':' | b'/' | b'@' | b'-' | b'.' | b'_' | b' '))
            .count();
        if skipped > 0 && found {
            rest = rest.get(skipped..).unwrap_or_default();
        }
        if rest.is_empty() {
            return found;
        }
        let Some(length) = reference_length(rest) else {
            return false;
        };
        rest = rest.get(length..).unwrap_or_default();
        found = true;
    }
}

/// The length of the one reference that `text` begins with.
fn reference_length(text: &[u8]) -> Option<usize> {
    let closed = |open: &[u8], close: &[u8], fits: fn(&[u8]) -> bool| {
        let inner = text.strip_prefix(open)?;
        let end = inner
            .windows(close.len())
            .take(512)
            .position(|window| window == close)?;
        fits(inner.get(..end)?).then_some(open.len() + end + close.len())
    };
    match text.first()? {
        b'$' => closed(b"${{", b"}}", is_expression)
            .or_else(|| closed(b"${", b"}", is_variable))
            .or_else(|| closed(b"$(", b")", is_expression))
            .or_else(|| {
                let name = text
                    .iter()
                    .skip(1)
                    .take_while(|b| b.is_ascii_alphanumeric() || **b == b'_')
                    .count();
                let upper = text.iter().skip(1).take(name).all(|b| !b.is_ascii_lowercase());
                let begins = text.get(1).is_some_and(|b| b.is_ascii_uppercase() || *b == b'_');
                (upper && begins).then_some(name + 1)
            }),
        b'{' => closed(b"{{", b"}}", is_expression).or_else(|| closed(b"{%", b"%}", is_expression)),
        b'<' => closed(b"<", b">", |inner| {
            !inner.is_empty() && inner.len() <= 80 && !looks_random(inner)
        }),
        b'#' => closed(b"#{", b"}", is_expression),
        b'%' => closed(b"%(", b")s", is_name).or_else(|| closed(b"%", b"%", is_name)),
        b'@' => closed(b"@", b"@", is_name),
        _ => None,
    }
}

fn is_name(text: &[u8]) -> bool {
    !text.is_empty()
        && text
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
        && !looks_random(text)
}

/// `NAME`, `NAME:?message`, `NAME:-` and the like: a variable without a default that is a value.
fn is_variable(text: &[u8]) -> bool {
    let name = text
        .iter()
        .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
        .count();
    // `${X-default}`: a `-` also stands in names (`${secrets.db-password}`), where no capital or digit follows it.
    let (name, rest) = text.split_at(name);
    let shell_default = name.iter().position(|b| *b == b'-').is_some_and(|at| {
        name.iter()
            .take(at)
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'_')
    });
    if name.is_empty() || (shell_default && !is_dummy(name.rsplit(|b| *b == b'-').next().unwrap_or_default())) {
        return false;
    }
    let default = match rest {
        [] => return !looks_random(name),
        [b':', b'?', ..] | [b'?', ..] => return true,
        [b':', b'-' | b'=' | b'+', default @ ..] | [b':' | b'=' | b'+', default @ ..] => default,
        _ => return false,
    };
    default.is_empty() || is_dummy(default) || is_reference_once(default)
}

fn is_reference_once(text: &[u8]) -> bool {
    // One level only: the braces of the outer reference end at the first `}`.
    text.strip_prefix(b"$")
        .is_some_and(|name| name.iter().all(|b| b.is_ascii_uppercase() || *b == b'_'))
}

/// An expression of a template without a literal that may be a default.
fn is_expression(text: &[u8]) -> bool {
    let lower = text.to_ascii_lowercase();
    let holds = |word: &[u8]| lower.windows(word.len()).any(|window| window == word);
    !text.is_empty() && !holds(b"default") && !holds(b"||") && !holds(b" or ") && !holds(b"??") && !looks_random(text)
}

/// A word that stands for a value: `changeme`, `your-api-key`, `xxxx`, `***`, `TODO`.
fn is_dummy(value: &[u8]) -> bool {
    const WORDS: &[&str] = &[
        "",
        "changeme",
        "changethis",
        "changeit",
        "replaceme",
        "replacethis",
        "fixme",
        "todo",
        "tbd",
        "none",
        "null",
        "nil",
        "undefined",
        "unset",
        "notset",
        "na",
        "empty",
        "redacted",
        "removed",
        "masked",
        "hidden",
        "placeholder",
        "example",
        "dummy",
        "insertme",
        "fillme",
        "fillin",
        "setme",
    ];
    const STARTS: &[&str] = &[
        "changeme",
        "changethis",
        "replaceme",
        "replacewith",
        "yoursecret",
        "yourpassword",
        "yourtoken",
        "yourapi",
        "yourkey",
        "youraccess",
        "yourprivate",
        "yourclient",
        "insertyour",
        "enteryour",
        "putyour",
        "addyour",
    ];
    if value.len() > 64 {
        return false;
    }
    if value.len() >= 3 && value.iter().all(|b| Some(b) == value.first()) && !value.iter().any(u8::is_ascii_digit) {
        return true;
    }
    if value.iter().any(u8::is_ascii_digit) || looks_random(value) {
        return false;
    }
    let letters: Vec<u8> = value
        .iter()
        .filter(|b| !matches!(b, b'_' | b'-' | b' ' | b'.' | b'/' | b'!'))
        .map(u8::to_ascii_lowercase)
        .collect();
    let Ok(letters) = std::str::from_utf8(&letters) else {
        return false;
    };
    letters == "~" || WORDS.contains(&letters) || STARTS.iter().any(|start| letters.starts_with(start))
}

/// `true`, `yes`, `off` and their like.
fn is_switch(value: &[u8]) -> bool {
    ["true", "false", "yes", "no", "on", "off", "enabled", "disabled"]
        .iter()
        .any(|word| value.eq_ignore_ascii_case(word.as_bytes()))
}

fn is_number(value: &[u8]) -> bool {
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    digits.iter().any(u8::is_ascii_digit) && digits.iter().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'_'))
}

/// A span of time or a size: `30s`, `15m`, `24h`, `64MiB`.
fn is_span(value: &[u8]) -> bool {
    let digits = value.iter().take_while(|b| b.is_ascii_digit()).count();
    let unit = value.get(digits..).unwrap_or_default().trim_ascii_start();
    (1..=5).contains(&digits)
        && [
            "ms", "s", "sec", "m", "min", "h", "d", "w", "y", "days", "hours", "minutes", "seconds", "B", "KB", "MB",
            "GB", "KiB", "MiB", "GiB",
        ]
        .iter()
        .any(|known| unit == known.as_bytes())
}

/// A path in a place where paths are, not base64 that happens to begin with `/`.
fn is_known_path(value: &[u8]) -> bool {
    const ROOTS: &[&str] = &[
        "/etc/",
        "/run/",
        "/var/",
        "/srv/",
        "/opt/",
        "/home/",
        "/usr/",
        "/root/",
        "/tmp/",
        "/mnt/",
        "/data/",
        "/app/",
        "/secrets/",
        "/config/",
        "/vault/",
        "./",
        "../",
        "~/",
        "file:///",
        "vault://",
        "op://",
        "vault:secret/",
    ];
    value.len() <= 256
        && value
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'_' | b'-' | b'~' | b':' | b'#'))
        && ROOTS.iter().any(|root| value.starts_with(root.as_bytes()))
        && !value
            .split(|b| *b == b'/')
            .any(|part| looks_random(part) && !is_uuid(part))
}

/// Words that name a way, not a secret: `basic`, `scram-sha-256`, `session-cookie`.
fn is_plain_setting(value: &[u8]) -> bool {
    const WORDS: &[&str] = &[
        "oauth2",
        "md5",
        "sha256",
        "sha1",
        "sha512",
        "scram-sha-256",
        "scram-sha-512",
        "scram-sha-1",
        "x509",
        "http2",
        "base64",
        "hs256",
        "hs384",
        "hs512",
        "rs256",
        "rs384",
        "rs512",
        "es256",
        "es384",
        "argon2",
        "argon2id",
        "pbkdf2",
        "oauth2-proxy",
        "openid",
        "saml2",
        "ed25519",
        "krb5",
        "aws4",
        "sigv4",
    ];
    let lower = value.to_ascii_lowercase();
    if WORDS.iter().any(|word| lower == word.as_bytes()) {
        return true;
    }
    let plain = |b: &u8| b.is_ascii_alphabetic() || matches!(b, b'-' | b'_' | b'.' | b' ' | b'/' | b':');
    let url = value.starts_with(b"https://") || value.starts_with(b"http://");
    if url {
        // Its password and query are judged by their own rules.
        return true;
    }
    value.len() <= 24
        && value.iter().all(plain)
        && !value.contains(&b':')
        && value
            .split(|b| !b.is_ascii_alphabetic())
            .all(|word| word.len() <= 16 && reads_as_word(word))
}

/// Whether letters alternate as in a word: no capital inside, and a vowel in every five letters.
fn reads_as_word(word: &[u8]) -> bool {
    let tail_small = word.iter().skip(1).all(u8::is_ascii_lowercase);
    let all_capital = word.iter().all(u8::is_ascii_uppercase);
    let vowel = |b: &u8| matches!(b.to_ascii_lowercase(), b'a' | b'e' | b'i' | b'o' | b'u' | b'y');
    (tail_small || all_capital) && (word.len() <= 4 || word.windows(5).all(|window| window.iter().any(vowel)))
}

/// Whether an address behind `dsn` or `webhook` can hold a secret at all.
fn may_hold_credentials(value: &[u8], rule: Rule) -> bool {
    if rule == Rule::Webhook {
        let path = value
            .windows(3)
            .position(|window| window == b"://")
            .and_then(|at| value.get(at + 3..))
            .map_or(value, |rest| {
                rest.iter()
                    .position(|b| *b == b'/')
                    .and_then(|at| rest.get(at..))
                    .unwrap_or_default()
            });
        return is_path_secret(path) || value.contains(&b'@');
    }
    let lower = value.to_ascii_lowercase();
    let holds = |word: &[u8]| lower.windows(word.len()).any(|window| window == word);
    value.contains(&b'@')
        || [
            &b"pass"[..],
            b"pwd",
            b"key",
            b"secret",
            b"token",
            b"auth",
            b"sig",
            b"cred",
        ]
        .iter()
        .any(|word| holds(word))
        || value.split(|b| !b.is_ascii_alphanumeric()).any(looks_random)
}

/// Whether a webhook's path has a part that nobody would guess: whoever knows it may call it.
pub fn is_path_secret(path: &[u8]) -> bool {
    path.split(|b| !b.is_ascii_alphanumeric() && *b != b'_' && *b != b'-')
        .any(|part| {
            let digits = part.iter().any(u8::is_ascii_digit);
            let letters = part.iter().any(u8::is_ascii_alphabetic);
            (part.len() >= 8 && digits && letters) || part.len() >= 24 || looks_random(part)
        })
}

/// Whether a value without spaces looks drawn at random: 16 bytes or more, of many different ones, or long hex.
pub fn is_random(value: &[u8]) -> bool {
    let own =
        |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'-' | b'_' | b'.' | b'~' | b':' | b'!' | b'*');
    let word = value.iter().take(RANDOM_MAX + 1).take_while(|b| own(b)).count();
    let padding = value.get(word..).unwrap_or_default();
    (16..=RANDOM_MAX).contains(&word)
        && padding.len() <= 2
        && padding.iter().all(|b| *b == b'=')
        && value
            .split(|b| matches!(b, b'/' | b'.' | b':' | b'-' | b'_'))
            .any(|part| part.len() >= 8)
        && !value.windows(3).any(|window| window == b"://")
        && looks_random(value)
}

/// Bytes of a word that is judged by its look: longer ones are data.
const RANDOM_MAX: usize = 4096;

/// At least 12 bytes that are no words: digits among letters, or capitals inside, spread evenly enough.
pub fn looks_random(value: &[u8]) -> bool {
    if value.len() < 12 {
        return false;
    }
    let digits = value.iter().filter(|b| b.is_ascii_digit()).count();
    let letters = value.iter().filter(|b| b.is_ascii_alphabetic()).count();
    let changes = value
        .windows(2)
        .filter(|pair| matches!(pair, [a, b] if class(*a) != class(*b) && class(*a) > 0 && class(*b) > 0))
        .count();
    let even = entropy(value) >= 3.0_f64.min(entropy_of_length(value.len()) * 0.75);
    let mixed = digits >= 2 && letters >= 2 && changes * 6 >= value.len();
    let capitals = letters >= 10 && changes * 3 >= value.len();
    even && (mixed || capitals)
}

/// Digit, small, capital or none of them.
fn class(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => 1,
        b'a'..=b'z' => 2,
        b'A'..=b'Z' => 3,
        _ => 0,
    }
}

fn is_uuid(value: &[u8]) -> bool {
    value.len() == 36
        && value.iter().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => *b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

/// Shannon's entropy of the bytes, in bits a byte.
fn entropy(value: &[u8]) -> f64 {
    let mut counts = [0u32; 256];
    for byte in value.iter().take(4096) {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
    }
    let total = f64::from(u32::try_from(value.len().min(4096)).unwrap_or(1));
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| {
            let share = f64::from(*count) / total;
            -share * share.log2()
        })
        .sum()
}

fn entropy_of_length(length: usize) -> f64 {
    f64::from(u32::try_from(length).unwrap_or(u32::MAX)).log2()
}

#[cfg(test)]
mod tests {
    use super::super::keys::KeyRules;
    use super::*;

    fn stays_behind(key: &str, value: &str) -> bool {
        let telling = KeyRules::default().judge(key.as_bytes()).expect(key);
        stays(value.as_bytes(), telling)
    }

    #[test]
    fn placeholders_stay() {
        for value in [
            "",
            "  ",
            "${DB_PASSWORD}",
            "$DB_PASSWORD",
            "$(cat /run/x)",
            "{{ vault.password }}",
            "{{x}}",
            "<password>",
            "<your key here>",
            "changeme",
            "CHANGE_ME",
            "change-me!",
            "null",
            "~",
            "none",
            "true",
            "xxxxxxxx",
            "********",
            "...",
            "your-api-key",
            "YOUR_API_KEY_HERE",
            "TODO",
            "%DB_PASSWORD%",
            "%(password)s",
            "#{secret}",
            "@password@",
            "${DB_PASSWORD:?must be set}",
            "${DB_PASSWORD:-}",
            "${DB_PASSWORD:-changeme}",
            "${{ secrets.TOKEN }}",
            "${A}:${B}",
            "[REDACTED:password]",
            "30s",
            "15m",
            "0",
            "12",
            "/run/secrets/db_password",
            "./secrets/token",
            "${secrets.db-password}",
        ] {
            assert!(stays_behind("password", value), "{value}");
        }
    }

    #[test]
    fn values_behind_telling_keys_go() {
        for value in [
            "hunter2",
            "correct horse battery staple",
            "1234",
            "19850712",
            "password",
            "letmein!",
            "${A}tail",
            "abc${A}",
            "${DB_PASSWORD:-hunter2}",
            "${DB_PASSWORD-hunter2}",
            "{{ x | default('hunter2') }}",
            "$ecret",
            "/9j4AAQSk",
            "12345678901234567890",
            "[REDACTED:x]tail",
        ] {
            assert!(!stays_behind("password", value), "{value}");
        }
    }

    #[test]
    fn soft_keys_spare_plain_settings() {
        for value in [
            "basic",
            "none",
            "oauth2",
            "scram-sha-256",
            "session",
            "https://auth.example.com/",
            "true",
            "LDAP",
        ] {
            assert!(stays_behind("auth", value), "{value}");
        }
        for value in [
            "user:hunter2",
            "dXNlcjpodW50ZXIy",
            "qzxkvbnmwrtp",
            "aB3kd9Lm2Qp",
            "Bearer abc123def",
        ] {
            assert!(!stays_behind("auth", value), "{value}");
        }
    }

    #[test]
    fn only_random_values_behind_a_plain_key_go() {
        for value in [
            "path/to/object.txt",
            "name",
            "user_id",
            "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
            "Enter",
            "ctrl+x",
        ] {
            assert!(stays_behind("key", value), "{value}");
        }
        assert!(!stays_behind(
            "fence_key",
            "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
        ));
        assert!(!stays_behind("fence_key", "Zk3vP0qLw8Xy1RtB6nMd"));
    }

    #[test]
    fn addresses_without_credentials_stay() {
        assert!(stays_behind("dsn", "sqlite:///data/app.db"));
        assert!(stays_behind("dsn", "postgres://localhost:5432/app"));
        assert!(!stays_behind("dsn", "app:hunter2@tcp(db:3306)/app"));
        assert!(stays_behind("webhook_url", "https://example.com/hooks/deploy"));
        assert!(!stays_behind("webhook_url", "https://example.com/hooks/8f2k3j4h5g6d"));
    }

    #[test]
    fn counts_stay_and_numbers_that_tell_go() {
        assert!(stays_behind("max_tokens", "128000"));
        assert!(!stays_behind("pin_code", "4711"));
        assert!(!stays_behind("token", "123456"));
        assert!(stays_behind("token", "4096"));
    }
}
