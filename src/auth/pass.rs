//! Passes: how a publisher that is sent to another node comes in there. Browsers, and others, take the token off on the way to
//! another origin, so a pass travels in the query. It is good for what was just allowed, for a minute, and for nothing else.

use anyhow::Context;
use jsonwebtoken::{Header, Validation};
use serde::{Deserialize, Serialize};
use timeline::BroadcastId;

use super::{ALGORITHM, Auth, Denied};
use crate::clock;

/// For the way from one node to the next, over a slow network.
const TTL_S: i64 = 60;

/// Who a pass is for (RFC 7519 §4.1.3). Tokens name no audience: neither is ever taken for the other.
const AUDIENCE: &str = "whip";

#[derive(Debug, Serialize, Deserialize)]
pub struct Pass {
    aud: String,
    exp: i64,
    pub broadcast: BroadcastId,
    /// As whom, and as which source.
    pub grant: ingest::Grant,
}

impl Auth {
    pub fn pass(&self, broadcast: &BroadcastId, grant: &ingest::Grant) -> anyhow::Result<String> {
        self.pass_until(now() + TTL_S, broadcast, grant)
    }

    /// `exp`: Unix seconds.
    fn pass_until(&self, exp: i64, broadcast: &BroadcastId, grant: &ingest::Grant) -> anyhow::Result<String> {
        let pass = Pass {
            aud: AUDIENCE.into(),
            exp,
            broadcast: broadcast.clone(),
            grant: grant.clone(),
        };
        jsonwebtoken::encode(&Header::new(ALGORITHM), &pass, &self.encoding).context("cannot sign a pass")
    }

    pub fn verify_pass(&self, pass: &str) -> Result<Pass, Denied> {
        self.decode(pass, &self.passes)
    }
}

fn now() -> i64 {
    clock::now().unix_millis() / 1000
}

/// What is asked of a pass.
pub(super) fn validation() -> Validation {
    let mut validation = Validation::new(ALGORITHM);
    validation.set_required_spec_claims(&["exp", "aud"]);
    validation.set_audience(&[AUDIENCE]);
    validation.leeway = 0;
    validation
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::auth::{Grant, Role};

    fn ada() -> ingest::Grant {
        ingest::Grant {
            person: "p1".into(),
            name: "Ada".into(),
            source: "ada-screen".parse().unwrap(),
            invitation: Some(ingest::Invitation {
                source: "ada".parse().unwrap(),
                issued: 7,
            }),
        }
    }

    #[test]
    fn a_pass_says_what_was_allowed() {
        let auth = Auth::with_secret(&[7; 32]);
        let id = "algebra".parse().unwrap();
        let pass = auth.verify_pass(&auth.pass(&id, &ada()).unwrap()).unwrap();
        assert_eq!((pass.broadcast, pass.grant), (id, ada()));
    }

    #[test]
    fn it_is_no_token_and_a_token_is_no_pass() {
        let auth = Auth::with_secret(&[7; 32]);
        let id: BroadcastId = "algebra".parse().unwrap();
        let pass = auth.pass(&id, &ada()).unwrap();
        assert_eq!(auth.verify(Some(&pass)).unwrap_err(), Denied::Invalid);
        let host = Grant::new(&id, Role::Host, "Ana");
        let token = auth.issue(host, Duration::from_secs(60)).unwrap();
        assert_eq!(auth.verify_pass(&token).unwrap_err(), Denied::Invalid);
    }

    #[test]
    fn it_is_good_for_a_minute_and_of_this_installation_only() {
        let auth = Auth::with_secret(&[7; 32]);
        let id = "algebra".parse().unwrap();
        let late = auth.pass_until(now() - 1, &id, &ada()).unwrap();
        assert_eq!(auth.verify_pass(&late).unwrap_err(), Denied::Expired);
        let foreign = Auth::with_secret(&[8; 32]).pass(&id, &ada()).unwrap();
        assert_eq!(auth.verify_pass(&foreign).unwrap_err(), Denied::Invalid);
        let pass = auth.verify_pass(&auth.pass(&id, &ada()).unwrap()).unwrap();
        assert!(pass.exp - now() <= 60);
    }
}
