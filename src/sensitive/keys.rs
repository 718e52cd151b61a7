//! Decides by its name whether a secret stands behind a key. A name is split into words first (`DB_PASSWORD`,
//! `dbPassword`, `db-password`, `db.password`), so `tokenizer` and `secretary` do not tell.

use std::collections::BTreeSet;

use super::Rule;
use super::words::{
    COUNTING, KEY_KINDS, KEY_ORDINARY, NOT_STRONG, ORDINARY_ENDS, ORDINARY_IN_MAP, ORDINARY_IN_RECORD, PASS_ORDINARY,
    SOFT, STRONG, STRONG_ENDS, STRONG_PAIRS, STRONG_STARTS, TOKEN_ORDINARY,
};

/// Bytes of a key that are looked at; what is longer is no key.
pub const KEY_MAX: usize = 256;

/// How much a name tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Weight {
    /// Every value is a secret, also those in a list or table below.
    Strong,
    /// A value is a secret unless it looks like a plain setting (`auth: basic`).
    Soft,
    /// The value is an address that may hold a secret: a connection string, a webhook.
    Locator,
    /// A value is a secret where it looks random (`fence_key: 6f1e…`).
    Random,
}

/// Whether a number behind the key is a secret or a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Numbers {
    /// `password: 12345678`.
    Tell,
    /// `max_tokens: 4096`.
    Count,
}

/// What a name tells of the value behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Telling {
    /// What the value is.
    pub rule: Rule,
    /// How sure that is.
    pub weight: Weight,
    /// What a number is.
    pub numbers: Numbers,
}

impl Telling {
    fn new(rule: Rule, weight: Weight) -> Self {
        Self {
            rule,
            weight,
            numbers: Numbers::Tell,
        }
    }
}

/// The built-in judgement with what the operator added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRules {
    extra: Vec<Vec<String>>,
    allow: BTreeSet<Vec<String>>,
}

/// A word of the operator that can never match a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` has no letter, so it can name no key")]
pub struct WordError(pub String);

impl KeyRules {
    /// Adds to the built-in judgement: a key tells where the words of one of `extra` follow each other in it, and does
    /// not where its words are exactly those of one of `allow`.
    ///
    /// # Errors
    /// When an entry has no letter.
    pub fn new(extra: &[String], allow: &[String]) -> Result<Self, WordError> {
        let read = |text: &String| {
            let words = words_of(text.as_bytes());
            if words.is_empty() {
                Err(WordError(text.clone()))
            } else {
                Ok(words)
            }
        };
        Ok(Self {
            extra: extra.iter().map(read).collect::<Result<_, _>>()?,
            allow: allow.iter().map(read).collect::<Result<_, _>>()?,
        })
    }

    /// What `key` tells of its value; `None` where it tells nothing.
    pub fn judge(&self, key: &[u8]) -> Option<Telling> {
        if key.is_empty() || key.len() > KEY_MAX {
            return None;
        }
        let words = words_of(key);
        if self.allow.contains(&words) {
            return None;
        }
        if self.extra.iter().any(|extra| holds(&words, extra)) {
            return Some(Telling::new(Rule::Custom, Weight::Strong));
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        builtin(&words)
    }

    /// Whether the operator named this key as one whose value stays.
    pub fn allows(&self, key: &[u8]) -> bool {
        !self.allow.is_empty() && self.allow.contains(&words_of(key))
    }

    /// The words of `keys` and of `allow_keys` in a fixed order, for a fingerprint.
    pub fn describe(&self) -> String {
        let mut extra: Vec<String> = self.extra.iter().map(|words| words.join(" ")).collect();
        extra.sort();
        extra.dedup();
        let allow: Vec<String> = self.allow.iter().map(|words| words.join(" ")).collect();
        format!("keys={};allow={}", extra.join(","), allow.join(","))
    }
}

/// Whether the built-in judgement sees a secret behind `key`, whatever its value.
pub fn is_telling(key: &str) -> bool {
    KeyRules::default()
        .judge(key.as_bytes())
        .is_some_and(|telling| telling.weight == Weight::Strong)
}

/// What stands below a telling key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Below {
    /// One secret and what belongs to it: `credentials.username`.
    Record,
    /// Many secrets by name: `secrets.database`.
    Map,
}

/// Whether the table behind `key` holds one secret or many: `token` or `tokens`.
pub fn below(key: &[u8]) -> Below {
    let words = words_of(key);
    match words.last().map(String::as_str) {
        Some("credentials" | "creds") | None => Below::Record,
        Some(last) if last.ends_with('s') && !last.ends_with("ss") => Below::Map,
        Some(_) => Below::Record,
    }
}

/// Whether `key`, in a table below a telling key, names something that is no secret: `username`, `host`, `enabled`.
pub fn is_ordinary_below(below: Below, key: &[u8]) -> bool {
    let words = words_of(key);
    let last = words.last().map(String::as_str).unwrap_or_default();
    match below {
        Below::Record => ORDINARY_IN_RECORD.contains(&last),
        Below::Map => ORDINARY_IN_MAP.contains(&last),
    }
}

/// Splits a key into lower-case words: at everything that is no letter, and where a capital begins a word.
fn words_of(key: &[u8]) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut bytes = key.iter().copied().peekable();
    let mut before = 0u8;
    while let Some(byte) = bytes.next() {
        if !byte.is_ascii_alphabetic() {
            end_word(&mut word, &mut words);
        } else {
            let next_lower = bytes.peek().is_some_and(u8::is_ascii_lowercase);
            let begins = byte.is_ascii_uppercase()
                && (before.is_ascii_lowercase() || (before.is_ascii_uppercase() && next_lower));
            // `APIs` and `IDs` are one word: the small `s` ends it.
            let plural = next_lower && bytes.peek() == Some(&b's') && before.is_ascii_uppercase();
            if begins && !plural {
                end_word(&mut word, &mut words);
            }
            word.push(char::from(byte.to_ascii_lowercase()));
        }
        before = byte;
    }
    end_word(&mut word, &mut words);
    words
}

fn end_word(word: &mut String, words: &mut Vec<String>) {
    if !word.is_empty() {
        words.push(std::mem::take(word));
    }
}

fn holds(words: &[String], sought: &[String]) -> bool {
    words.windows(sought.len()).any(|window| window == sought)
}

fn builtin(words: &[&str]) -> Option<Telling> {
    let last = *words.last()?;
    if let Some(telling) = locator(words, last) {
        return Some(telling);
    }
    if ends_with(words, &["access", "key", "id"]) || ends_with(words, &["accesskey", "id"]) {
        return Some(Telling::new(Rule::Key, Weight::Strong));
    }
    if ends_with(words, &["secret", "id"]) {
        return Some(Telling::new(Rule::Secret, Weight::Strong));
    }
    if ORDINARY_ENDS.contains(&last) {
        return None;
    }
    if let Some(rule) = strong(words, last) {
        let mut telling = Telling::new(rule, Weight::Strong);
        if rule == Rule::Token && words.iter().any(|word| COUNTING.contains(word)) {
            telling.numbers = Numbers::Count;
        }
        return Some(telling);
    }
    if let Some((_, rule)) = SOFT.iter().find(|(word, _)| *word == last) {
        return Some(Telling::new(*rule, Weight::Soft));
    }
    let kind = words.len().checked_sub(2).and_then(|at| words.get(at)).copied();
    let plain_key = matches!(last, "key" | "keys") && !kind.is_some_and(|kind| KEY_ORDINARY.contains(&kind));
    plain_key.then(|| Telling::new(Rule::Key, Weight::Random))
}

fn ends_with(words: &[&str], end: &[&str]) -> bool {
    words.ends_with(end)
}

fn locator(words: &[&str], last: &str) -> Option<Telling> {
    let before = words.len().checked_sub(2).and_then(|at| words.get(at)).copied();
    let address = matches!(last, "url" | "urls" | "uri" | "uris" | "endpoint" | "address");
    if matches!(last, "webhook" | "webhooks") || (address && matches!(before, Some("webhook" | "hook"))) {
        return Some(Telling::new(Rule::Webhook, Weight::Locator));
    }
    let connection = matches!(before, Some("connection" | "conn" | "connect"));
    let dsn = matches!(
        last,
        "dsn" | "dsns" | "connectionstring" | "connstring" | "connstr" | "connectionstrings"
    ) || (connection && matches!(last, "string" | "strings" | "str"))
        || (connection && address);
    dsn.then(|| Telling::new(Rule::Dsn, Weight::Locator))
}

fn strong(words: &[&str], last: &str) -> Option<Rule> {
    let public = words.iter().any(|w| matches!(*w, "public" | "publishable" | "pub"));
    for (at, word) in words.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| words.get(at)).copied();
        let Some(rule) = strong_word(word)
            .or_else(|| before.and_then(|before| strong_pair(before, word)))
            .or_else(|| pass(word, last, before, at + 1 == words.len()))
        else {
            continue;
        };
        let spared = match rule {
            Rule::Token => public || before.is_some_and(|before| TOKEN_ORDINARY.contains(&before)),
            Rule::Key => public,
            _ => false,
        };
        if !spared {
            return Some(rule);
        }
    }
    None
}

fn strong_word(word: &str) -> Option<Rule> {
    if NOT_STRONG.contains(&word) {
        return None;
    }
    let exact = STRONG.iter().find(|(strong, _)| *strong == word);
    let end = || STRONG_ENDS.iter().find(|(end, _)| word.ends_with(end));
    let start = || STRONG_STARTS.iter().find(|(start, _)| word.starts_with(start));
    exact.or_else(end).or_else(start).map(|(_, rule)| *rule).or_else(|| {
        let kind = word.strip_suffix("key").or_else(|| word.strip_suffix("keys"))?;
        KEY_KINDS.contains(&kind).then_some(Rule::Key)
    })
}

fn strong_pair(before: &str, word: &str) -> Option<Rule> {
    if matches!(word, "key" | "keys") && KEY_KINDS.contains(&before) {
        return Some(Rule::Key);
    }
    STRONG_PAIRS
        .iter()
        .find(|(first, second, _)| *first == before && *second == word)
        .map(|(_, _, rule)| *rule)
}

/// `pass` and `pw` tell as the last word only: `db_pass`, not `pass_through`, not `proxy_pass`.
fn pass(word: &str, last: &str, before: Option<&str>, is_last: bool) -> Option<Rule> {
    let tells = is_last
        && matches!(last, "pass" | "pw")
        && word == last
        && !before.is_some_and(|before| PASS_ORDINARY.contains(&before));
    tells.then_some(Rule::Password)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(key: &str) -> Option<Weight> {
        KeyRules::default().judge(key.as_bytes()).map(|telling| telling.weight)
    }

    #[test]
    fn names_are_split_into_words() {
        let words = |key: &str| words_of(key.as_bytes()).join(" ");
        assert_eq!(words("DB_PASSWORD"), "db password");
        assert_eq!(words("dbPassword2"), "db password");
        assert_eq!(words("AWSSecretAccessKey"), "aws secret access key");
        assert_eq!(words("spring.datasource-password"), "spring datasource password");
        assert_eq!(words("APIKey"), "api key");
        assert_eq!(words("tokenIDs"), "token ids");
    }

    #[test]
    fn telling_names_tell() {
        for key in [
            "password",
            "DB_PASSWORD",
            "dbPassword",
            "PGPASSWORD",
            "mysql-root-passwd",
            "smtp.pass",
            "pwd",
            "passphrase",
            "requirepass",
            "secret",
            "clientSecret",
            "client_secret",
            "SECRET_KEY_BASE",
            "secrets",
            "token",
            "authToken",
            "x-auth-token",
            "_authToken",
            "GITHUB_TOKEN_2",
            "apikey",
            "api-key",
            "X-API-Key",
            "apiKeys",
            "OPENAI_API_KEY",
            "AWS_ACCESS_KEY_ID",
            "aws_secret_access_key",
            "accessKeyId",
            "private_key",
            "privateKey",
            "session_key",
            "signingKey",
            "ENCRYPTION_KEY",
            "master.key",
            "license_key",
            "credentials",
            "creds",
            "password_hash",
            "hashed_password",
            "password_prod",
            "recovery_codes",
            "vault_secret_id",
            "AccountKey",
            "SharedAccessKey",
        ] {
            assert_eq!(weight(key), Some(Weight::Strong), "{key}");
        }
        for key in ["auth", "basicAuth", "Authorization", "cookie", "jwt", "salt"] {
            assert_eq!(weight(key), Some(Weight::Soft), "{key}");
        }
        for key in [
            "SENTRY_DSN",
            "connection_string",
            "ConnectionString",
            "webhook",
            "webhook_url",
            "slackWebhookUrl",
        ] {
            assert_eq!(weight(key), Some(Weight::Locator), "{key}");
        }
        assert_eq!(weight("fence_key"), Some(Weight::Random));
    }

    #[test]
    fn look_alikes_do_not_tell() {
        for key in [
            "secretary",
            "tokenizer",
            "tokenize",
            "author",
            "authority",
            "authorized",
            "passenger",
            "compass",
            "bypass",
            "monkey",
            "keyboard",
            "passport",
            "password_file",
            "POSTGRES_PASSWORD_FILE",
            "token_path",
            "token_count",
            "secret_name",
            "secretName",
            "secretKeyRef",
            "token_url",
            "tokenUrl",
            "token_ttl",
            "password_expiry",
            "secret_bytes",
            "password_length",
            "password_min_length",
            "auth_enabled",
            "token_id",
            "key_id",
            "client_id",
            "public_key",
            "publicKey",
            "primary_key",
            "sort_key",
            "token_type",
            "password_policy",
            "proxy_pass",
            "first_pass",
            "pass_through",
            "auth_user",
            "auth_method",
            "cookie_domain",
            "cookie_name",
            "eos_token",
            "passwordless",
            "OLDPWD",
            "session_timeout",
            "token_endpoint",
            "authentication_backend",
            "public_token",
        ] {
            assert_eq!(weight(key), None, "{key}");
        }
    }

    #[test]
    fn counts_are_told_from_secrets() {
        let numbers = |key: &str| KeyRules::default().judge(key.as_bytes()).map(|telling| telling.numbers);
        assert_eq!(numbers("max_tokens"), Some(Numbers::Count));
        assert_eq!(numbers("tokens_per_minute"), Some(Numbers::Count));
        assert_eq!(numbers("token"), Some(Numbers::Tell));
    }

    #[test]
    fn the_operator_adds_and_spares_keys() {
        let rules = KeyRules::new(&["combination".into()], &["session_token".into()]).unwrap();
        assert_eq!(rules.judge(b"safeCombination").map(|t| t.rule), Some(Rule::Custom));
        assert_eq!(rules.judge(b"SESSION-TOKEN"), None);
        assert!(rules.judge(b"other_session_token").is_some());
        assert_eq!(KeyRules::new(&["--".into()], &[]), Err(WordError("--".into())));
    }
}
