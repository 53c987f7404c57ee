//! What attention looks at, as command-line options.

use autoglm_spec::{AttentionPolicy, GatingSettings};
use clap::{Args, ValueEnum};

/// What the attention of generated tokens looks at. What is not given is as the engine has it.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Attention")]
pub struct AttentionArgs {
    /// All that stands before a token, or a part of it, which is faster with a long context.
    #[arg(long, value_name = "POLICY", value_enum, default_value_t = Policy::Full)]
    attention: Policy,
    /// First positions that gated attention always looks at.
    #[arg(long, value_name = "TOKENS")]
    sink_tokens: Option<usize>,
    /// The narrowest recent window of gated attention.
    #[arg(long, value_name = "TOKENS")]
    least_recent_tokens: Option<usize>,
    /// The widest recent window of gated attention.
    #[arg(long, value_name = "TOKENS")]
    most_recent_tokens: Option<usize>,
    /// Positions between the first and the recent ones that gated attention chooses.
    #[arg(long, value_name = "TOKENS")]
    selected_tokens: Option<usize>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Policy {
    /// All of it.
    Full,
    /// The first positions, a recent window, and chosen blocks between them.
    Gated,
}

impl AttentionArgs {
    /// The policy for the engine.
    pub fn policy(&self) -> AttentionPolicy {
        let habit = GatingSettings::default();
        match self.attention {
            Policy::Full => AttentionPolicy::Full,
            Policy::Gated => AttentionPolicy::Gated(GatingSettings {
                sink_tokens: self.sink_tokens.unwrap_or(habit.sink_tokens),
                least_recent_tokens: self
                    .least_recent_tokens
                    .unwrap_or(habit.least_recent_tokens),
                most_recent_tokens: self.most_recent_tokens.unwrap_or(habit.most_recent_tokens),
                selected_tokens: self.selected_tokens.unwrap_or(habit.selected_tokens),
            }),
        }
    }
}
