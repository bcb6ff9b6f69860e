//! The web pages, embedded in the binary.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::problem::Problem;

#[derive(RustEmbed)]
#[folder = "player/dist"]
#[allow_missing = true]
struct Player;

/// Everything comes from this server; pictures and sound are made by script, workers of hls.js are blobs.
const POLICY: &str = "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; \
    worker-src 'self' blob:; style-src 'self' 'unsafe-inline'; connect-src 'self' ws: wss:; \
    frame-ancestors 'self'; base-uri 'none'; object-src 'none'";

pub fn router() -> axum::Router {
    axum::Router::new()
        .route("/", get(|headers: HeaderMap| page("index.html", headers)))
        .route(
            "/watch/{id}",
            get(|headers: HeaderMap| page("watch.html", headers)),
        )
        .route(
            "/studio/{id}",
            get(|headers: HeaderMap| page("studio.html", headers)),
        )
        .route("/assets/{*path}", get(asset))
        .fallback(|| async { Problem::not_found("there is nothing here") })
}

async fn page(name: &'static str, headers: HeaderMap) -> Response {
    let Some(file) = Player::get(name) else {
        let detail = "the player is not built: run `make player` and build again";
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response();
    };
    let mut response = send(file, "no-cache", &headers);
    let policy = HeaderValue::from_static(POLICY);
    response
        .headers_mut()
        .insert(header::CONTENT_SECURITY_POLICY, policy);
    response
        .headers_mut()
        .insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

/// Names of assets hold their hash, so each is immutable.
async fn asset(axum::extract::Path(path): axum::extract::Path<String>, headers: HeaderMap) -> Response {
    match Player::get(&format!("assets/{path}")) {
        Some(file) => send(file, "public, max-age=31536000, immutable", &headers),
        None => Problem::not_found("there is no such asset").into_response(),
    }
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
