//! The fields that every endpoint which generates text shares.

use autoglm_spec::{Decoding, Sampling};
use serde_json::Value;

use crate::ServerError;
use crate::fields::{Fields, shown};

/// Answers to one request at most.
const MOST_CHOICES: u64 = 16;
/// Texts that end an answer at most, and the longest of them.
const MOST_STOPS: usize = 16;
const LONGEST_STOP_BYTES: usize = 1_000;
/// Tokens whose logits a request may change.
const MOST_BIASES: usize = 1_024;
/// Likeliest tokens that are told at most.
pub(super) const MOST_TOP_LOGPROBS: u64 = 20;

/// How a text is generated.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    /// Answers to the request.
    pub(crate) choices: usize,
    /// How tokens are chosen; the seed is that of the first answer.
    pub(crate) sampling: Sampling,
    /// Whether the client chose the seed.
    pub(crate) is_seeded: bool,
    /// Texts that end the answer.
    pub(crate) stop: Vec<String>,
    /// What is added to tokens' logits.
    pub(crate) logit_bias: Vec<(u32, f32)>,
    /// Whether the answer comes in pieces.
    pub(crate) stream: Option<StreamSettings>,
    /// What may be done to answer sooner, and what is told of tokens.
    pub(crate) decoding: Decoding,
}

/// How an answer comes in pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StreamSettings {
    /// Whether a last event tells what it cost.
    pub(crate) include_usage: bool,
}

impl Settings {
    /// Takes the shared fields. `seed` is used where the client gives none.
    pub(crate) fn take(body: &mut Fields, seed: u64) -> Result<Self, ServerError> {
        let given_seed = take_seed(body)?;
        let choices = body.whole("n", (1, MOST_CHOICES))?.unwrap_or(1) as usize;
        Ok(Self {
            choices,
            sampling: take_sampling(body, given_seed.unwrap_or(seed))?,
            is_seeded: given_seed.is_some(),
            stop: take_stop(body)?,
            logit_bias: take_logit_bias(body)?,
            stream: take_stream(body)?,
            decoding: Decoding {
                logprobs: false,
                ..Decoding::default()
            },
        })
    }

    /// How tokens of the answer with this index are chosen.
    pub(crate) fn sampling_of(&self, choice: usize) -> Sampling {
        Sampling {
            seed: self.sampling.seed.wrapping_add(choice as u64),
            ..self.sampling
        }
    }

    /// Whether the same request has the same answer again.
    pub(crate) fn is_repeatable(&self) -> bool {
        self.is_seeded || self.sampling.temperature <= 0.0
    }
}

fn take_seed(body: &mut Fields) -> Result<Option<u64>, ServerError> {
    let Some(value) = body.take("seed") else {
        return Ok(None);
    };
    let seed = value.as_i64().map(i64::cast_unsigned).or(value.as_u64());
    seed.map(Some)
        .ok_or_else(|| body.wrong("seed", &value, "a whole number of 64 bits"))
}

fn take_sampling(body: &mut Fields, seed: u64) -> Result<Sampling, ServerError> {
    let mut number = |name, range, default: f32| {
        let value = body.number(name, range)?;
        Ok::<f32, ServerError>(value.map_or(default, |value| value as f32))
    };
    let temperature = number("temperature", (0.0, 2.0), 1.0)?;
    Ok(Sampling {
        temperature,
        top_p: number("top_p", (0.0, 1.0), 1.0)?,
        min_p: number("min_p", (0.0, 1.0), 0.0)?,
        repetition_penalty: number("repetition_penalty", (0.01, 10.0), 1.0)?,
        presence_penalty: number("presence_penalty", (-2.0, 2.0), 0.0)?,
        frequency_penalty: number("frequency_penalty", (-2.0, 2.0), 0.0)?,
        top_k: body.whole("top_k", (0, 1_000_000))?.unwrap_or(0) as usize,
        // Where nothing is left to chance, no two requests shall differ by it.
        seed: if temperature > 0.0 { seed } else { 0 },
        ..Sampling::GREEDY
    })
}

fn take_stop(body: &mut Fields) -> Result<Vec<String>, ServerError> {
    let Some(value) = body.take("stop") else {
        return Ok(Vec::new());
    };
    let list = match value {
        Value::Array(list) if list.len() <= MOST_STOPS => list,
        Value::String(_) => vec![value],
        other => {
            let wanted = format!("a string, or a list of at most {MOST_STOPS}");
            return Err(body.wrong("stop", &other, &wanted));
        }
    };
    let wanted = format!("strings of 1 to {LONGEST_STOP_BYTES} bytes");
    let text = |value: Value| match value {
        Value::String(text) if (1..=LONGEST_STOP_BYTES).contains(&text.len()) => Ok(text),
        other => Err(body.wrong("stop", &other, &wanted)),
    };
    list.into_iter().map(text).collect()
}

/// `{"TOKEN ID": BIAS}`.
fn take_logit_bias(body: &mut Fields) -> Result<Vec<(u32, f32)>, ServerError> {
    let Some(value) = body.take("logit_bias") else {
        return Ok(Vec::new());
    };
    let wanted = format!("at most {MOST_BIASES} token ids, each with a number from -100 to 100");
    let Value::Object(biases) = value else {
        return Err(body.wrong("logit_bias", &value, &wanted));
    };
    if biases.len() > MOST_BIASES {
        let given = format!("{} token ids", biases.len());
        return Err(ServerError::invalid(body.path("logit_bias"), given, wanted));
    }
    let pair = |(token, bias): (String, Value)| {
        let number = bias.as_f64().filter(|bias| bias.abs() <= 100.0);
        match (token.parse(), number) {
            (Ok(token), Some(number)) => Ok((token, number as f32)),
            _ => Err(ServerError::invalid(
                body.path("logit_bias"),
                format!("{token:?}: {}", shown(&bias)),
                wanted.as_str(),
            )),
        }
    };
    biases.into_iter().map(pair).collect()
}

fn take_stream(body: &mut Fields) -> Result<Option<StreamSettings>, ServerError> {
    let stream = body.flag("stream")?.unwrap_or(false);
    let options = body.object("stream_options")?;
    let Some(mut options) = options else {
        return Ok(stream.then_some(StreamSettings {
            include_usage: false,
        }));
    };
    if !stream {
        let field = body.path("stream_options");
        return Err(ServerError::invalid(
            field,
            "an object",
            "nothing, unless stream is true",
        ));
    }
    let include_usage = options.flag("include_usage")?.unwrap_or(false);
    // Padding against traffic analysis, which is off unless it is asked for.
    if options.flag("include_obfuscation")? == Some(true) {
        return Err(ServerError::unsupported(
            options.path("include_obfuscation"),
            "",
        ));
    }
    options.finish()?;
    Ok(Some(StreamSettings { include_usage }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: Value) -> Result<Settings, ServerError> {
        let mut fields = Fields::of(body, "").unwrap();
        let settings = Settings::take(&mut fields, 42)?;
        fields.finish()?;
        Ok(settings)
    }

    #[test]
    fn without_fields_the_defaults_of_the_protocol_hold() {
        let settings = read(json!({})).unwrap();
        assert_eq!(settings.sampling.temperature, 1.0);
        assert_eq!((settings.choices, settings.sampling.seed), (1, 42));
        assert!(!settings.is_repeatable());
    }

    #[test]
    fn every_field_is_honoured() {
        let settings = read(json!({
            "n": 3, "seed": -1, "stop": ["\n", "。"], "logit_bias": {"50256": -100, "7": 1.5},
            "temperature": 0.5, "top_p": 0.9, "top_k": 40, "min_p": 0.05, "frequency_penalty": -1,
            "presence_penalty": 2, "stream": true, "stream_options": {"include_usage": true},
        }))
        .unwrap();
        assert_eq!(settings.stop, ["\n", "。"]);
        assert_eq!(settings.logit_bias, [(50256, -100.0), (7, 1.5)]);
        assert_eq!(settings.sampling_of(2).seed, 1);
        assert_eq!(settings.sampling.frequency_penalty, -1.0);
        assert!(settings.stream.unwrap().include_usage);
        assert!(settings.is_repeatable());
    }

    #[test]
    fn what_is_out_of_range_is_refused_by_name() {
        let check = |body: Value, field: &str| {
            let error = read(body).unwrap_err();
            assert_eq!(error.field(), Some(field), "{error}");
            assert_eq!(error.status(), 400);
        };
        check(json!({"temperature": 2.5}), "temperature");
        check(json!({"n": 17}), "n");
        check(json!({"stop": [""]}), "stop");
        check(json!({"stop": [1]}), "stop");
        check(json!({"seed": 1.5}), "seed");
        check(json!({"logit_bias": {"a": 1}}), "logit_bias");
        check(json!({"logit_bias": {"1": 101}}), "logit_bias");
        check(
            json!({"stream_options": {"include_usage": true}}),
            "stream_options",
        );
        check(json!({"mirostat": 2}), "mirostat");
    }
}
