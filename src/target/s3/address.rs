//! What an `s3:` URL and the settings beside it name: bucket, prefix, endpoint. Checked without any input or output.

use std::time::Duration;

use object_store::path::Path;
use percent_encoding::percent_decode_str;
use url::{Host, Url};

use crate::limits;
use crate::target::settings::{Fault, TargetSettings};
use crate::target::{TargetError, scheme};

/// Amazon's name for the region that signs for all.
const REGION: &str = "us-east-1";
/// The least time that a request is given.
const TIMEOUT_MIN: Duration = Duration::from_millis(100);

/// Where objects lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) bucket: String,
    /// The folder that is the target; the root for the whole bucket.
    pub(super) prefix: Path,
    pub(super) region: String,
    /// The endpoint as `object_store` wants it: with the bucket in its host where that is the style.
    pub(super) endpoint: Option<String>,
    /// Whether the bucket stands in the host.
    pub(super) bucket_in_host: bool,
    pub(super) has_tls: bool,
    pub(super) is_loopback: bool,
}

impl Address {
    /// The URL by which the target is shown and remembered.
    pub(super) fn url(&self, settings: &TargetSettings) -> String {
        let prefix = self.prefix.as_ref();
        let slash = if prefix.is_empty() { "" } else { "/" };
        let at = settings
            .endpoint
            .as_ref()
            .map(|endpoint| format!(" at {}", endpoint.trim_end_matches('/')));
        format!("s3://{}{slash}{prefix}{}", self.bucket, at.unwrap_or_default())
    }

    /// Reads the settings; gives everything that is wrong with them.
    pub(super) fn parse(settings: &TargetSettings, rest: &str) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut fault = |key, error| faults.push(Fault { key, error });
        let place = place(rest).map_err(|error| fault("url", error)).ok();
        let endpoint = settings.endpoint.as_deref().map(endpoint).transpose();
        let endpoint = endpoint.map_err(|error| fault("endpoint", error)).ok().flatten();
        for (key, given) in [
            ("access-key-id", &settings.access_key_id),
            ("secret-access-key", &settings.secret_access_key),
        ] {
            if given.is_none() {
                fault(key, TargetError::MissingSetting { key });
            }
        }
        let has_tls = endpoint.as_ref().is_none_or(|url| url.scheme() == "https");
        if !has_tls && settings.allow_http != Some(true) {
            let why = "what is stored would pass the network in clear, and anyone on the way could change it";
            let help = "write `https://`; where the way is safe, such as on one host, add `allow-http = true`";
            fault("endpoint", bad("endpoint", why, help));
        }
        if settings.timeout.is_some_and(|span| span.0 < TIMEOUT_MIN) {
            let help = "write `100ms` or more; `1min` is the default";
            fault(
                "timeout",
                bad("timeout", "no request could be answered in so short a time", help),
            );
        }
        if settings
            .retry_for
            .is_some_and(|span| span.0.as_secs() > limits::S3_RETRY_SECONDS_MAX)
        {
            let why = "a request is signed once, and stores take a signature for a quarter of an hour";
            fault("retry-for", bad("retry-for", why, "write `10min` or less"));
        }
        match place {
            Some((bucket, prefix)) if faults.is_empty() => Ok(Self::of(settings, bucket, prefix, endpoint.as_ref())),
            _ => Err(faults),
        }
    }

    fn of(settings: &TargetSettings, bucket: String, prefix: Path, endpoint: Option<&Url>) -> Self {
        let bucket_in_host = !settings.path_style.unwrap_or(endpoint.is_some());
        let written = endpoint.map(|url| {
            let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
            let path = url.path().trim_end_matches('/');
            let before = if bucket_in_host {
                format!("{bucket}.")
            } else {
                String::new()
            };
            format!("{}://{before}{host}{path}", url.scheme())
        });
        Self {
            bucket,
            prefix,
            region: settings.region.clone().unwrap_or_else(|| REGION.to_owned()),
            endpoint: written,
            bucket_in_host,
            has_tls: endpoint.is_none_or(|url| url.scheme() == "https"),
            is_loopback: endpoint.is_some_and(is_loopback),
        }
    }
}

/// Whether the settings name an endpoint without TLS on another host.
pub(in crate::target) fn is_clear_on_the_wire(settings: &TargetSettings) -> bool {
    let parsed = settings.endpoint.as_deref().and_then(|text| Url::parse(text).ok());
    parsed.is_some_and(|url| url.scheme() == "http" && !is_loopback(&url))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn bad(key: &'static str, why: &'static str, help: &'static str) -> TargetError {
    TargetError::BadSetting { key, why, help }
}

/// Bucket and prefix of what stands behind `s3:`.
fn place(rest: &str) -> Result<(String, Path), TargetError> {
    const HELP: &str = "write `s3://bucket/prefix`; other settings have keys of their own beside `url`";
    let fault = |why| scheme::bad(&format!("s3:{rest}"), why, HELP);
    let behind = rest
        .strip_prefix("//")
        .ok_or_else(|| fault("`s3:` is not followed by `//`"))?;
    if behind.contains(['?', '#', '@']) {
        return Err(fault("an `s3:` URL has no query, no fragment and no user"));
    }
    let (bucket, prefix) = behind.split_once('/').unwrap_or((behind, ""));
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
    let ends = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let named = (3..=63).contains(&bucket.len())
        && bucket.bytes().all(fits)
        && ends(bucket.bytes().next())
        && ends(bucket.bytes().last())
        && !bucket.contains("..");
    if !named {
        return Err(fault(
            "a bucket's name has 3 to 63 lower-case letters, digits, `-` and `.`, and begins and ends with a letter or digit",
        ));
    }
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    let decoded = percent_decode_str(prefix).decode_utf8();
    let decoded = decoded.map_err(|_| fault("the prefix is not UTF-8"))?;
    if decoded.len() > limits::S3_PREFIX_MAX {
        return Err(fault(
            "the prefix is too long: an object's name has at most 1024 bytes in all",
        ));
    }
    if decoded.is_empty() {
        return Ok((bucket.to_owned(), Path::ROOT));
    }
    let whole = decoded.split('/').all(|part| !part.is_empty());
    match Path::parse(&*decoded) {
        Ok(path) if whole => Ok((bucket.to_owned(), path)),
        _ => Err(fault(
            "no part of the prefix may be empty, `.` or `..`, or hold a control character",
        )),
    }
}

/// Reads an endpoint's URL.
fn endpoint(text: &str) -> Result<Url, TargetError> {
    const HELP: &str = "write `https://objects.example.com`, with a port where it is not the usual one";
    let fault = |why| bad("endpoint", why, HELP);
    let url = Url::parse(text).map_err(|_| fault("it is no URL"))?;
    if !matches!(url.scheme(), "https" | "http") {
        return Err(fault("it begins neither with `https://` nor with `http://`"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(fault("it holds a user or a password; keys have settings of their own"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(fault("an endpoint has no query and no fragment"));
    }
    match url.host_str() {
        Some(host) if !host.is_empty() => Ok(url),
        _ => Err(fault("it names no host")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SecretRef;

    fn settings(url: &str) -> TargetSettings {
        let key = |name: &str| Some(SecretRef::Secret(name.into()));
        TargetSettings {
            access_key_id: key("ID"),
            secret_access_key: key("KEY"),
            ..TargetSettings::of_url(url)
        }
    }

    fn read(settings: &TargetSettings) -> Result<Address, Vec<&'static str>> {
        let rest = settings.url.strip_prefix("s3:").unwrap();
        Address::parse(settings, rest).map_err(|faults| faults.into_iter().map(|fault| fault.key).collect())
    }

    #[test]
    fn bucket_and_prefix_come_from_the_url() {
        for (url, bucket, prefix) in [
            ("s3://service-backups/live", "service-backups", "live"),
            ("s3://service-backups/live/", "service-backups", "live"),
            ("s3://service-backups/a/b%20c", "service-backups", "a/b c"),
            ("s3://service-backups", "service-backups", ""),
            ("s3://service-backups/", "service-backups", ""),
        ] {
            let address = read(&settings(url)).unwrap();
            assert_eq!(
                (address.bucket.as_str(), address.prefix.as_ref()),
                (bucket, prefix),
                "{url}"
            );
        }
    }

    #[test]
    fn urls_that_do_not_fit_are_refused() {
        for url in [
            "s3:bucket/x",
            "s3://",
            "s3:///x",
            "s3://Bucket/x",
            "s3://ab/x",
            "s3://bucket//x",
            "s3://bucket/x//",
            "s3://bucket/../x",
            "s3://bucket/x?versionId=1",
            "s3://key:word@bucket/x",
            "s3://bucket/%ff",
            "s3://bucket/a%0ab",
        ] {
            assert_eq!(read(&settings(url)), Err(vec!["url"]), "{url}");
        }
    }

    #[test]
    fn the_bucket_stands_in_the_path_where_an_endpoint_is_given_and_in_the_host_else() {
        let address = read(&settings("s3://service-backups/live")).unwrap();
        assert_eq!((address.endpoint, address.bucket_in_host), (None, true));
        let with = |path_style| TargetSettings {
            endpoint: Some("https://objects.example.com:9000/".into()),
            path_style,
            ..settings("s3://service-backups/live")
        };
        let address = read(&with(None)).unwrap();
        assert_eq!(address.endpoint.as_deref(), Some("https://objects.example.com:9000"));
        assert!(!address.bucket_in_host && address.has_tls && !address.is_loopback);
        let address = read(&with(Some(false))).unwrap();
        assert_eq!(
            address.endpoint.as_deref(),
            Some("https://service-backups.objects.example.com:9000")
        );
        assert!(address.bucket_in_host);
    }

    #[test]
    fn an_endpoint_without_tls_must_be_allowed_and_is_in_clear_on_other_hosts() {
        let mut settings = TargetSettings {
            endpoint: Some("http://objects.example.com".into()),
            ..settings("s3://service-backups/live")
        };
        assert_eq!(read(&settings), Err(vec!["endpoint"]));
        settings.allow_http = Some(true);
        assert!(read(&settings).is_ok() && is_clear_on_the_wire(&settings));
        for loopback in ["http://127.0.0.1:8333", "http://[::1]:8333", "http://localhost"] {
            settings.endpoint = Some(loopback.into());
            assert!(
                read(&settings).unwrap().is_loopback && !is_clear_on_the_wire(&settings),
                "{loopback}"
            );
        }
    }

    #[test]
    fn everything_wrong_is_told_at_once_and_a_password_is_not_repeated() {
        let wrong = TargetSettings {
            endpoint: Some("https://user:pass@host".into()),
            timeout: Some("1ms".parse().unwrap()),
            retry_for: Some("1h".parse().unwrap()),
            ..TargetSettings::of_url("s3://x")
        };
        let faults = Address::parse(&wrong, "//x").unwrap_err();
        let keys: Vec<&str> = faults.iter().map(|fault| fault.key).collect();
        assert_eq!(
            keys,
            [
                "url",
                "endpoint",
                "access-key-id",
                "secret-access-key",
                "timeout",
                "retry-for"
            ]
        );
        assert!(!format!("{faults:?}").contains("pass@"), "{faults:?}");
    }
}
