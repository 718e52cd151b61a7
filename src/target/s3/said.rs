//! What an S3 store said, or what kept it from saying anything: told apart by what the operator has to do.
//!
//! Answers of stores hold more than a message may: request lines, key ids, signatures, texts that were signed. Only the
//! code and the message are taken over, cut and without control characters; no URL is.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use object_store::client::{HttpError, HttpErrorKind};

use super::trouble::Trouble;
use crate::limits;

/// Why a request came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// The store answered and did not do it.
    Refused {
        /// HTTP status.
        status: u16,
        /// The code of the store's own error, where it gave one.
        code: String,
        /// Its message.
        message: String,
    },
    /// No connection, or none that can be trusted.
    Unreachable(String),
    /// The other side's certificate, or what it speaks, is not to be trusted.
    Tls(String),
    /// No answer in time.
    Silent(Duration),
    /// The connection ended in the middle.
    Cut(String),
    /// An answer that is none.
    Garbled(String),
}

impl Said {
    /// Reads an answer that is a refusal.
    pub(super) fn refusal(status: u16, body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        Self::Refused {
            status,
            code: element(&text, "Code"),
            message: element(&text, "Message"),
        }
    }

    /// Reads what the HTTP client says.
    pub(super) fn transport(error: &HttpError) -> Self {
        let mut cause: Option<&(dyn Error + 'static)> = error.source();
        let (mut last, mut untrusted) = (error.to_string(), false);
        while let Some(inner) = cause {
            if let Some(said) = inner.downcast_ref::<Self>() {
                return said.clone();
            }
            untrusted |= inner.downcast_ref::<io::Error>().is_some_and(is_of_tls);
            last = inner.to_string();
            cause = inner.source();
        }
        let last = short(&last);
        match error.kind() {
            _ if untrusted => Self::Tls(last),
            HttpErrorKind::Connect | HttpErrorKind::Timeout => Self::Unreachable(last),
            HttpErrorKind::Request | HttpErrorKind::Interrupted => Self::Cut(last),
            _ => Self::Garbled(last),
        }
    }

    /// Finds it in the chain of an error; what never was one becomes an answer that is none.
    pub(in crate::target) fn of(error: &object_store::Error) -> Self {
        let mut cause: Option<&(dyn Error + 'static)> = Some(error);
        let mut last = String::new();
        while let Some(inner) = cause {
            if let Some(said) = inner.downcast_ref::<Self>() {
                return said.clone();
            }
            if let Some(error) = inner.downcast_ref::<HttpError>() {
                return Self::transport(error);
            }
            last = inner.to_string();
            cause = inner.source();
        }
        Self::Garbled(short(&last))
    }

    /// The same as an error of the HTTP client, of a kind that `object_store` tries again or does not.
    pub(super) fn into_http(self) -> HttpError {
        let kind = match &self {
            Self::Refused { status: 501, .. } => HttpErrorKind::Unknown,
            // Too much to do, or a fault over there: tried again, whatever the request was.
            Self::Refused { status, .. } if *status >= 500 || matches!(status, 408 | 429) => HttpErrorKind::Request,
            Self::Refused { .. } | Self::Tls(_) => HttpErrorKind::Unknown,
            Self::Unreachable(_) => HttpErrorKind::Connect,
            Self::Silent(_) => HttpErrorKind::Timeout,
            Self::Cut(_) => HttpErrorKind::Interrupted,
            Self::Garbled(_) => HttpErrorKind::Decode,
        };
        HttpError::new(kind, self)
    }

    /// Whether the request may have been done all the same.
    pub(super) fn leaves_doubt(&self) -> bool {
        match self {
            Self::Refused { status, .. } => *status >= 500,
            Self::Silent(_) | Self::Cut(_) | Self::Garbled(_) => true,
            Self::Unreachable(_) | Self::Tls(_) => false,
        }
    }

    /// The status of a refusal.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether it is a refusal that does not say why, as one without a body is.
    pub(super) fn is_mute(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if code.is_empty())
    }

    /// What is to be done about it.
    pub fn trouble(&self) -> Trouble {
        let (status, code) = match self {
            Self::Refused { status, code, .. } => (*status, code.as_str()),
            Self::Unreachable(_) => return Trouble::Unreachable,
            Self::Tls(_) => return Trouble::Tls,
            Self::Silent(_) => return Trouble::Silent,
            Self::Cut(_) | Self::Garbled(_) => return Trouble::Other,
        };
        match (code, status) {
            ("InvalidAccessKeyId", _) => Trouble::UnknownKey,
            ("SignatureDoesNotMatch", _) => Trouble::WrongSecret,
            ("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired", _) => Trouble::Token,
            ("RequestTimeTooSkewed" | "RequestExpired", _) => Trouble::Clock,
            ("NoSuchBucket", _) => Trouble::NoBucket,
            ("AuthorizationHeaderMalformed" | "PermanentRedirect" | "IllegalLocationConstraintException", _)
            | (_, 301 | 307 | 308) => Trouble::Region,
            ("QuotaExceeded" | "InsufficientStorage" | "StorageFull", _) | (_, 507) => Trouble::Full,
            ("NotImplemented", _) | (_, 501) => Trouble::NotBuilt,
            ("SlowDown" | "ServiceUnavailable" | "TooManyRequests" | "RequestLimitExceeded", _) | (_, 429 | 503) => {
                Trouble::Busy
            }
            ("AccessDenied" | "AllAccessDisabled" | "AccountProblem", _) | (_, 401 | 403) => Trouble::Denied,
            _ => Trouble::Other,
        }
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { status, code, message } => {
                write!(f, "the store answered {status}")?;
                for (before, text) in [(" ", code), (": ", message)] {
                    if !text.is_empty() {
                        write!(f, "{before}{text}")?;
                    }
                }
                Ok(())
            }
            Self::Silent(span) => write!(f, "no answer within {:.1} s", span.as_secs_f64()),
            Self::Cut(text) => write!(f, "the connection ended early: {text}"),
            Self::Garbled(text) => write!(f, "the answer cannot be read: {text}"),
            Self::Unreachable(text) | Self::Tls(text) => f.write_str(text),
        }
    }
}

impl Error for Said {}

/// Whether an error comes from the TLS library, which hands its own on as errors of this kind; nothing else below HTTP does.
fn is_of_tls(error: &io::Error) -> bool {
    let within = error.get_ref().and_then(|inner| inner.downcast_ref::<io::Error>());
    error.kind() == io::ErrorKind::InvalidData || within.is_some_and(is_of_tls)
}

/// The text of an XML element; empty where there is none.
fn element(text: &str, name: &str) -> String {
    let inner = text
        .split_once(&format!("<{name}>"))
        .and_then(|(_, rest)| rest.split_once("</"))
        .map_or("", |(inner, _)| inner);
    short(&unescaped(inner))
}

/// The five characters that XML writes out.
pub(super) fn unescaped(text: &str) -> String {
    [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&amp;", "&"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (written, meant)| text.replace(written, meant))
}

/// At most so much of a text as an error has room for, without control characters.
fn short(text: &str) -> String {
    let shown = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut cut: String = shown.take(limits::STORE_MESSAGE_MAX + 1).collect();
    if cut.chars().count() > limits::STORE_MESSAGE_MAX {
        cut.pop();
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_gives_its_code_and_message_and_nothing_else() {
        let body = "<?xml version=\"1.0\"?><Error><Code>SignatureDoesNotMatch</Code><Message>The signature &amp; key\n \
                    differ</Message><AWSAccessKeyId>an-id</AWSAccessKeyId><StringToSign>a b</StringToSign></Error>";
        let said = Said::refusal(403, body.as_bytes());
        assert_eq!(said.trouble(), Trouble::WrongSecret);
        let text = said.to_string();
        assert_eq!(
            text,
            "the store answered 403 SignatureDoesNotMatch: The signature & key  differ"
        );
    }

    #[test]
    fn an_answer_that_is_no_xml_is_told_by_its_status() {
        for (status, trouble) in [
            (403, Trouble::Denied),
            (301, Trouble::Region),
            (503, Trouble::Busy),
            (507, Trouble::Full),
            (501, Trouble::NotBuilt),
            (418, Trouble::Other),
        ] {
            let said = Said::refusal(status, b"<html>\xff</html>");
            assert_eq!(said.trouble(), trouble, "{status}");
            assert!(said.is_mute() && said.to_string() == format!("the store answered {status}"));
        }
    }

    #[test]
    fn a_long_message_is_cut() {
        let body = format!("<Code>A</Code><Message>{}</Message>", "é".repeat(10_000));
        let text = Said::refusal(400, body.as_bytes()).to_string();
        assert!(text.ends_with('…') && text.chars().count() < limits::STORE_MESSAGE_MAX + 40);
    }

    #[test]
    fn an_error_of_tls_is_found_within_another() {
        let tls = io::Error::new(io::ErrorKind::InvalidData, "invalid peer certificate");
        let error = HttpError::new(HttpErrorKind::Connect, io::Error::other(tls));
        assert_eq!(Said::transport(&error).trouble(), Trouble::Tls);
        let refused = HttpError::new(
            HttpErrorKind::Connect,
            io::Error::from(io::ErrorKind::ConnectionRefused),
        );
        assert_eq!(Said::transport(&refused).trouble(), Trouble::Unreachable);
    }

    #[test]
    fn what_is_tried_again_is_what_may_pass() {
        let kind = |status| Said::refusal(status, b"").into_http().kind();
        for status in [500, 502, 503, 504, 429, 408] {
            assert_eq!(kind(status), HttpErrorKind::Request, "{status}");
        }
        for status in [400, 401, 403, 404, 409, 501] {
            assert_eq!(kind(status), HttpErrorKind::Unknown, "{status}");
        }
    }
}
