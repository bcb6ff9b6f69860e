//! Errors over HTTP: RFC 9457 problem documents.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::{Error, Refusal};

#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    detail: String,
}

impl Problem {
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Problem {
            status,
            detail: detail.into(),
        }
    }

    pub fn unknown() -> Self {
        Problem::new(StatusCode::NOT_FOUND, "there is no such broadcast")
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Unknown => Problem::unknown(),
            error => {
                tracing::error!(%error, "a request to a room failed");
                Problem::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the room cannot be read now: try again",
                )
            }
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unauthorized(why) => Problem::new(StatusCode::UNAUTHORIZED, why),
            Refusal::Forbidden(why) => Problem::new(StatusCode::FORBIDDEN, why),
            Refusal::NotFound => Problem::unknown(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let headers = [
            (header::CONTENT_TYPE, "application/problem+json"),
            (header::CACHE_CONTROL, "no-store"),
        ];
        let mut response = (self.status, headers, body.to_string()).into_response();
        let extra = match self.status {
            StatusCode::UNAUTHORIZED => (header::WWW_AUTHENTICATE, "Bearer"),
            StatusCode::SERVICE_UNAVAILABLE => (header::RETRY_AFTER, "5"),
            StatusCode::UPGRADE_REQUIRED => (header::UPGRADE, "websocket"),
            _ => return response,
        };
        response
            .headers_mut()
            .insert(extra.0, HeaderValue::from_static(extra.1));
        response
    }
}
