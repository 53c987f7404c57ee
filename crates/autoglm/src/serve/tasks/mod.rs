//! The tasks that are served, worked on by the same code as the commands.

mod desk;
mod ready;
mod served;

pub(crate) use desk::Desk;
