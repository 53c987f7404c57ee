//! `GET /v1/models`.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::ServerError;
use crate::app::App;
use crate::auth::Models;
use crate::backend::Skill;
use crate::models::Version;

/// All models that the client may use.
pub(crate) fn list(app: &App, allowed: Option<&Models>) -> Value {
    let live = app.models.live();
    let may_be_used =
        |version: &&Arc<Version>| allowed.is_none_or(|models| models.contain(&version.name));
    let models = live.iter().filter(may_be_used).map(|version| told(version));
    json!({"object": "list", "data": models.collect::<Vec<_>>()})
}

/// One of them.
pub(crate) fn one(app: &App, name: &str) -> Result<Value, ServerError> {
    app.models.live_of(name).map(|version| told(&version))
}

fn told(served: &Version) -> Value {
    let (skill, context) = match &served.skill {
        Skill::Write(backend) => ("generate", backend.facts().context_tokens),
        Skill::Embed(embedder) => ("embed", embedder.space().max_tokens),
    };
    json!({
        "id": served.name,
        "object": "model",
        "created": served.created(),
        "owned_by": "autoglm",
        "capability": skill,
        "context_tokens": context,
        "system_fingerprint": served.fingerprint(),
    })
}
