//! The web pages, embedded in the binary.

use anyhow::Context;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rust_embed::{EmbeddedFile, RustEmbed};
use timeline::BroadcastId;

use crate::problem::Problem;

#[derive(RustEmbed)]
#[folder = "player/dist"]
#[allow_missing = true]
struct Player;

/// Everything comes from this server; pictures and sound are made by script. Who else may be asked
/// is put behind it.
const POLICY: &str = "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; \
    style-src 'self' 'unsafe-inline'; frame-ancestors 'self'; base-uri 'none'; object-src 'none'; \
    connect-src 'self' ws: wss:";

/// `others`: the nodes that a studio may be sent to.
pub fn router(others: &[String]) -> anyhow::Result<axum::Router> {
    let studio = policy(others).context("node.others")?;
    Ok(axum::Router::new()
        .route(
            "/",
            get(|headers: HeaderMap| async move {
                page("index.html", HeaderValue::from_static(POLICY), &headers)
            }),
        )
        .route("/watch/{id}", get(watch))
        .route(
            "/studio/{id}",
            get(|headers: HeaderMap| async move { page("studio.html", studio, &headers) }),
        )
        .route("/assets/{*path}", get(asset))
        .fallback(|| async { Problem::not_found("there is nothing here") }))
}

/// What is said of a page that may also speak to these.
fn policy(others: &[String]) -> anyhow::Result<HeaderValue> {
    let others = others.iter().flat_map(|other| [" ", other.trim_end_matches('/')]);
    Ok(HeaderValue::from_str(
        &std::iter::once(POLICY).chain(others).collect::<String>(),
    )?)
}

/// Whether it is `http://host` or `https://host`, which a policy can name: no more than one host, and nothing else.
pub fn is_origin(url: &str) -> bool {
    let host = url.strip_prefix("https://").or(url.strip_prefix("http://"));
    let host = host.map(|host| host.strip_suffix('/').unwrap_or(host));
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    host.is_some_and(|host| {
        host.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[') && host.chars().all(is_plain)
    })
}

fn page(name: &'static str, policy: HeaderValue, headers: &HeaderMap) -> Response {
    let Some(file) = Player::get(name) else {
        let detail = "the player is not built: run `make player` and build again";
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response();
    };
    let mut response = send(file, "no-cache", headers);
    response
        .headers_mut()
        .insert(header::CONTENT_SECURITY_POLICY, policy);
    response
        .headers_mut()
        .insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

/// What the page's script asks for first is on its way before the script is: two round trips less to the first picture.
async fn watch(Path(id): Path<String>, headers: HeaderMap) -> Response {
    let mut response = page("watch.html", HeaderValue::from_static(POLICY), &headers);
    // Only a name as a broadcast has it goes into a header.
    let Ok(id) = id.parse::<BroadcastId>() else {
        return response;
    };
    for path in [
        format!("/api/v1/broadcasts/{id}"),
        format!("/broadcasts/{id}/index.m3u8"),
    ] {
        let link = format!("<{path}>; rel=preload; as=fetch; crossorigin");
        if let Ok(link) = HeaderValue::from_str(&link) {
            response.headers_mut().append(header::LINK, link);
        }
    }
    response
}

/// Names of assets hold their hash, so each is immutable. Beside each stands its gzip.
async fn asset(Path(path): Path<String>, headers: HeaderMap) -> Response {
    const IMMUTABLE: &str = "public, max-age=31536000, immutable";
    let zipped = Player::get(&format!("assets/{path}.gz")).filter(|_| takes_gzip(&headers));
    let Some(file) = Player::get(&format!("assets/{path}")) else {
        return Problem::not_found("there is no such asset").into_response();
    };
    let mime = file.metadata.mimetype().to_owned();
    let coding = zipped.is_some().then_some(HeaderValue::from_static("gzip"));
    let mut response = send(zipped.unwrap_or(file), IMMUTABLE, &headers);
    let sent = response.headers_mut();
    sent.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if let Ok(mime) = HeaderValue::from_str(&mime) {
        sent.insert(header::CONTENT_TYPE, mime);
    }
    if let Some(coding) = coding {
        sent.insert(header::CONTENT_ENCODING, coding);
    }
    response
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|v| v.to_str().ok());
    accepted.is_some_and(|accepted| {
        accepted.split(',').any(|coding| {
            let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
            name.trim().eq_ignore_ascii_case("gzip") && weight.trim() != "q=0"
        })
    })
}

fn send(file: EmbeddedFile, cache: &'static str, request: &HeaderMap) -> Response {
    let hash = file.metadata.sha256_hash();
    let tag = format!(
        "\"{}\"",
        hash[..16].iter().map(|b| format!("{b:02x}")).collect::<String>()
    );
    let known = request
        .get(header::IF_NONE_MATCH)
        .and_then(|v| v.to_str().ok())
        .is_some_and(|v| v.contains(&tag));
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        file.data.into_owned().into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    if let Ok(mime) = HeaderValue::from_str(file.metadata.mimetype()) {
        headers.insert(header::CONTENT_TYPE, mime);
    }
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepting(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(value))])
    }

    #[test]
    fn gzip_goes_to_whoever_takes_it() {
        assert!(takes_gzip(&accepting("gzip, deflate, br")));
        assert!(takes_gzip(&accepting("br;q=1.0, GZIP;q=0.8")));
        for refusing in ["br", "identity", "gzip;q=0, br", "x-gzip"] {
            assert!(!takes_gzip(&accepting(refusing)), "{refusing}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }

    #[test]
    fn a_studio_speaks_to_the_nodes_that_are_named_and_to_no_other() {
        let nodes = ["https://two.test/".to_owned(), "http://[::1]:8080".to_owned()];
        let policy = policy(&nodes).unwrap();
        let connect = policy.to_str().unwrap().split("; ").last().unwrap();
        assert_eq!(
            connect,
            "connect-src 'self' ws: wss: https://two.test http://[::1]:8080"
        );
    }

    #[test]
    fn what_is_no_origin_is_in_no_policy() {
        for good in ["https://n.test", "http://127.0.0.1:8080/", "http://[::1]:80"] {
            assert!(is_origin(good), "{good}");
        }
        for bad in [
            "*",
            "https://*",
            "https://*.test",
            "n.test",
            "https://",
            "https:///",
            "https://n.test/path",
            "https://a.test https://b.test",
            "https://a.test;script-src *",
            "data:",
        ] {
            assert!(!is_origin(bad), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_watch_page_names_what_its_script_will_ask_for() {
        let links = |response: Response| -> Vec<String> {
            let links = response.headers().get_all(header::LINK).iter();
            links.map(|link| link.to_str().unwrap().to_owned()).collect()
        };
        let named = links(watch(Path("demo".into()), HeaderMap::new()).await);
        assert_eq!(named.len(), 2);
        assert!(named[1].starts_with("</broadcasts/demo/index.m3u8>; rel=preload"));
        for bad in ["a>; rel=x", "a/b", ""] {
            assert_eq!(links(watch(Path(bad.into()), HeaderMap::new()).await).len(), 0);
        }
    }
}
