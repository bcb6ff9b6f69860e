//! Errors over HTTP: RFC 9457 problem documents.

use axum::extract::rejection::QueryRejection;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::room::Refused;
use crate::{Error, Refusal};

/// Those who are turned away together do not come back together.
const RETRY_AFTER_S: std::ops::RangeInclusive<u16> = 2..=8;

#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    /// What a frame would refuse with.
    refused: Option<Refused>,
}

impl Problem {
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Problem {
            status,
            detail: detail.into(),
            refused: None,
        }
    }

    pub fn refused(refused: &Refused) -> Self {
        Problem {
            refused: Some(refused.clone()),
            ..Problem::new(crate::api::status(refused.code), &refused.message)
        }
    }

    pub fn unknown() -> Self {
        Problem::new(StatusCode::NOT_FOUND, "there is no such broadcast")
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Problem::new(StatusCode::BAD_REQUEST, rejection.body_text())
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
        let mut body = serde_json::json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let Some(refused) = &self.refused {
            body["code"] = refused.code.name().into();
            body["retry_after_ms"] = refused.retry_after_ms.into();
        }
        let headers = [
            (header::CONTENT_TYPE, "application/problem+json"),
            (header::CACHE_CONTROL, "no-store"),
        ];
        let mut response = (self.status, headers, body.to_string()).into_response();
        if let Some(ms) = self.refused.as_ref().and_then(|refused| refused.retry_after_ms) {
            let seconds = HeaderValue::from(ms.div_ceil(1_000));
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
            return response;
        }
        let extra = match self.status {
            StatusCode::UNAUTHORIZED => (header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")),
            StatusCode::SERVICE_UNAVAILABLE => {
                (header::RETRY_AFTER, rand::random_range(RETRY_AFTER_S).into())
            }
            StatusCode::UPGRADE_REQUIRED => (header::UPGRADE, HeaderValue::from_static("websocket")),
            _ => return response,
        };
        response.headers_mut().insert(extra.0, extra.1);
        response
    }
}
