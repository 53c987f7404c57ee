//! `/admin/models`: versions of models, loaded, tried, promoted and rolled back while requests go
//! on.

use std::sync::Arc;

use axum::response::Response;
use serde_json::{Value, json};

use crate::ServerError;
use crate::app::App;
use crate::fields::Fields;
use crate::http::json_response;
use crate::models::{Candidate, Mode};
use crate::work::blocking;

/// All models with their versions.
pub(crate) fn list(app: &App) -> Value {
    json!({"models": app.models.told()})
}

/// Loads a version beside the live one, examines it, and begins with it.
pub(crate) async fn update(
    app: Arc<App>,
    name: String,
    body: Value,
) -> Result<Response, ServerError> {
    let mut body = Fields::of(body, "")?;
    let source = body.need_text("source")?;
    let mode = take_mode(&mut body)?;
    let force = body.flag("force")?.unwrap_or(false);
    body.finish()?;
    blocking(move || {
        let live = app.models.live_of(&name)?;
        let loader = app.loader.as_ref().ok_or(ServerError::Unsupported {
            field: "an update".to_owned(),
            note: "",
        })?;
        // Two large models that are loaded at once might not fit.
        let _turn = app.updating.try_lock().map_err(|_| ServerError::Conflict {
            what: "another update is being loaded".to_owned(),
        })?;
        let loaded = loader(&source)?;
        let health = app.models.examine(&loaded, &live)?;
        if !force {
            health.check(app.settings.health)?;
        }
        let candidate = Candidate {
            source,
            loaded,
            at: app.now(),
            health,
        };
        let mut told = app.models.begin(&name, &candidate, mode)?;
        told["health"] = health.told();
        Ok(json_response(&told))
    })
    .await
}

fn take_mode(body: &mut Fields) -> Result<Mode, ServerError> {
    let mode = body.word("mode", &["switch", "canary", "shadow"])?;
    let percent = body.whole("percent", (1, 99))?;
    match (mode.unwrap_or("switch"), percent) {
        ("canary", percent) => Ok(Mode::Canary(percent.unwrap_or(5))),
        (_, Some(percent)) => Err(ServerError::invalid(
            body.path("percent"),
            percent.to_string(),
            "nothing, unless mode is canary",
        )),
        ("shadow", None) => Ok(Mode::Shadow),
        (_, None) => Ok(Mode::Switch),
    }
}
