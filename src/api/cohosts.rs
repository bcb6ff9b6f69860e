//! Co-hosts: who publishes beside the host, from a studio of their own.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use timeline::SourceName;

use crate::auth::{Grant, Role};
use crate::problem::Problem;
use crate::sources;

use super::layout::stage;
use super::{Api, DIRECTORS, bad_name, fresh, is_name, issue, malformed};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    name: String,
}

#[derive(Serialize)]
struct Invited {
    name: String,
    /// What they publish as.
    source: SourceName,
    token: String,
    /// Their studio, as a path of this server, with the token.
    studio: String,
}

pub(super) async fn invite(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Result<Json<Wanted>, JsonRejection>,
) -> Result<impl IntoResponse, Problem> {
    let refusal = "only the host or an operator invites co-hosts";
    let broadcast = api.find_as(DIRECTORS, refusal, &id, &headers)?;
    let Json(wanted) = body.map_err(malformed)?;
    let name = wanted.name.trim();
    if name.is_empty() || !is_name(name) {
        return Err(bad_name());
    }
    if broadcast.is_ending() {
        return Err(Problem::new(StatusCode::GONE, "the broadcast has ended"));
    }
    let source = broadcast
        .invite(name)
        .map_err(|full| Problem::new(StatusCode::CONFLICT, full.to_string()))?;
    // Else a restart could promise the same source to somebody else.
    api.broadcasts
        .save(&broadcast)
        .await
        .map_err(|e| Problem::new(StatusCode::SERVICE_UNAVAILABLE, e.to_string()))?;
    let mut grant = Grant::new(&broadcast.id, Role::Cohost, name);
    grant.after = broadcast.sources().withdrawn.get(&source).copied();
    grant.source = Some(source.clone());
    let token = issue(&api, grant)?;
    let invited = Invited {
        name: name.to_owned(),
        source,
        studio: format!("/studio/{}#token={token}", broadcast.id),
        token,
    };
    Ok((StatusCode::CREATED, fresh(), Json(invited)))
}

/// What is on air from it ends, and its tokens are void. The answer is who is left.
pub(super) async fn withdraw(
    State(api): State<Api>,
    Path((id, source)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let refusal = "only the host or an operator withdraws an invitation";
    let broadcast = api.find_as(DIRECTORS, refusal, &id, &headers)?;
    let source: SourceName = source.parse().map_err(|bad| no_cohost(&bad))?;
    let source = sources::cohost(source).map_err(|bad| no_cohost(&bad))?;
    if broadcast.is_ending() {
        return Err(Problem::new(StatusCode::GONE, "the broadcast has ended"));
    }
    broadcast
        .withdraw(&source)
        .map_err(|full| Problem::new(StatusCode::CONFLICT, full.to_string()))?;
    tracing::info!(broadcast = %broadcast.id, %source, "an invitation was withdrawn");
    api.ingest.dismiss(&broadcast.id, &source).await;
    // It holds, but not beyond a restart.
    api.broadcasts
        .save(&broadcast)
        .await
        .map_err(|e| Problem::new(StatusCode::SERVICE_UNAVAILABLE, e.to_string()))?;
    Ok((fresh(), Json(stage(&broadcast))))
}

fn no_cohost(why: &dyn std::error::Error) -> Problem {
    Problem::not_found(format!("no co-host is called that: {why}"))
}
