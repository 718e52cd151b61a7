//! An S3 bucket, or a folder of one: `object_store`'s client, made to keep what every target promises. Each put is
//! create-only, what is doubtful after a broken connection is looked up, and every error says what to do.

pub(super) mod address;
mod create;
mod probe;
mod read;
pub mod said;
mod service;
pub mod trouble;
mod unfinished;
mod upload;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{HttpClient, HttpConnector, ReqwestConnector};
use object_store::path::Path;
use object_store::{
    BackoffConfig, Certificate, ClientOptions, CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, RetryConfig,
};

use self::address::Address;
use self::service::{Conditions, Ready, Service};
use self::upload::Upload;
use super::TargetError;
use super::ledger::Ledger;
use super::settings::{Access, Fault, TargetSettings};
use crate::limits;
use crate::secret::Secret;

const STORE: &str = "s3";

/// A bucket, or a folder of one. Names count from the folder.
#[derive(Clone, Debug)]
pub struct S3(Arc<Inner>);

struct Inner {
    store: AmazonS3,
    client: HttpClient,
    address: Address,
    url: String,
    timeout: Duration,
    conditions: Conditions,
    ledger: Option<Arc<Ledger>>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The store and its client hold keys.
        write!(f, "S3({})", self.url)
    }
}

/// Checks the settings of an `s3:` target without any input or output.
pub(super) fn check(settings: &TargetSettings, rest: &str) -> Vec<Fault> {
    Address::parse(settings, rest).err().unwrap_or_default()
}

/// Bytes of the next part of a streamed upload of which so many were sent: a store takes so many parts and no more.
pub(super) fn part_size(sent: u64) -> usize {
    let share = usize::try_from(sent / limits::S3_PART_SHARE).unwrap_or(usize::MAX >> 1);
    share.next_multiple_of(1 << 20).max(limits::UPLOAD_PART)
}

impl S3 {
    /// Takes a bucket by its settings. Reads the system's certificates; opens no connection.
    pub(super) fn open(
        settings: &TargetSettings,
        rest: &str,
        access: &Access,
    ) -> std::result::Result<Self, TargetError> {
        let address = Address::parse(settings, rest).map_err(|faults| {
            let first = faults.into_iter().next();
            first.map_or(TargetError::MissingSetting { key: "url" }, |fault| fault.error)
        })?;
        let id = key("access-key-id", access.access_key_id.as_ref())?;
        let secret = key("secret-access-key", access.secret_access_key.as_ref())?;
        let options = client_options(&address, access)?;
        let unusable = |error: &Error| TargetError::NoClient(said::Said::of(error).to_string());
        let connected = ReqwestConnector::default().connect(&options);
        let connected = connected.map_err(|error| unusable(&error))?;
        let conditions = Conditions::new();
        let client = HttpClient::new(Service::new(connected, settings.timeout(), conditions.clone()));
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&address.bucket)
            .with_region(&address.region)
            .with_virtual_hosted_style_request(address.bucket_in_host)
            .with_access_key_id(id.expose())
            .with_secret_access_key(secret.expose())
            .with_disable_bulk_delete(true)
            .with_client_options(options)
            .with_http_connector(Ready(client.clone()))
            .with_retry(retry(settings.retry_for()));
        if let Some(endpoint) = &address.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(token) = &access.session_token {
            builder = builder.with_token(key("session-token", Some(token))?.expose());
        }
        let store = builder.build().map_err(|error| unusable(&error))?;
        Ok(Self(Arc::new(Inner {
            store,
            client,
            url: address.url(settings),
            address,
            timeout: settings.timeout(),
            conditions,
            ledger: access.ledger.clone(),
        })))
    }

    /// The URL by which the target is shown and remembered.
    pub(super) fn url(&self) -> String {
        self.0.url.clone()
    }

    /// The object's name in the bucket.
    fn full(&self, location: &Path) -> Result<Path> {
        let prefix = self.0.address.prefix.as_ref();
        if prefix.is_empty() {
            return Ok(location.clone());
        }
        Path::parse(format!("{prefix}/{location}")).map_err(Error::from)
    }

    /// The object as it is named here; `None` for what lies outside the folder, or is its marker.
    fn own(&self, mut meta: ObjectMeta) -> Option<ObjectMeta> {
        let prefix = self.0.address.prefix.as_ref();
        if !prefix.is_empty() {
            let below = meta.location.as_ref().strip_prefix(prefix)?.strip_prefix('/')?;
            meta.location = Path::parse(below).ok()?;
        }
        (!meta.location.as_ref().is_empty()).then_some(meta)
    }
}

/// A value as it can stand in a header, in which it is sent.
fn key(name: &'static str, value: Option<&Secret<String>>) -> std::result::Result<Secret<String>, TargetError> {
    let value = value.ok_or(TargetError::MissingSetting { key: name })?;
    if value.expose().bytes().all(|b| b.is_ascii_graphic()) {
        Ok(value.clone())
    } else {
        Err(TargetError::BadSetting {
            key: name,
            why: "the value behind the reference has blanks, control characters or characters beyond ASCII, and no key has",
            help: "copy the key anew into the secret file",
        })
    }
}

fn client_options(address: &Address, access: &Access) -> std::result::Result<ClientOptions, TargetError> {
    let mut options = ClientOptions::new()
        .with_user_agent(object_store::HeaderValue::from_static(concat!(
            "strongroom/",
            env!("CARGO_PKG_VERSION")
        )))
        .with_connect_timeout(Duration::from_secs(limits::S3_CONNECT_SECONDS))
        // An object may take long to read; each exchange is bounded by the service instead.
        .with_timeout_disabled()
        .with_allow_http(!address.has_tls);
    if address.is_loopback {
        // A proxy of the environment is not asked for what is on this host.
        options = options
            .with_proxy_url("http://localhost:9")
            .with_proxy_excludes("localhost,127.0.0.0/8,::1");
    }
    if let Some(pem) = &access.certificates {
        let certificates = Certificate::from_pem_bundle(pem).ok().filter(|found| !found.is_empty());
        let certificates = certificates.ok_or(TargetError::BadSetting {
            key: "ca-file",
            why: "the file holds no certificate in PEM form",
            help: "name a file with `-----BEGIN CERTIFICATE-----` in it",
        })?;
        for certificate in certificates {
            options = options.with_root_certificate(certificate);
        }
    }
    Ok(options)
}

fn retry(span: Duration) -> RetryConfig {
    let max_retries = if span.is_zero() { 0 } else { limits::S3_RETRIES };
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(limits::S3_BACKOFF_MILLISECONDS),
            max_backoff: Duration::from_millis(limits::S3_BACKOFF_MILLISECONDS_MAX),
            base: 2.0,
        },
        max_retries,
        retry_timeout: span,
    }
}

impl fmt::Display for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.url)
    }
}

fn not_implemented(operation: &str) -> Error {
    Error::NotImplemented {
        operation: operation.to_owned(),
        implementer: STORE.to_owned(),
    }
}

#[async_trait]
impl ObjectStore for S3 {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        if opts.mode != PutMode::Create {
            return Err(not_implemented("put with another mode than PutMode::Create"));
        }
        self.create(&self.full(location)?, payload).await
    }

    /// `complete` is create-only. An object of one part is put whole; nothing is begun before the second part.
    async fn put_multipart_opts(&self, location: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let object = location.to_string();
        Ok(Box::new(Upload::new(self.clone(), self.full(location)?, object)))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let full = self.full(location)?;
        let mut result = if options.head {
            self.head(&full, options).await?
        } else {
            self.get(&full, options).await?
        };
        result.meta.location = location.clone();
        Ok(result)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (store, named) = (self.clone(), self.clone());
        let full = locations.map(move |location| named.full(&location?));
        let deleted = self.0.store.delete_stream(full.boxed());
        deleted
            .map_ok(move |full| {
                let prefix = store.0.address.prefix.as_ref();
                let below = full.as_ref().strip_prefix(prefix).unwrap_or(full.as_ref());
                Path::parse(below).unwrap_or_else(|_| full.clone())
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let own = self.clone();
        let full = match prefix {
            Some(prefix) => self.full(prefix),
            None => Ok(self.0.address.prefix.clone()),
        };
        match full {
            Ok(full) => self
                .0
                .store
                .list(Some(&full))
                .try_filter_map(move |meta| std::future::ready(Ok(own.own(meta))))
                .boxed(),
            Err(error) => futures::stream::once(std::future::ready(Err(error))).boxed(),
        }
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        Err(not_implemented("listing of one level"))
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(not_implemented("copy"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest object that S3 has, and how many parts it takes.
    const OBJECT_MAX: u64 = 5 << 40;
    const PARTS_MAX: u32 = 10_000;
    const PART_MAX: u64 = 5 << 30;

    #[test]
    fn ten_thousand_parts_make_the_largest_object() {
        let (mut sent, mut parts) = (0_u64, 0);
        while sent < OBJECT_MAX {
            let part = part_size(sent) as u64;
            assert!((8 << 20..PART_MAX).contains(&part));
            sent += part;
            parts += 1;
        }
        assert!(parts <= PARTS_MAX, "{parts}");
    }

    #[test]
    fn parts_are_of_one_size_until_an_object_is_large() {
        assert_eq!(part_size(0), limits::UPLOAD_PART);
        assert_eq!(part_size(10 << 30), limits::UPLOAD_PART);
        assert_eq!(part_size(100 << 30), 74 << 20);
    }
}
