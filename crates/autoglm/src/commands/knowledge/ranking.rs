//! How passages are searched for, by the options of the command line.

use autoglm_retrieve::search::{Fusion, Relevance, Rerank, SearchSettings};
use autoglm_retrieve::store::Filter;
use autoglm_spec::EmbeddingSpace;
use clap::{Args, ValueEnum};

use super::knows_chinese;

/// How passages are searched for.
#[derive(Debug, Clone, Args)]
pub struct RankingArgs {
    /// Look only at passages for which this holds: `path=*/guide/*`, `format=pdf`, `language=zh`,
    /// or a field of records such as `year=2001`; give it once for each.
    #[arg(long = "where", value_name = "NAME=VALUE")]
    clauses: Vec<String>,
    /// How the lists by words and by meaning become one.
    #[arg(long, value_name = "HOW", value_enum, default_value_t = FusionName::Blend)]
    fusion: FusionName,
    /// How little the first ranks stand out with --fusion rrf.
    #[arg(long, value_name = "N", default_value_t = 60.0)]
    rrf_constant: f64,
    /// What the list by words counts; 0 leaves it out.
    #[arg(long, value_name = "W", default_value_t = 0.3)]
    words_weight: f64,
    /// What the list by meaning counts; 0 leaves it out. When not given 0.7, and 0 for questions in
    /// Chinese where the vectors are of the default model, which knows none.
    #[arg(long, value_name = "W")]
    meaning_weight: Option<f64>,
    /// Passages of each list that are looked at.
    #[arg(long, value_name = "N", default_value_t = 100)]
    depth: usize,
    /// How much being unlike the passages before it counts, from 0 to 1.
    #[arg(long, value_name = "D", default_value_t = 0.0)]
    diversity: f64,
    /// Let the language model rank the first passages anew.
    #[arg(long, value_name = "HOW", value_enum, num_args = 0..=1, default_missing_value = "likelihood")]
    rerank: Option<RelevanceName>,
    /// Passages that the model ranks anew.
    #[arg(long, value_name = "N", default_value_t = 20, requires = "rerank")]
    rerank_depth: usize,
    /// What the model's opinion counts beside the search's, from 0 to 1.
    #[arg(long, value_name = "W", default_value_t = 0.25, requires = "rerank")]
    rerank_weight: f64,
}

/// [`Fusion`] by the names of the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum FusionName {
    /// Scores are added.
    Blend,
    /// Reciprocal ranks are added.
    Rrf,
}

/// [`Relevance`] by the names of the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum RelevanceName {
    /// How likely the question is behind the passage.
    Likelihood,
    /// Whether the passage answers the question.
    YesNo,
}

impl RankingArgs {
    /// The settings of a search for so many passages in a space.
    ///
    /// # Errors
    /// A clause that is not understood.
    pub(super) fn settings(
        &self,
        limit: usize,
        space: Option<&EmbeddingSpace>,
    ) -> anyhow::Result<SearchSettings> {
        let defaults = SearchSettings::default();
        Ok(SearchSettings {
            limit,
            depth: self.depth,
            fusion: match self.fusion {
                FusionName::Blend => Fusion::Blend,
                FusionName::Rrf => Fusion::ReciprocalRank {
                    constant: self.rrf_constant,
                },
            },
            lexical_weight: self.words_weight,
            dense_weight: self.meaning_weight.unwrap_or(defaults.dense_weight),
            vectors_know_chinese: self.meaning_weight.is_some() || knows_chinese(space),
            diversity: self.diversity.clamp(0.0, 1.0),
            filter: Filter::parse(&self.clauses)?,
        })
    }

    /// How the model ranks anew, where it shall.
    pub(super) fn rerank(&self) -> Option<Rerank> {
        let relevance = match self.rerank? {
            RelevanceName::Likelihood => Relevance::Likelihood,
            RelevanceName::YesNo => Relevance::YesNo,
        };
        Some(Rerank {
            relevance,
            depth: self.rerank_depth,
            weight: self.rerank_weight,
            ..Rerank::default()
        })
    }
}
