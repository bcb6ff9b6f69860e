use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::Refusal;
use crate::sdp::OfferError;
use crate::sessions::NoPlace;

/// An error as the publisher reads it (RFC 9457).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: String,
}

/// Long enough for a session to end by its own silence.
const RETRY_AFTER_S: u16 = 15;

impl Problem {
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Problem {
            status,
            detail: detail.into(),
        }
    }

    pub fn not_found() -> Self {
        Problem::new(StatusCode::NOT_FOUND, "there is nothing here")
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
        let problem = [(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        )];
        let mut response = (self.status, problem, body.to_string()).into_response();
        let headers = response.headers_mut();
        match self.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, RETRY_AFTER_S.into());
            }
            _ => {}
        }
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unauthorized(why) => Problem::new(StatusCode::UNAUTHORIZED, why),
            Refusal::Forbidden(why) => Problem::new(StatusCode::FORBIDDEN, why),
            Refusal::NotFound => Problem::new(StatusCode::NOT_FOUND, "there is no such broadcast"),
            Refusal::Ended => Problem::new(StatusCode::GONE, "the broadcast has ended"),
            Refusal::Unavailable(why) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, why),
        }
    }
}

impl From<OfferError> for Problem {
    fn from(error: OfferError) -> Self {
        match error {
            OfferError::Malformed(why) => Problem::new(StatusCode::BAD_REQUEST, why),
            OfferError::Unsupported(why) => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why),
        }
    }
}

impl From<NoPlace> for Problem {
    fn from(no_place: NoPlace) -> Self {
        match no_place {
            NoPlace::Taken => Problem::new(
                StatusCode::CONFLICT,
                "somebody publishes to this broadcast already; add ?takeover=true to take their place",
            ),
            NoPlace::Crowded => Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many wait to publish here; add ?takeover=true to take the place of who is on air",
            ),
            NoPlace::Full => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many publishers"),
            NoPlace::ShuttingDown => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping"),
        }
    }
}
