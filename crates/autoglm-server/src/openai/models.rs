//! `GET /v1/models`.

use serde_json::{Value, json};

use crate::ServerError;
use crate::app::App;
use crate::backend::Skill;
use crate::models::Version;

/// All models.
pub(crate) fn list(app: &App) -> Value {
    json!({"object": "list", "data": app.models.live().iter().map(|version| told(version)).collect::<Vec<_>>()})
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
