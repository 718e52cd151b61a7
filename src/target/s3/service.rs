//! One HTTP exchange with a store: bounded in time, create-only at the end of a streamed upload, and whatever goes wrong
//! told as a [`Said`]. Retries are `object_store`'s own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::stream::StreamExt;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use object_store::{ClientOptions, HeaderValue};

use super::said::Said;
use crate::limits;

/// How many times a request was sent. Put into its extensions, it is counted up each time.
#[derive(Clone, Debug, Default)]
pub(super) struct Attempts(Arc<AtomicUsize>);

impl Attempts {
    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Whether the store is asked to keep what is there.
#[derive(Clone, Debug)]
pub(super) struct Conditions(Arc<AtomicBool>);

impl Conditions {
    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }

    pub(super) fn are_asked_for(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// The store does not keep them, or refuses to be asked.
    pub(super) fn give_up(&self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

/// Stands between `object_store` and the network.
#[derive(Debug)]
pub(super) struct Service {
    inner: HttpClient,
    timeout: Duration,
    conditions: Conditions,
}

impl Service {
    pub(super) fn new(inner: HttpClient, timeout: Duration, conditions: Conditions) -> Self {
        Self {
            inner,
            timeout,
            conditions,
        }
    }
}

/// What a request is for, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Reads an object: its content is handed on as it comes.
    Read,
    /// Ends a streamed upload: the store puts the parts together, which takes longer.
    Completion,
    Other,
}

impl Purpose {
    fn of(request: &HttpRequest) -> Self {
        match (request.method().as_str(), request.uri().query()) {
            ("GET", None) => Self::Read,
            ("POST", Some(query)) if query.split('&').any(|pair| pair.starts_with("uploadId=")) => Self::Completion,
            _ => Self::Other,
        }
    }
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let purpose = Purpose::of(&request);
        if purpose == Purpose::Completion && self.conditions.are_asked_for() {
            // Behind the signature, as `object_store` itself adds it where it copies: no store asks for it to be signed.
            let any = HeaderValue::from_static("*");
            request.headers_mut().insert("if-none-match", any);
        }
        if let Some(attempts) = request.extensions().get::<Attempts>() {
            attempts.0.fetch_add(1, Ordering::SeqCst);
        }
        let share = u32::try_from(request.body().content_length() / limits::UPLOAD_PART).unwrap_or(u32::MAX);
        let times = match purpose {
            Purpose::Completion => limits::S3_COMPLETION_TIMEOUTS,
            Purpose::Read | Purpose::Other => 1,
        };
        let limit = self.timeout.saturating_mul(share.saturating_add(times));
        match tokio::time::timeout(limit, self.exchange(request, purpose)).await {
            Ok(answer) => answer.map_err(Said::into_http),
            Err(_) => Err(Said::Silent(limit).into_http()),
        }
    }
}

impl Service {
    async fn exchange(&self, request: HttpRequest, purpose: Purpose) -> Result<HttpResponse, Said> {
        let response = self.inner.execute(request).await;
        let response = response.map_err(|error| Said::transport(&error))?;
        let status = response.status().as_u16();
        if purpose == Purpose::Read && (200..300).contains(&status) {
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        let body = whole(body).await?;
        let refused = || Said::refusal(status, &body);
        match status {
            // What was asked for is not there; that the bucket is not is something else.
            404 if !matches!(refused(), Said::Refused { code, .. } if code == "NoSuchBucket") => {}
            200..300 | 304 | 412 => {}
            _ => return Err(refused()),
        }
        Ok(HttpResponse::from_parts(parts, body.into()))
    }
}

/// The whole body of an answer that is no object.
async fn whole(body: HttpResponseBody) -> Result<Bytes, Said> {
    let mut pieces = body.bytes_stream();
    let mut whole = BytesMut::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| match Said::transport(&error) {
            Said::Garbled(text) | Said::Unreachable(text) => Said::Cut(text),
            said => said,
        })?;
        if whole.len() + piece.len() > limits::S3_ANSWER_MAX {
            return Err(Said::Garbled(format!(
                "it has more than {} bytes",
                limits::S3_ANSWER_MAX
            )));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

/// Hands a client that is there already to `object_store`.
#[derive(Debug)]
pub(super) struct Ready(pub(super) HttpClient);

impl HttpConnector for Ready {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(self.0.clone())
    }
}
