//! `GET /v1/models`.

use serde_json::{Value, json};

use crate::ServerError;
use crate::app::{App, Served};
use crate::auth::Models;
use crate::backend::Skill;

/// All models that the client may use.
pub(crate) fn list(app: &App, allowed: Option<&Models>) -> Value {
    let may_be_used = |served: &&Served| allowed.is_none_or(|models| models.contain(&served.name));
    let models = app.models().filter(may_be_used).map(told);
    json!({"object": "list", "data": models.collect::<Vec<_>>()})
}

/// One of them.
pub(crate) fn one(app: &App, name: &str) -> Result<Value, ServerError> {
    app.model(Some(name), |_| true).map(told)
}

fn told(served: &Served) -> Value {
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
