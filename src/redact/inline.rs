//! Finds secrets in free text by what stands before them: `password=x`, `"token": "x"`, `--password x`, `Bearer x`, the
//! password of a URL, a webhook's path, a hashed password. Used for strings, comments, plain lines, and as a net below
//! files that are broken.
//!
//! What is replaced never reaches beyond a quote, a line end or the stretch it was found in, so the format around it
//! stays whole. Each position is looked at a bounded number of times.

use std::ops::Range;

use super::edits::Style;
use super::scan::{Place, Scan};
use crate::sensitive::keys::{Telling, Weight};
use crate::sensitive::{Rule, marker_length, values};

/// What was looked at already, so that nothing is looked at twice.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// A word without blanks: where it ends was found once.
    word: Range<usize>,
    /// A URL's path in which a webhook was sought.
    path: Range<usize>,
}

/// A value found in free text.
struct Found {
    range: Range<usize>,
    quoted: bool,
    /// Where looking goes on when the value is replaced.
    after: usize,
}

impl Scan<'_> {
    /// Looks through a stretch of free text.
    pub(super) fn inline(&mut self, range: Range<usize>, place: Place) {
        let (mut at, end) = (range.start, range.end);
        while at < end {
            let next = match self.at(at) {
                b'=' => self.equals(at, &range, place),
                b':' if self.at(at + 1) == b'/' && self.at(at + 2) == b'/' => self.url(at, end),
                b':' => self.colon(at, &range, place),
                b'-' => self.flag(at, &range, place),
                b'<' => self.element(at, end),
                b'$' => self.hash(at, end),
                b'{' => self.hash_scheme(at, end),
                b'B' | b'b' | b'T' | b't' => self.scheme(at, &range),
                b'\'' | b'"' => self.after_word(at, &range, place),
                _ => at + 1,
            };
            at = next.max(at + 1);
        }
    }

    /// `key=value`, `key = "value"`, `'key' => 'value'`, `key := value`.
    fn equals(&mut self, at: usize, range: &Range<usize>, place: Place) -> usize {
        let (before, after) = (if at > range.start { self.at(at - 1) } else { 0 }, self.at(at + 1));
        if matches!(after, b'=' | b'~') || matches!(before, b'=' | b'!' | b'<' | b'>' | b'~') {
            return at + 1 + usize::from(after == b'=');
        }
        let operator = at - usize::from(matches!(before, b'+' | b'?' | b':'));
        let Some(key) = self.key_before(operator, range) else {
            return at + 1;
        };
        let Some(telling) = self.judge(&key).or_else(|| self.query_key(&key)) else {
            return at + 1;
        };
        let from = at + 1 + usize::from(after == b'>');
        let start = self.skip_blanks(from, range.end.min(from + 8));
        let spaced = start > from || self.at(operator.saturating_sub(1)) == b' ';
        if self.at(start) == b'[' && marker_length(self.slice(&(start..range.end.min(start + 48)))).is_none() {
            return self.list(start, range, place, telling);
        }
        let Some(found) = self.value_at(start, range, place) else {
            return at + 1;
        };
        if !found.quoted && self.is_code(&found.range, spaced || place == Place::Comment) {
            return at + 1;
        }
        self.take(&found, telling, Style::Bare)
    }

    /// `"key": value`, `Header: value`, `key:value`.
    fn colon(&mut self, at: usize, range: &Range<usize>, place: Place) -> usize {
        if self.at(at + 1) == b':' || (at > range.start && self.at(at - 1) == b':') {
            return at + 1;
        }
        let Some(key) = self.key_before(at, range) else {
            return at + 1;
        };
        let quoted_key = key.end < at && matches!(self.at(at - 1 - self.blanks_before(at, range)), b'"' | b'\'' | b'`');
        let Some(telling) = self.judge(&key) else {
            return at + 1;
        };
        let start = self.skip_blanks(at + 1, range.end.min(at + 9));
        if !quoted_key && self.is_header(&key) {
            return self.header_value(start, range, telling);
        }
        if quoted_key && self.at(start) == b'[' {
            return self.list(start, range, place, telling);
        }
        let Some(found) = self.value_at(start, range, place) else {
            return at + 1;
        };
        if quoted_key {
            let bare = !found.quoted && place == Place::Text && self.at(key.end) == b'"';
            return self.take(&found, telling, if bare { Style::Quoted } else { Style::Bare });
        }
        let value = self.slice(&found.range);
        let wordy = value
            .iter()
            .all(|b| b.is_ascii_lowercase() || matches!(b, b'_' | b'-' | b'.' | b','))
            || (value.first().is_some_and(u8::is_ascii_uppercase) && value.iter().skip(1).all(u8::is_ascii_lowercase));
        if !found.quoted && (wordy || self.is_code(&found.range, true)) {
            return at + 1;
        }
        self.take(&found, telling, Style::Bare)
    }

    /// `["x", "y"]` behind a telling key: each of its quoted strings.
    fn list(&mut self, start: usize, range: &Range<usize>, place: Place, telling: Telling) -> usize {
        let mut at = start + 1;
        while at < range.end {
            let slashes = self.word_length(at, range.end.min(at + 8), |b| b == b'\\');
            match self.at(at + slashes) {
                b'"' | b'\'' => match self.value_at(at, range, place) {
                    Some(found) if found.quoted => {
                        self.take(&found, telling, Style::Bare);
                        at = found.after;
                    }
                    _ => at += slashes + 1,
                },
                b',' | b' ' | b'\t' => at += slashes + 1,
                _ => break,
            }
        }
        at
    }

    /// `--password value`, `-token value`; `curl -u user:value`.
    fn flag(&mut self, at: usize, range: &Range<usize>, place: Place) -> usize {
        let boundary = at == range.start
            || !(self.at(at - 1).is_ascii_alphanumeric() || matches!(self.at(at - 1), b'-' | b'_' | b'.'));
        if !boundary {
            return at + 1;
        }
        let name = at + 1 + usize::from(self.at(at + 1) == b'-');
        let length = self.word_length(name, range.end, |b| {
            b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')
        });
        let end = name + length;
        if length == 0 || !matches!(self.at(end), b' ' | b'\t') {
            return end.max(at + 1);
        }
        let start = self.skip_blanks(end, range.end.min(end + 8));
        if self.at(start) == b'-' && self.at(start + 1) == b'-' {
            return end;
        }
        if matches!(self.slice(&(name..end)), b"u" | b"user" | b"proxy-user") {
            return self.curl_user(at, start, range, place);
        }
        let telling = self
            .judge(&(name..end))
            .filter(|telling| telling.weight == Weight::Strong && length > 2);
        let (Some(telling), Some(found)) = (telling, self.value_at(start, range, place)) else {
            return end;
        };
        let value = self.slice(&found.range);
        let prose = value.iter().all(u8::is_ascii_lowercase)
            && (place == Place::Comment
                || [
                    &b"is"[..],
                    b"or",
                    b"and",
                    b"option",
                    b"flag",
                    b"to",
                    b"for",
                    b"must",
                    b"parameter",
                    b"argument",
                    b"from",
                ]
                .contains(&value));
        if !found.quoted && prose {
            return end;
        }
        self.take(&found, telling, Style::Bare)
    }

    /// `-u user:password` where `curl` or its like stands before it.
    fn curl_user(&mut self, at: usize, start: usize, range: &Range<usize>, place: Place) -> usize {
        let before = self.slice(&(at.saturating_sub(256).max(range.start)..at));
        let client = [&b"curl"[..], b"http", b"wget", b"lftp"]
            .iter()
            .any(|name| before.windows(name.len()).any(|window| window == *name));
        let Some(found) = self.value_at(start, range, place).filter(|_| client) else {
            return start;
        };
        let Some(colon) = self.slice(&found.range).iter().position(|b| *b == b':') else {
            return start;
        };
        let password = found.range.start + colon + 1..found.range.end;
        if !values::is_placeholder(self.slice(&password)) && marker_length(self.slice(&password)).is_none() {
            self.edits.replace(password, Rule::Password, Style::Bare);
        }
        found.after
    }

    /// `scheme://user:password@host/path`; `at` is the colon behind the scheme.
    pub(super) fn url(&mut self, at: usize, limit: usize) -> usize {
        let start = at + 3;
        let ends = |b: u8| b.is_ascii_whitespace() || matches!(b, b'"' | b'\'' | b'`' | b'<' | b'>' | b'\\');
        let authority = start + self.word_length(start, limit, |b| !ends(b) && !matches!(b, b'/' | b'?' | b'#'));
        let mut user_end = self
            .slice(&(start..authority))
            .iter()
            .rposition(|b| *b == b'@')
            .map(|at| start + at);
        if user_end.is_none() {
            user_end = self.unescaped_user(start, authority, limit, ends);
        }
        if let Some(user_end) = user_end {
            self.userinfo(start..user_end);
        }
        let host = user_end.map_or(start, |end| end + 1);
        self.path(host, limit, ends);
        start
    }

    /// A password with `/`, `?` or `#` in it, which should be escaped and is not: the `@` stands beyond the authority.
    fn unescaped_user(&self, start: usize, authority: usize, limit: usize, ends: impl Fn(u8) -> bool) -> Option<usize> {
        let colon = self.slice(&(start..authority)).iter().position(|b| *b == b':')? + start;
        let after = self.slice(&(colon + 1..authority));
        if after.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let reach = authority + self.word_length(authority, limit.min(authority + 512), |b| !ends(b));
        self.slice(&(authority..reach))
            .iter()
            .rposition(|b| *b == b'@')
            .map(|at| authority + at)
    }

    fn userinfo(&mut self, range: Range<usize>) {
        let userinfo = self.slice(&range);
        let secret = match userinfo.iter().position(|b| *b == b':') {
            Some(colon) => range.start + colon + 1..range.end,
            // A token in the place of the user.
            None if userinfo.len() >= 20 || values::looks_random(userinfo) => range,
            None => return,
        };
        let value = self.slice(&secret);
        if !values::is_placeholder(value) && marker_length(value) != Some(value.len()) {
            self.edits.replace(secret, Rule::Url, Style::Bare);
        }
    }

    /// A webhook: whoever knows the end of its path may call it.
    fn path(&mut self, host: usize, limit: usize, ends: impl Fn(u8) -> bool) {
        if self.inline.path.contains(&host) {
            return;
        }
        let end = host
            + self.word_length(host, limit.min(host + 2048), |b| {
                !ends(b) && !matches!(b, b'?' | b'#' | b')' | b',' | b'|')
            });
        self.inline.path = host..end;
        let address = self.slice(&(host..end));
        let is_hooks = address.starts_with(b"hooks.");
        let mut at = host;
        for part in address.split(|b| *b == b'/') {
            let next = at + part.len() + 1;
            let lower = part.to_ascii_lowercase();
            let names = at > host
                && (matches!(
                    &lower[..],
                    b"hooks" | b"hook" | b"webhook" | b"webhooks" | b"webhookb2" | b"incomingwebhook"
                ) || (is_hooks && matches!(&lower[..], b"services" | b"workflows" | b"triggers")));
            if names && next < end && values::is_path_secret(self.slice(&(next..end))) {
                return self.edits.replace(next..end, Rule::Webhook, Style::Bare);
            }
            if at > host && lower.starts_with(b"bot") && part.contains(&b':') && part.len() > 30 {
                // Telegram: `/bot<number>:<secret>/method`.
                return self.edits.replace(at + 3..at + part.len(), Rule::Token, Style::Bare);
            }
            at = next;
        }
    }

    /// `<password>value</password>`.
    fn element(&mut self, at: usize, limit: usize) -> usize {
        let name = at + 1;
        let length = self.word_length(name, limit, |b| {
            b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':')
        });
        let open = name + length;
        if length == 0 || self.at(open) != b'>' {
            return at + 1;
        }
        let Some(telling) = self.judge(&(name..open)) else {
            return open;
        };
        let value = open + 1..open + 1 + self.word_length(open + 1, limit, |b| !matches!(b, b'<' | b'\n' | b'"'));
        if self.at(value.end) != b'<' {
            return open;
        }
        let range = self.trimmed(value.clone());
        if !range.is_empty() && !values::stays(self.slice(&range), telling) {
            self.edits.replace(range, telling.rule, Style::Bare);
        }
        open
    }

    /// A hashed password in modular crypt format: `$2b$12$…`, `$argon2id$…`, also with each `$` doubled.
    fn hash(&mut self, at: usize, limit: usize) -> usize {
        const SCHEMES: &[&str] = &[
            "1",
            "2a",
            "2b",
            "2x",
            "2y",
            "5",
            "6",
            "7",
            "y",
            "gy",
            "P",
            "H",
            "apr1",
            "argon2i",
            "argon2d",
            "argon2id",
            "scrypt",
            "pbkdf2",
            "pbkdf2-sha1",
            "pbkdf2-sha256",
            "pbkdf2-sha512",
            "sha1",
            "bcrypt-sha256",
            "s0",
            "s1",
        ];
        let start = at + self.word_length(at, limit.min(at + 2), |b| b == b'$');
        let length = self.word_length(start, limit.min(start + 16), |b| b.is_ascii_alphanumeric() || b == b'-');
        let scheme = self.slice(&(start..start + length));
        if self.at(start + length) != b'$' || !SCHEMES.iter().any(|known| known.as_bytes() == scheme) {
            return start;
        }
        let own =
            |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'/' | b'$' | b'=' | b',' | b'+' | b'_' | b'-');
        let end = start + self.word_length(start, limit.min(start + 1024), own);
        if end - at < 20 {
            return start;
        }
        self.edits.replace(at..end, Rule::Hash, Style::Bare);
        end
    }

    /// A hashed password as directories write it: `{SSHA}…`.
    fn hash_scheme(&mut self, at: usize, limit: usize) -> usize {
        let start = at + 1;
        let length = self.word_length(start, limit.min(start + 20), |b| {
            b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-'
        });
        let scheme = self.slice(&(start..start + length));
        let known = [
            &b"SSHA"[..],
            b"SHA",
            b"SMD5",
            b"MD5",
            b"CRYPT",
            b"SSHA256",
            b"SSHA512",
            b"SHA256",
            b"SHA512",
            b"PBKDF2",
        ];
        if self.at(start + length) != b'}' || !known.contains(&scheme) {
            return at + 1;
        }
        let value = start + length + 1;
        let own = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'/' | b'$' | b'=' | b'+' | b'_' | b'-');
        let end = value + self.word_length(value, limit.min(value + 512), own);
        if end - value >= 12 {
            self.edits.replace(value..end, Rule::Hash, Style::Bare);
        }
        end
    }

    /// `Bearer x`, `Basic x`, `Token x`.
    fn scheme(&mut self, at: usize, range: &Range<usize>) -> usize {
        if at > range.start
            && (self.at(at - 1).is_ascii_alphanumeric() || matches!(self.at(at - 1), b'_' | b'-' | b'.'))
        {
            return at + 1;
        }
        let word = |scan: &Self, name: &[u8]| {
            let end = at + name.len();
            (scan.slice(&(at..end)).eq_ignore_ascii_case(name) && matches!(scan.at(end), b' ' | b'\t')).then_some(end)
        };
        let Some(end) = word(self, b"bearer")
            .or_else(|| word(self, b"basic"))
            .or_else(|| word(self, b"token"))
        else {
            return at + 1;
        };
        let start = self.skip_blanks(end, range.end.min(end + 4));
        let own =
            |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'~' | b'+' | b'/' | b'=' | b'-' | b':');
        let value = start..start + self.word_length(start, range.end, own);
        let text = self.slice(&value);
        let digits = text.iter().any(u8::is_ascii_digit);
        let mixed = text.iter().skip(1).any(u8::is_ascii_uppercase) && text.iter().any(u8::is_ascii_lowercase);
        if value.len() >= 8 && (digits || mixed || value.len() >= 24) && !values::is_placeholder(text) {
            self.edits.replace(value.clone(), Rule::Auth, Style::Bare);
            return value.end;
        }
        start
    }

    /// SQL's `PASSWORD 'x'` and `IDENTIFIED BY 'x'`, and `define('DB_PASSWORD', 'x')`; `at` is the quote before the value.
    fn after_word(&mut self, at: usize, range: &Range<usize>, place: Place) -> usize {
        let blanks = self.blanks_before(at, range);
        let before = at - blanks;
        if before <= range.start {
            return at + 1;
        }
        let telling = if self.at(before - 1) == b',' {
            let key = self.key_before(before - 1, range).filter(|key| key.end < before - 1);
            key.filter(|key| key.start >= 2 && self.at(key.start - 2) == b'(')
                .and_then(|key| self.judge(&key))
        } else if blanks > 0 {
            let start = before.saturating_sub(16).max(range.start);
            let words = self.slice(&(start..before)).to_ascii_lowercase();
            let by = words.ends_with(b"identified by") || words.ends_with(b" password") || words == b"password";
            by.then_some(super::PASSWORD)
        } else {
            None
        };
        let (Some(telling), Some(found)) = (telling, self.value_at(at, range, place)) else {
            return at + 1;
        };
        self.take(&found, telling, Style::Bare).max(at + 1)
    }

    /// Replaces a found value unless it is none; gives where to go on.
    fn take(&mut self, found: &Found, telling: Telling, style: Style) -> usize {
        let value = self.slice(&found.range);
        let address = value.windows(3).take(32).any(|window| window == b"://");
        if address && telling.weight != Weight::Strong {
            // The password in it and its query have rules of their own.
            return found.range.start;
        }
        if values::stays(value, telling) {
            return if telling.weight == Weight::Random || address {
                found.range.start
            } else {
                found.range.end
            };
        }
        self.edits.replace(found.range.clone(), telling.rule, style);
        found.after
    }

    /// Whether a key is a header whose value has blanks in it.
    fn is_header(&self, key: &Range<usize>) -> bool {
        let key = self.slice(key);
        [
            &b"authorization"[..],
            b"proxy-authorization",
            b"cookie",
            b"set-cookie",
            b"x-authorization",
        ]
        .iter()
        .any(|name| key.eq_ignore_ascii_case(name))
    }

    /// The value of a header: to the end of its line or string. The scheme of an `Authorization` stays.
    fn header_value(&mut self, start: usize, range: &Range<usize>, telling: Telling) -> usize {
        let ends = |b: u8| matches!(b, b'"' | b'\'' | b'\n' | b'\r' | b'\\' | b'`');
        let end = start + self.word_length(start, range.end, |b| !ends(b));
        let mut value = self.trimmed(start..end);
        let text = self.slice(&value);
        let scheme = text
            .iter()
            .take_while(|b| b.is_ascii_alphanumeric() || **b == b'-')
            .count();
        if telling.rule == Rule::Auth && scheme > 0 && scheme < 16 && text.get(scheme) == Some(&b' ') {
            value.start = self.skip_blanks(value.start + scheme, value.end);
        }
        if !value.is_empty() && !values::stays(self.slice(&value), telling) {
            self.edits.replace(value.clone(), telling.rule, Style::Bare);
        }
        value.end.max(start)
    }

    /// Keys that tell in a URL's query alone.
    fn query_key(&self, key: &Range<usize>) -> Option<Telling> {
        let separator = key.start.checked_sub(1).map(|at| self.at(at))?;
        let telling = matches!(separator, b'?' | b'&' | b';')
            && [
                &b"sig"[..],
                b"signature",
                b"key",
                b"auth",
                b"x-amz-signature",
                b"x-goog-signature",
                b"hash",
                b"hmac",
            ]
            .iter()
            .any(|name| self.slice(key).eq_ignore_ascii_case(name));
        telling.then_some(super::QUERY)
    }

    /// The key that ends right before `end`, blanks and quotes apart.
    fn key_before(&self, end: usize, range: &Range<usize>) -> Option<Range<usize>> {
        const REACH: usize = 128;
        let mut end = end - self.blanks_before(end, range);
        // `config["key"] = x`
        if end > range.start && self.at(end - 1) == b']' {
            end -= 1;
        }
        let quote = if end > range.start { self.at(end - 1) } else { 0 };
        if matches!(quote, b'"' | b'\'' | b'`') {
            end -= 1;
            let open = self
                .slice(&(end.saturating_sub(REACH).max(range.start)..end))
                .iter()
                .rev()
                .position(|b| *b == quote)?;
            let start = end - open;
            let slashes = self
                .slice(&(start..end))
                .iter()
                .rev()
                .take_while(|b| **b == b'\\')
                .count();
            let key = start..end - slashes;
            let fits = |b: &u8| {
                b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b' ' | b'/' | b':' | b'$' | b'@')
            };
            return (!key.is_empty() && self.slice(&key).iter().all(fits)).then_some(key);
        }
        let start = end.saturating_sub(REACH).max(range.start);
        let length = self
            .slice(&(start..end))
            .iter()
            .rev()
            .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
            .count();
        (length > 0).then_some(end - length..end)
    }

    fn blanks_before(&self, at: usize, range: &Range<usize>) -> usize {
        let start = at.saturating_sub(8).max(range.start);
        self.slice(&(start..at))
            .iter()
            .rev()
            .take_while(|b| matches!(b, b' ' | b'\t'))
            .count()
    }

    /// The value that begins at `start`: a quoted string, or a word up to a blank or the next field.
    fn value_at(&mut self, start: usize, range: &Range<usize>, place: Place) -> Option<Found> {
        if start >= range.end {
            return None;
        }
        if let Some(length) = marker_length(self.slice(&(start..range.end.min(start + 48)))) {
            return Some(Found {
                range: start..start + length,
                quoted: false,
                after: start + length,
            });
        }
        let slashes = self.word_length(start, range.end.min(start + 8), |b| b == b'\\');
        let quote = self.at(start + slashes);
        if matches!(quote, b'"' | b'\'' | b'`') && start + slashes < range.end {
            return self.quoted_at(start, slashes, quote, range);
        }
        if slashes > 0 {
            return None;
        }
        if matches!(self.at(start), b'{' | b'[' | b',' | b']' | b'}') {
            // A table or a list; its parts are looked at by themselves.
            return None;
        }
        let end = self.word_end(start, range, place);
        (end > start).then_some(Found {
            range: start..end,
            quoted: false,
            after: end,
        })
    }

    /// A quoted string; its closing quote is escaped as often as the opening one.
    fn quoted_at(&self, start: usize, slashes: usize, quote: u8, range: &Range<usize>) -> Option<Found> {
        let content = start + slashes + 1;
        let mut at = content;
        let mut escapes = 0;
        while at < range.end {
            let byte = self.at(at);
            if byte == b'\n' {
                break;
            }
            if byte == b'\\' {
                escapes += 1;
            } else {
                let closes = byte == quote
                    && if slashes == 0 {
                        escapes % 2 == 0
                    } else {
                        escapes <= slashes
                    };
                if closes {
                    let end = at - if slashes == 0 { 0 } else { escapes };
                    return Some(Found {
                        range: content..end,
                        quoted: true,
                        after: at + 1,
                    });
                }
                if byte == b'"' && slashes > 0 && escapes == 0 {
                    break;
                }
                escapes = 0;
            }
            at += 1;
        }
        // Not closed on this line: all that is left of it.
        let end = at
            - self
                .slice(&(content..at))
                .iter()
                .rev()
                .take_while(|b| matches!(b, b'\\' | b'\r'))
                .count();
        (end > content).then_some(Found {
            range: content..end,
            quoted: true,
            after: at,
        })
    }

    /// The end of a word: at a blank, a closing quote or bracket, or a separator behind which the next field begins.
    fn word_end(&mut self, start: usize, range: &Range<usize>, place: Place) -> usize {
        if self.inline.word.contains(&start) && self.inline.word.end <= range.end {
            return self.inline.word.end;
        }
        let mut at = start;
        while at < range.end {
            let byte = self.at(at);
            let next = if at + 1 < range.end { self.at(at + 1) } else { b' ' };
            let ends = match byte {
                b'[' => {
                    let marker = marker_length(self.slice(&(at..range.end.min(at + 48))));
                    at += marker.map_or(0, |length| length - 1);
                    false
                }
                b'<' => true,
                b if b.is_ascii_whitespace() => true,
                b'\\' => {
                    let escape = matches!(next, b'"' | b'\'' | b'`')
                        || (place == Place::Escaped && matches!(next, b'n' | b'r' | b't'))
                        || at + 1 >= range.end;
                    // The escaped byte belongs to the word.
                    at += usize::from(!escape && !next.is_ascii_whitespace());
                    escape
                }
                b'"' | b'\'' | b'`' => next.is_ascii_whitespace() || b"\"'`,;:)]}>&|\\</.".contains(&next),
                b'&' | b';' | b',' => at + 1 >= range.end || self.field_begins(at + 1, range.end),
                b'}' | b']' | b')' | b'>' => {
                    let closes = next.is_ascii_whitespace()
                        || b"\"'`\\}])>".contains(&next)
                        || (matches!(next, b',' | b';') && self.field_begins(at + 2, range.end));
                    closes && !self.opens(start, at)
                }
                _ => false,
            };
            if ends {
                break;
            }
            at += 1;
        }
        let at = at.min(range.end);
        self.inline.word = start..at;
        at
    }

    /// Whether a bracket closes one of a reference such as `${X}` or `$(x)` at the beginning of the value.
    fn opens(&self, start: usize, at: usize) -> bool {
        let head = self.slice(&(start..at.min(start + 64)));
        let open = match self.at(at) {
            b'}' => b'{',
            b')' => b'(',
            _ => b'<',
        };
        at - start <= 64 && head.contains(&open)
    }

    /// Whether `name=`, a blank or a quote stands here.
    fn field_begins(&self, at: usize, limit: usize) -> bool {
        let byte = self.at(at);
        if byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b'\\' | b'}' | b']' | b')') {
            return true;
        }
        let mut name = at;
        while name < limit.min(at + 48)
            && (self.at(name).is_ascii_alphanumeric() || matches!(self.at(name), b'_' | b'-' | b'.' | b' '))
        {
            name += 1;
        }
        name > at && self.at(name) == b'=' && self.at(at).is_ascii_alphabetic()
    }

    /// Whether a word is code that gets a value rather than the value: `get_token(`, `self.password`, `os.environ`.
    pub(super) fn is_code(&self, range: &Range<usize>, or_a_plain_word: bool) -> bool {
        const ROOTS: &[&str] = &[
            "os.environ",
            "process.env",
            "self.",
            "this.",
            "config.",
            "settings.",
            "env.",
            "ctx.",
            "args.",
            "var.",
            "local.",
            "data.",
            "module.",
            "secrets.",
            "options.",
            "opts.",
            "params.",
            "request.",
            "req.",
            "std::env",
            "System.getenv",
        ];
        let value = self.slice(range);
        let word = value
            .iter()
            .take(128)
            .take_while(|b| b.is_ascii_alphabetic() || matches!(b, b'_' | b'.' | b':'))
            .count();
        if word == 0 {
            return false;
        }
        let whole = word == value.len();
        let called = matches!(value.get(word), Some(b'(' | b'['));
        called
            || (ROOTS.iter().any(|root| value.starts_with(root.as_bytes()))
                && (whole || value.len() < 64 && !values::looks_random(value)))
            || (or_a_plain_word && whole && value.len() <= 24 && !value.iter().skip(1).any(u8::is_ascii_uppercase))
    }

    fn word_length(&self, start: usize, limit: usize, own: impl Fn(u8) -> bool) -> usize {
        self.slice(&(start..limit.max(start)))
            .iter()
            .take_while(|b| own(**b))
            .count()
    }
}
