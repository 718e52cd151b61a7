//! Uploads that were begun and neither completed nor aborted: found by asking the store, and given up.
//!
//! Two kinds are: those that a dead run of this host noted in its ledger, at once; and any below the target that are older
//! than a run may take, by the store's own clock.

use jiff::Timestamp;
use object_store::aws::AwsAuthorizer;
use object_store::client::{HttpRequest, HttpRequestBody};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{Error, Result};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::said::{Said, unescaped};
use super::{S3, STORE};
use crate::limits;

/// An upload as the store lists it.
#[derive(Debug, PartialEq, Eq)]
struct Begun {
    key: String,
    id: String,
    at: Option<Timestamp>,
}

impl S3 {
    /// Gives up what is unfinished of these objects, named from the target. Gives how many uploads that were.
    pub(in crate::target) async fn give_up(&self, objects: &[String]) -> Result<usize> {
        let mut count = 0;
        for object in objects {
            let full = self.full(&Path::parse(object)?)?;
            let (begun, _) = self.begun(full.as_ref()).await?;
            for upload in begun.iter().filter(|upload| upload.key == full.as_ref()) {
                count += self.give_up_one(upload).await?;
            }
        }
        Ok(count)
    }

    /// Gives up whatever below the target is older than a run may take. Gives how many uploads that were.
    pub(in crate::target) async fn give_up_stale(&self) -> Result<usize> {
        let prefix = self.0.address.prefix.as_ref();
        let folder = if prefix.is_empty() {
            String::new()
        } else {
            format!("{prefix}/")
        };
        let (begun, now) = self.begun(&folder).await?;
        let Some(now) = now else {
            return Ok(0);
        };
        let age = jiff::SignedDuration::from_hours(limits::STALE_UPLOAD_HOURS);
        let mut count = 0;
        for upload in begun {
            if upload.at.is_some_and(|at| now.duration_since(at) >= age) {
                count += self.give_up_one(&upload).await?;
            }
        }
        Ok(count)
    }

    async fn give_up_one(&self, upload: &Begun) -> Result<usize> {
        let key = Path::parse(&upload.key)?;
        match self.0.store.abort_multipart(&key, &upload.id).await {
            Ok(()) => Ok(1),
            Err(Error::NotFound { .. }) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// The unfinished uploads whose key begins with `prefix`, and the store's time. At most as many as one answer has:
    /// what is beyond them comes to light when those are gone.
    async fn begun(&self, prefix: &str) -> Result<(Vec<Begun>, Option<Timestamp>)> {
        let address = &self.0.address;
        let endpoint = match (&address.endpoint, address.bucket_in_host) {
            (Some(endpoint), true) => endpoint.clone(),
            (Some(endpoint), false) => format!("{endpoint}/{}", address.bucket),
            (None, true) => format!("https://{}.s3.{}.amazonaws.com", address.bucket, address.region),
            (None, false) => format!("https://s3.{}.amazonaws.com/{}", address.region, address.bucket),
        };
        let prefix = utf8_percent_encode(prefix, NON_ALPHANUMERIC);
        let uri = format!("{endpoint}?encoding-type=url&prefix={prefix}&uploads=");
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.uri_mut() = uri.parse().map_err(|_| garbled("the address of the bucket"))?;
        let credential = self.0.store.credentials().get_credential().await?;
        AwsAuthorizer::new(&credential, "s3", &address.region).try_authorize(&mut request, None)?;
        let response = self.0.client.execute(request).await.map_err(|error| Error::Generic {
            store: STORE,
            source: Box::new(Said::transport(&error)),
        })?;
        let date = response.headers().get("date").and_then(|date| date.to_str().ok());
        let now = date
            .and_then(|date| jiff::fmt::rfc2822::parse(date).ok())
            .map(|now| now.timestamp());
        let body = response
            .into_body()
            .bytes()
            .await
            .map_err(|_| garbled("a list of uploads"))?;
        let text = std::str::from_utf8(&body).map_err(|_| garbled("a list of uploads"))?;
        if !text.contains("<ListMultipartUploadsResult") {
            return Err(garbled("a list of uploads"));
        }
        Ok((read(text), now))
    }
}

fn garbled(what: &str) -> Error {
    Error::Generic {
        store: STORE,
        source: Box::new(Said::Garbled(format!("{what} was expected"))),
    }
}

/// The uploads of an answer whose keys are URL-encoded, as was asked for.
fn read(text: &str) -> Vec<Begun> {
    let encoded = text.contains("<EncodingType>url<");
    let mut found = Vec::new();
    for upload in text.split("<Upload>").skip(1) {
        let upload = upload.split("</Upload>").next().unwrap_or_default();
        let element = |name: &str| {
            let (_, rest) = upload.split_once(&format!("<{name}>"))?;
            Some(unescaped(rest.split_once("</")?.0))
        };
        let (Some(key), Some(id)) = (element("Key"), element("UploadId")) else {
            continue;
        };
        let key = if encoded {
            // A plus is a blank in this encoding; a plus itself is written out.
            percent_decode_str(&key.replace('+', " "))
                .decode_utf8_lossy()
                .into_owned()
        } else {
            key
        };
        let at = element("Initiated").and_then(|at| at.parse().ok());
        found.push(Begun { key, id, at });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uploads_are_read_from_the_answer() {
        let text = "<ListMultipartUploadsResult><Bucket>b</Bucket><EncodingType>url</EncodingType>\
                    <Upload><Key>live/archives/a%20b</Key><UploadId>one</UploadId><Initiated>2026-11-21T21:51:00.000Z\
                    </Initiated></Upload><Upload><Key>x</Key><UploadId>t&amp;o</UploadId><Owner><ID>o</ID></Owner></Upload>\
                    <Upload><Key>half</Key></Upload></ListMultipartUploadsResult>";
        let begun = |key: &str, id: &str, at: Option<&str>| Begun {
            key: key.into(),
            id: id.into(),
            at: at.map(|at| at.parse().unwrap()),
        };
        assert_eq!(
            read(text),
            [
                begun("live/archives/a b", "one", Some("2026-11-21T21:51:00Z")),
                begun("x", "t&o", None)
            ]
        );
        assert_eq!(read("<ListMultipartUploadsResult/>"), []);
    }
}
