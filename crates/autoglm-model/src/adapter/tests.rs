//! Adapters that do not fit, by what is wrong with them.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::*;
use crate::safetensors::tests::file;
use crate::{Checkpoint, WeightSource};

const LAYERS: &str = "base_model.model.model.layers.0";

fn config(model: &str) -> ModelConfig {
    let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/folders");
    let checkpoint = Checkpoint::open(&fixtures.join(model)).unwrap();
    let source: &dyn WeightSource = &checkpoint;
    crate::architecture::configure(source).unwrap()
}

/// Settings of a LoRA adapter with these changes.
fn settings(changes: &Value) -> Value {
    let mut settings = json!({"peft_type": "LORA", "r": 2, "lora_alpha": 4, "bias": "none"});
    for (key, value) in changes.as_object().unwrap() {
        settings[key] = value.clone();
    }
    settings
}

/// A safetensors file of f32 tensors that are filled with one number.
fn tensors(shapes: &[(&str, &[usize])], number: f32) -> Vec<u8> {
    let (mut header, mut data) = (json!({}), Vec::new());
    for (name, shape) in shapes {
        let start = data.len();
        let count: usize = shape.iter().product();
        data.extend(std::iter::repeat_n(number.to_le_bytes(), count).flatten());
        header[*name] =
            json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]});
    }
    file(&header.to_string(), &data)
}

/// The A and B of a module.
fn pair(module: &str, a: [usize; 2], b: [usize; 2], number: f32) -> Vec<u8> {
    let name = |part: &str| format!("{LAYERS}.{module}.lora_{part}.weight");
    tensors(&[(&name("A"), &a), (&name("B"), &b)], number)
}

/// What is said of an adapter for a model, with all causes.
fn complaint(model: &str, settings: &Value, tensors: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("adapter_config.json"),
        settings.to_string(),
    )
    .unwrap();
    fs::write(folder.path().join("adapter_model.safetensors"), tensors).unwrap();
    complaint_of(folder.path(), model)
}

fn complaint_of(folder: &Path, model: &str) -> String {
    let pool = Pool::new(NonZeroUsize::MIN);
    let error = Adapter::open(folder, &config(model), &pool).unwrap_err();
    let mut said = error.to_string();
    let mut error: &dyn std::error::Error = &error;
    while let Some(cause) = error.source() {
        said = format!("{said}: {cause}");
        error = cause;
    }
    said
}

fn check(model: &str, settings: &Value, tensors: &[u8], wanted: &str) {
    let said = complaint(model, settings, tensors);
    assert!(said.contains(wanted), "{said}\nwant {wanted}");
    assert!(!said.contains('\n'), "{said}");
}

#[test]
fn methods_and_settings_that_are_not_supported_are_refused_by_name() {
    let good = pair("self_attn.q_proj", [2, 48], [64, 2], 0.5);
    for (changes, wanted) in [
        (json!({"peft_type": "LOHA"}), "peft_type"),
        (
            json!({"peft_type": null}),
            "want LORA, PROMPT_TUNING, P_TUNING or PREFIX_TUNING",
        ),
        (json!({"bias": "all"}), "want none"),
        (json!({"use_dora": true}), "use_dora"),
        (json!({"fan_in_fan_out": true}), "fan_in_fan_out"),
        (json!({"lora_bias": true}), "lora_bias"),
        (json!({"modules_to_save": ["lm_head"]}), "modules_to_save"),
        (json!({"layer_replication": [[0, 1]]}), "layer_replication"),
        (json!({"init_lora_weights": "pissa"}), "init_lora_weights"),
        (json!({"init_lora_weights": 3}), "init_lora_weights"),
        (
            json!({"rank_pattern": {"^q.*": 3}}),
            "a plain name as its key",
        ),
        (
            json!({"alpha_pattern": {"q_proj": 1, "self_attn.q_proj": 2}}),
            "none ends with another",
        ),
        (json!({"r": null}), "r is missing"),
    ] {
        check("glm", &settings(&changes), &good, wanted);
    }
}

#[test]
fn tensors_that_do_not_fit_the_model_are_refused_with_both_shapes() {
    let settings = settings(&json!({}));
    for (tensors, wanted) in [
        (
            pair("self_attn.q_proj", [2, 40], [64, 2], 0.5),
            "q_proj.lora_A.weight has the shape [2, 40], want [2, 48]",
        ),
        (
            pair("self_attn.q_proj", [3, 48], [64, 3], 0.5),
            "has the shape [3, 48], want [2, 48]",
        ),
        (
            pair("self_attn.k_proj", [2, 48], [64, 2], 0.5),
            "k_proj.lora_B.weight has the shape [64, 2], want [32, 2]",
        ),
        (
            pair("mlp.gate_up_proj", [2, 48], [64, 2], 0.5),
            "want [128, 2]",
        ),
        (
            pair("mlp.gate", [2, 48], [8, 2], 0.5),
            "model.layers.0.mlp.gate",
        ),
        (
            pair("self_attn.q_proj", [2, 48], [64, 2], f32::INFINITY),
            "holds inf at 0, want finite numbers",
        ),
        (
            tensors(
                &[(
                    &format!("{LAYERS}.self_attn.q_proj.lora_A.weight"),
                    &[2, 48],
                )],
                0.5,
            ),
            "q_proj.lora_B.weight is missing",
        ),
        (
            tensors(
                &[(
                    &format!("{LAYERS}.self_attn.q_proj.lora_B.weight"),
                    &[64, 2],
                )],
                0.5,
            ),
            "q_proj.lora_A.weight is missing",
        ),
        (
            tensors(&[("base_model.model.lm_head.weight", &[96, 48])], 0.5),
            "has no place in an adapter of type LORA",
        ),
    ] {
        check("glm", &settings, &tensors, wanted);
    }
}

#[test]
fn parts_that_no_adapter_may_change_are_refused_by_name() {
    let settings = settings(&json!({}));
    let refused = "want projections of attention with key/value heads";
    for (model, module) in [
        ("glm", "input_layernorm"),
        ("glm4-moe-lite", "self_attn.q_a_proj"),
        ("glm4-moe-lite", "self_attn.o_proj"),
        ("glm4-moe", "mlp.experts.0.up_proj"),
        ("glm4-moe", "mlp.shared_experts.up_proj"),
    ] {
        let tensors = pair(module, [2, 48], [16, 2], 0.5);
        check(model, &settings, &tensors, refused);
        check(model, &settings, &tensors, module);
    }
    let behind = format!("{LAYERS}9.self_attn.q_proj").replace("0.self", "self");
    let name = |part: &str| format!("{behind}.lora_{part}.weight");
    let tensors = tensors(&[(&name("A"), &[2, 48]), (&name("B"), &[64, 2])], 0.5);
    check("glm", &settings, &tensors, refused);
}

#[test]
fn virtual_tokens_that_do_not_fit_the_model_are_refused() {
    let of = |kind: &str| json!({"peft_type": kind, "num_virtual_tokens": 3});
    let embeddings = |shape| tensors(&[("prompt_embeddings", shape)], 0.5);
    for kind in ["PROMPT_TUNING", "P_TUNING"] {
        check("glm", &of(kind), &embeddings(&[3, 40]), "want [3, 48]");
        check("glm", &of(kind), &embeddings(&[4, 48]), "want [3, 48]");
    }
    check(
        "glm",
        &of("PREFIX_TUNING"),
        &embeddings(&[3, 48]),
        "want [3, 128]",
    );
    check(
        "glm4-moe-lite",
        &of("PREFIX_TUNING"),
        &embeddings(&[3, 48]),
        "the keys and values of latent attention",
    );
    let two = tensors(&[("prompt_embeddings", &[3, 48]), ("other", &[1])], 0.5);
    check("glm", &of("P_TUNING"), &two, "tensor other has no place");
    let other = tensors(&[("embeddings", &[3, 48])], 0.5);
    check(
        "glm",
        &of("P_TUNING"),
        &other,
        "tensor embeddings has no place",
    );
    let none = json!({"peft_type": "P_TUNING", "num_virtual_tokens": 0});
    check("glm", &none, &embeddings(&[3, 48]), "num_virtual_tokens");
}

#[test]
fn a_folder_without_its_files_and_files_that_are_broken_are_refused_by_path() {
    let folder = tempfile::tempdir().unwrap();
    let said = complaint_of(folder.path(), "glm");
    assert!(said.contains("adapter_config.json"), "{said}");
    check("glm", &json!([]), &[], "adapter_config.json");
    check(
        "glm",
        &settings(&json!({})),
        b"short",
        "adapter_model.safetensors",
    );
}
