//! The task API: run a task on records, say what was right, and look at what a task has learnt.

mod conduct;
mod desk;
mod examples;
mod feedback;
mod order;
mod outline;
mod query;
mod report;
mod routes;
mod run;
mod runs;
mod strategies;
mod told;

use std::sync::Arc;

use autoglm_spec::TaskSpec;

pub use conduct::{Means, conduct};
pub use desk::{
    FeedbackTaken, RunEvent, RunHead, RunOrder, Said, StageTimes, StrategyChoice, TaskAnswer,
    TaskDesk, TaskState,
};
pub(crate) use routes::routes;

use crate::ServerError;
use crate::app::App;
use crate::auth::Reach;
use crate::work::blocking;

/// A task with the desk that does its work.
#[derive(Clone)]
struct Asked {
    desk: Arc<dyn TaskDesk>,
    spec: Arc<TaskSpec>,
}

impl Asked {
    /// The task of a name.
    fn of(app: &App, name: &str) -> Result<Self, ServerError> {
        let none = || ServerError::NoSuchTask {
            name: name.to_owned(),
        };
        let desk = app.tasks.as_ref().ok_or_else(none)?;
        let spec = desk.tasks().into_iter().find(|spec| spec.name == name);
        Ok(Self {
            desk: Arc::clone(desk),
            spec: spec.ok_or_else(none)?,
        })
    }

    /// Refuses a client that may not read the collections of the task: its answers tell passages.
    fn check_reach(&self, reach: Option<&Reach>) -> Result<(), ServerError> {
        if let (Some(reach), Some(knowledge)) = (reach, &self.spec.knowledge) {
            for name in &knowledge.collections {
                reach.check_collection(name)?;
            }
        }
        Ok(())
    }

    /// Asks the desk on a thread that may block.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn TaskDesk, &str) -> Result<T, ServerError> + Send + 'static,
    ) -> Result<T, ServerError> {
        let Self { desk, spec } = self.clone();
        blocking(move || question(&*desk, &spec.name)).await
    }
}
