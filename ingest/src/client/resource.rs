//! The HTTP side of WHIP (RFC 9725 §4): an offer is POSTed to the endpoint and becomes a resource, which a DELETE
//! ends.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderValue, IF_MATCH, LOCATION, RETRY_AFTER};
use reqwest::{Client, Method, Response, StatusCode, Url};
use serde::Deserialize;

use super::{Config, Error};
use crate::sdp::Fragment;

/// As long as OBS waits.
const PATIENCE: Duration = Duration::from_secs(8);

/// A load balancer sends a publisher on once; more than a few is a loop.
const MAX_REDIRECTS: usize = 4;

const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// An answer is a few kilobytes.
const MAX_BODY: usize = 256 * 1024;

pub struct Endpoint {
    client: Client,
    url: Url,
    authorization: Option<HeaderValue>,
    bind: Option<IpAddr>,
}

/// What stands for a publisher at the server.
#[derive(Debug)]
pub struct Resource {
    url: Url,
    /// What a restart of ICE refers to. Servers that know none give none.
    etag: Mutex<Option<HeaderValue>>,
}

impl Resource {
    fn of(url: Url, response: &Response) -> Self {
        let etag = Mutex::new(response.headers().get(ETAG).cloned());
        Resource { url, etag }
    }

    pub fn restarts(&self) -> bool {
        self.etag().is_some()
    }

    fn etag(&self) -> Option<HeaderValue> {
        self.etag.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The server's name for the session: the end of its path.
    pub fn session(&self) -> Option<String> {
        let last = self.url.path_segments()?.next_back()?;
        (!last.is_empty()).then(|| last.to_owned())
    }
}

impl Endpoint {
    pub fn new(config: &Config) -> Result<Self, Error> {
        install_crypto();
        let bad = || Error::BadUrl {
            url: config.url.clone(),
        };
        let mut url = Url::parse(&config.url).map_err(|_| bad())?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(bad());
        }
        if let Some(session) = &config.replaces {
            url.query_pairs_mut().append_pair("takeover", session);
        }
        // Redirects are followed here: the client would take the token off.
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE);
        let client = client.build().map_err(|e| unreachable(&url, e))?;
        let authorization = config.token.as_deref().map(bearer).transpose()?;
        Ok(Endpoint {
            client,
            url,
            authorization,
            bind: config.bind,
        })
    }

    /// The address that packets to the endpoint's host leave from.
    pub async fn local_address(&self) -> Result<IpAddr, Error> {
        if let Some(address) = self.bind {
            return Ok(address);
        }
        let fail = |e| unreachable(&self.url, e);
        let host = self.url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let port = self.url.port_or_known_default().unwrap_or_default();
        let server = tokio::net::lookup_host((host, port)).await.map_err(fail)?.next();
        let server = server.ok_or_else(|| unreachable(&self.url, "its name has no address"))?;
        let any: IpAddr = match server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        // Connecting a UDP socket sends nothing; it asks the routing table.
        let socket = tokio::net::UdpSocket::bind((any, 0)).await.map_err(fail)?;
        socket.connect(server).await.map_err(fail)?;
        Ok(socket.local_addr().map_err(fail)?.ip())
    }

    /// Offers to publish. Returns the resource and the answer.
    pub async fn post(&self, offer: String) -> Result<(Resource, String), Error> {
        let mut url = self.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let request = self
                .request(Method::POST, &url)
                .header(CONTENT_TYPE, "application/sdp");
            let response = request
                .body(offer.clone())
                .send()
                .await
                .map_err(|e| unreachable(&url, reason(&e)))?;
            match response.status() {
                StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => {
                    url = redirected(&url, &response)?;
                }
                StatusCode::CREATED => return self.created(&url, response).await,
                _ => return Err(refusal(response).await),
            }
        }
        Err(Error::BadAnswer(format!("more than {MAX_REDIRECTS} redirects")))
    }

    async fn created(&self, url: &Url, response: Response) -> Result<(Resource, String), Error> {
        let resource = Resource::of(location(url, &response)?, &response);
        match answer(response).await {
            Ok(answer) => Ok((resource, answer)),
            Err(e) => {
                // It exists all the same, and would keep the broadcast busy.
                let _ = self.delete(&resource).await;
                Err(e)
            }
        }
    }

    /// Asks for a restart of ICE; brings the server's new credentials.
    pub async fn restart(&self, resource: &Resource, fragment: String) -> Result<Fragment, Error> {
        let url = &resource.url;
        let any = HeaderValue::from_static("*");
        // One whose answer was lost may have changed the ETag.
        for etag in [resource.etag().unwrap_or(any.clone()), any] {
            let request = self
                .request(Method::PATCH, url)
                .header(CONTENT_TYPE, FRAGMENT)
                .header(IF_MATCH, etag)
                .body(fragment.clone());
            let response = request.send().await.map_err(|e| unreachable(url, reason(&e)))?;
            match response.status() {
                StatusCode::PRECONDITION_FAILED => continue,
                StatusCode::OK => {
                    let etag = response.headers().get(ETAG).cloned();
                    *resource.etag.lock().unwrap_or_else(PoisonError::into_inner) = etag;
                    let fragment = answer(response).await?;
                    return Fragment::parse(&fragment)
                        .map_err(|_| Error::BadAnswer("a restart is answered with an SDP fragment".into()));
                }
                _ => return Err(refusal(response).await),
            }
        }
        Err(Error::BadAnswer("no ETag will do for a restart".into()))
    }

    pub async fn delete(&self, resource: &Resource) -> Result<(), Error> {
        let url = &resource.url;
        let response = self.request(Method::DELETE, url).send().await;
        let response = response.map_err(|e| unreachable(url, reason(&e)))?;
        match response.status() {
            status if status.is_success() => Ok(()),
            // It is gone already, which is what was wanted.
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(()),
            _ => Err(refusal(response).await),
        }
    }

    fn request(&self, method: Method, url: &Url) -> reqwest::RequestBuilder {
        let request = self.client.request(method, url.clone());
        match &self.authorization {
            Some(bearer) => request.header(AUTHORIZATION, bearer.clone()),
            None => request,
        }
    }
}

fn bearer(token: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| Error::BadToken)?;
    value.set_sensitive(true);
    Ok(value)
}

/// The token goes along: the endpoint vouches for where it sends its publishers. But never in the clear where it
/// was not before.
fn redirected(from: &Url, response: &Response) -> Result<Url, Error> {
    let to = location(from, response)?;
    match (from.scheme(), to.scheme()) {
        ("https", "http") => Err(Error::BadAnswer(format!("a redirect from https to {to}"))),
        _ => Ok(to),
    }
}

async fn answer(response: Response) -> Result<String, Error> {
    let answer = String::from_utf8(body(response).await?)
        .ok()
        .filter(|answer| !answer.is_empty());
    answer.ok_or_else(|| Error::BadAnswer("201 without an SDP answer".into()))
}

/// Relative or absolute (RFC 9725 §4.2).
fn location(base: &Url, response: &Response) -> Result<Url, Error> {
    let value = response.headers().get(LOCATION).and_then(|v| v.to_str().ok());
    let value = value.ok_or_else(|| Error::BadAnswer(format!("{} without a Location", response.status())))?;
    let url = base
        .join(value)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"));
    url.ok_or_else(|| Error::BadAnswer(format!("the Location {value:?} is not a URL")))
}

/// RFC 9457.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    title: Option<String>,
    detail: Option<String>,
}

async fn refusal(response: Response) -> Error {
    let status = response.status();
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|v| v.to_str().ok()?.parse().ok());
    let body = body(response).await.unwrap_or_default();
    let problem: Problem = serde_json::from_slice(&body).unwrap_or_default();
    Error::Refused {
        status: status.as_u16(),
        title: problem
            .title
            .unwrap_or_else(|| status.canonical_reason().unwrap_or("no reason").to_owned()),
        detail: problem.detail,
        retry_after: retry_after.map(Duration::from_secs),
    }
}

async fn body(mut response: Response) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(part)) if body.len() + part.len() <= MAX_BODY => body.extend_from_slice(&part),
            Ok(Some(_)) => return Err(Error::BadAnswer(format!("more than {MAX_BODY} bytes"))),
            Ok(None) => return Ok(body),
            Err(e) => return Err(unreachable(response.url(), reason(&e))),
        }
    }
}

fn unreachable(url: &Url, reason: impl std::fmt::Display) -> Error {
    Error::Unreachable {
        url: url.to_string(),
        reason: reason.to_string(),
    }
}

/// The innermost cause: "Connection refused" rather than "error sending request".
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// reqwest is built without a provider of its own; whoever came first has installed one.
fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
