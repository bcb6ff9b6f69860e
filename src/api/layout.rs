//! How the pictures of a broadcast's sources share the canvas, and who sends them.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use serde::Serialize;
use timeline::{Layout, SourceName};

use crate::auth::Role;
use crate::broadcasts::Broadcast;
use crate::problem::Problem;
use crate::sources::{self, OnAir};

use super::{Api, DIRECTORS, fresh, malformed};

/// Whoever has a studio, and who looks after the room meanwhile.
const STAFF: &[Role] = &[Role::Host, Role::Operator, Role::Cohost, Role::Moderator];

#[derive(Serialize)]
pub(super) struct Stage {
    layout: Layout,
    /// In the order in which they came.
    on_air: Vec<OnAir>,
    /// The sources that co-hosts are invited to be, on air or not.
    cohosts: Vec<SourceName>,
}

pub(super) fn stage(broadcast: &Broadcast) -> Stage {
    Stage {
        layout: broadcast.layout(),
        on_air: broadcast.on_air(),
        cohosts: broadcast.sources().cohosts.clone(),
    }
}

pub(super) async fn read(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let refusal = "who is on air is told to hosts, co-hosts, moderators and operators";
    let broadcast = api.find_as(STAFF, refusal, &id, &headers)?;
    Ok((fresh(), Json(stage(&broadcast))))
}

/// The answer is how it now stands.
pub(super) async fn set(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Result<Json<Layout>, JsonRejection>,
) -> Result<impl IntoResponse, Problem> {
    let refusal = "only the host or an operator arranges the pictures";
    let broadcast = api.find_as(DIRECTORS, refusal, &id, &headers)?;
    let Json(layout) = body.map_err(malformed)?;
    sources::check(&layout).map_err(|bad| Problem::new(StatusCode::BAD_REQUEST, bad.to_string()))?;
    if broadcast.is_ending() {
        let detail = "the broadcast has ended, and with it its picture";
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    broadcast.arrange(layout);
    // It holds, kept or not: it would only be forgotten by a crash of the server.
    if let Err(error) = api.broadcasts.save(&broadcast).await {
        tracing::warn!(broadcast = %broadcast.id, "its layout could not be kept: {error}");
    }
    Ok((fresh(), Json(stage(&broadcast))))
}
