//! Tests of folders: what is taken for what, and what is refused in which words.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::Checkpoint;
use crate::safetensors::tests::file;
use crate::source::WeightSource;

/// A folder with these settings and f32 tensors of these shapes, each number its place.
fn folder(settings: &Value, tensors: &[(&str, &[usize])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.json"), settings.to_string()).unwrap();
    fs::write(folder.path().join("model.safetensors"), weights(tensors)).unwrap();
    folder
}

fn weights(tensors: &[(&str, &[usize])]) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, shape) in tensors {
        let start = data.len();
        for i in 0..shape.iter().product() {
            data.extend((i as f32).to_le_bytes());
        }
        let entry = json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]});
        header.insert((*name).to_owned(), entry);
    }
    file(&Value::from(header).to_string(), &data)
}

fn llama() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"], "hidden_size": 8, "num_attention_heads": 2,
        "num_hidden_layers": 12, "intermediate_size": 6, "max_position_embeddings": 64,
        "rms_norm_eps": 1e-5, "tie_word_embeddings": true,
    })
}

fn with(mut settings: Value, key: &str, value: Value) -> Value {
    settings[key] = value;
    settings
}

/// The innermost message with which a folder is refused.
fn refusal(folder: &Path) -> String {
    let error = Checkpoint::open(folder).unwrap_err();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

fn refused(settings: &Value) -> String {
    refusal(folder(settings, &[]).path())
}

fn numbers(source: &Checkpoint, name: &str) -> Vec<f32> {
    let tensor = source.tensor(name).unwrap();
    let number = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    tensor.bytes.chunks_exact(4).map(number).collect()
}

#[test]
fn settings_become_the_metadata_of_a_gguf_file() {
    let folder = folder(&with(llama(), "rope_theta", json!(500_000)), &[]);
    let opened = Checkpoint::open(folder.path()).unwrap();
    let source: &dyn WeightSource = &opened;
    assert_eq!(source.architecture().unwrap(), "llama");
    let number = |key: &str| source.require::<usize>(key).unwrap();
    assert_eq!(number("llama.block_count"), 12);
    assert_eq!(number("llama.attention.head_count_kv"), 2);
    assert_eq!(number("llama.attention.key_length"), 4);
    assert_eq!(number("llama.rope.dimension_count"), 4);
    assert_eq!(
        source.require::<f32>("llama.rope.freq_base").unwrap(),
        500_000.0
    );
    assert_eq!(source.container(), "safetensors");
}

#[test]
fn the_rows_of_llamas_heads_are_put_side_by_side() {
    let folder = folder(
        &llama(),
        &[
            ("model.layers.11.self_attn.q_proj.weight", &[8, 1]),
            ("model.layers.11.self_attn.k_proj.bias", &[8]),
            ("model.layers.11.self_attn.v_proj.weight", &[4, 2]),
        ],
    );
    let source = Checkpoint::open(folder.path()).unwrap();
    let turned = [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0];
    assert_eq!(numbers(&source, "blk.11.attn_q.weight"), turned);
    assert_eq!(numbers(&source, "blk.11.attn_k.bias"), turned);
    let kept = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
    assert_eq!(numbers(&source, "blk.11.attn_v.weight"), kept);
    let info = source.tensor_info("blk.11.attn_v.weight").unwrap();
    assert_eq!((info.shape, info.size_bytes()), (&[4, 2][..], 32));
}

#[test]
fn the_norms_of_gemma_gain_a_one() {
    let settings = json!({
        "architectures": ["Gemma3ForCausalLM"], "hidden_size": 2, "num_attention_heads": 1,
        "num_hidden_layers": 2, "intermediate_size": 6, "max_position_embeddings": 64,
        "rms_norm_eps": 1e-6, "sliding_window": 4, "query_pre_attn_scalar": 16, "head_dim": 16,
        "rope_local_base_freq": 100, "rope_theta": 200,
    });
    let names: [(&str, &[usize]); 2] = [
        ("model.layers.0.self_attn.q_norm.weight", &[3]),
        ("model.norm.weight", &[2]),
    ];
    let folder = folder(&settings, &names);
    let source = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(
        numbers(&source, "blk.0.attn_q_norm.weight"),
        [1.0, 2.0, 3.0]
    );
    assert_eq!(numbers(&source, "output_norm.weight"), [1.0, 2.0]);
    let source: &dyn WeightSource = &source;
    assert_eq!(
        source.require::<f32>("gemma3.rope.freq_base_swa").unwrap(),
        100.0
    );
    assert_eq!(
        source.require::<f32>("gemma3.attention.scale").unwrap(),
        0.25
    );
}

#[test]
fn a_tied_head_is_the_embedding_even_where_a_head_is_stored() {
    let head: [(&str, &[usize]); 1] = [("lm_head.weight", &[3, 8])];
    let tied = folder(&llama(), &head);
    let tied = Checkpoint::open(tied.path()).unwrap();
    assert!(tied.tensor_info("output.weight").is_none());
    let apart = with(llama(), "tie_word_embeddings", json!(false));
    let opened = Checkpoint::open(folder(&apart, &head).path()).unwrap();
    assert!(opened.tensor_info("output.weight").is_some());
    assert_eq!(refused(&apart), "tensor output.weight is missing");
}

#[test]
fn a_tensor_without_a_place_in_the_class_is_refused() {
    for name in [
        "model.layers.01.self_attn.q_proj.weight",
        "model.layers..self_attn.q_proj.weight",
        "model.layers.+1.self_attn.q_proj.weight",
        "model.layers.0.self_attn.q_norm.weight",
        "model.layers.0.input_layernorm.bias",
        "model.layers.0.self_attn.q_proj.lora_A",
        "lm_head.bias",
    ] {
        assert_eq!(
            refusal(folder(&llama(), &[(name, &[8])]).path()),
            format!("tensor {name} has no place in the class LlamaForCausalLM")
        );
    }
}

#[test]
fn what_is_not_supported_is_refused_by_its_setting() {
    let refused = |key: &str, value: Value| refused(&with(llama(), key, value));
    assert_eq!(
        refused("hidden_act", json!("gelu")),
        "metadata key hidden_act: got \"gelu\", want silu"
    );
    assert_eq!(
        refused("rope_scaling", json!({"type": "dynamic", "factor": 2.0})),
        "metadata key rope_scaling.type: got \"dynamic\", want default, linear, llama3 or yarn"
    );
    assert_eq!(
        refused("partial_rotary_factor", json!(0.5)),
        "metadata key partial_rotary_factor: got 0.5, want 1"
    );
    assert_eq!(
        refused("rms_norm_eps", json!(null)),
        "metadata key rms_norm_eps is missing"
    );
    assert_eq!(
        refused("hidden_size", json!(-8)),
        "metadata key hidden_size: got -8, want a whole number that is not negative"
    );
    assert!(
        refused("architectures", json!(["T5Model"]))
            .starts_with("the model class T5Model is not supported, want one of BertModel, ")
    );
    assert_eq!(
        refused("architectures", json!([])),
        "metadata key architectures: got [], want a list with one class"
    );
}

#[test]
fn a_folder_without_weights_or_with_broken_settings_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.json");
    assert!(refusal(folder.path()).contains("os error"));
    fs::write(&config, "{").unwrap();
    assert!(refusal(folder.path()).starts_with("the configuration is not as it must be: EOF"));
    fs::write(&config, llama().to_string()).unwrap();
    assert_eq!(
        refusal(folder.path()),
        "the folder has neither model.safetensors nor model.safetensors.index.json"
    );
}

/// A folder whose index says where two tensors lie; both lie in `a.safetensors`.
fn indexed(first: &str, second: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("config.json"), llama().to_string()).unwrap();
    let tensors: [(&str, &[usize]); 2] = [
        ("model.norm.weight", &[8]),
        ("model.layers.0.input_layernorm.weight", &[8]),
    ];
    fs::write(path("a.safetensors"), weights(&tensors)).unwrap();
    fs::write(path("b.safetensors"), weights(&tensors[..1])).unwrap();
    fs::write(path("empty.safetensors"), weights(&[])).unwrap();
    let index = json!({"weight_map": {tensors[0].0: first, tensors[1].0: second}});
    fs::write(path("model.safetensors.index.json"), index.to_string()).unwrap();
    folder
}

#[test]
fn shards_hold_what_their_index_says_and_nothing_else() {
    let good = indexed("a.safetensors", "a.safetensors");
    let source = Checkpoint::open(good.path()).unwrap();
    assert!(source.tensor("blk.0.attn_norm.weight").is_some());
    assert_eq!(
        refusal(indexed("b.safetensors", "a.safetensors").path()),
        "tensor model.norm.weight: the index says that it lies in b.safetensors, \
         the files say a.safetensors"
    );
    assert_eq!(
        refusal(indexed("empty.safetensors", "empty.safetensors").path()),
        "tensor model.layers.0.input_layernorm.weight: the index says that it lies in \
         empty.safetensors, the files say nowhere"
    );
}

#[test]
fn a_shard_does_not_leave_the_folder() {
    for name in [
        "../a.safetensors",
        "/etc/a.safetensors",
        "sub/a.safetensors",
        "..\\a.safetensors",
        ".a.safetensors",
        "a.bin",
        "",
    ] {
        let message = refusal(indexed("a.safetensors", name).path());
        assert!(
            message.ends_with("want a .safetensors file of the folder"),
            "{message}"
        );
    }
}

/// The fixtures' settings with anything for any of them: an error or a folder, never a panic.
#[test]
fn other_values_in_the_settings_never_panic() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/folders");
    for name in ["chatglm", "gemma3", "glm4", "llama-3", "qwen2"] {
        let text = fs::read_to_string(fixtures.join(name).join("config.json")).unwrap();
        let settings: Value = serde_json::from_str(&text).unwrap();
        for key in settings.as_object().unwrap().keys() {
            for value in [
                json!(null),
                json!(0),
                json!(-1),
                json!(u64::MAX),
                json!(1e300),
                json!(""),
                json!([]),
                json!({}),
                json!({"rope_type": "llama3"}),
                json!([null]),
            ] {
                let folder = folder(&with(settings.clone(), key, value), &[]);
                if let Ok(source) = Checkpoint::open(folder.path()) {
                    drop(crate::architecture::configure(&source));
                }
            }
        }
    }
}
