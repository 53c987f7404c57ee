//! `autoglm embed` on a tiny model, and on the default where it was fetched.

mod support;

use serde_json::Value;

use support::{Desk, default_model, fixture, rows, text};

#[test]
fn texts_of_the_command_line_become_vectors() {
    let bert = fixture("folders/bert");
    let found = rows(&Desk::new().ok(&[
        "embed",
        "the dog",
        "a very ".repeat(30).as_str(),
        "--model",
        &bert,
    ]));
    assert_eq!(found.len(), 2);
    assert_eq!(found[0]["text"], "the dog");
    assert_eq!(found[0]["vector"].as_array().unwrap().len(), 48);
    assert!(found[0].get("cut_tokens").is_none() && found[0].get("line").is_none());
    assert_eq!(found[1]["tokens"], 24);
    assert!(found[1]["cut_tokens"].as_u64().unwrap() > 30);
}

#[test]
fn records_become_vectors_in_order_and_a_bad_one_is_named_by_its_line() {
    let desk = Desk::new();
    let bert = fixture("folders/bert");
    let texts: Vec<String> = (0..600).map(|n| format!("dog {n}")).collect();
    let line = |text: &String| format!("{{\"body\": \"{text}\"}}\n");
    let mut lines: Vec<String> = texts.iter().map(line).collect();
    lines[300] = "{\"body\": torn\n".to_owned();
    lines[400] = "{\"title\": \"dog\"}\n".to_owned();
    desk.write("in.jsonl", lines.concat());
    let args = [
        "embed", "--input", "in.jsonl", "--field", "body", "--model", &bert, "--json",
    ];
    let output = desk.run(&args);
    assert!(output.status.success());
    let found = rows(&text(&output.stdout));
    assert_eq!(found.len(), 600);
    for (n, row) in found.iter().enumerate() {
        assert_eq!(row["line"], n + 1);
        match n {
            300 => assert!(row["error"].as_str().unwrap().contains("not JSON")),
            400 => assert!(row["error"].as_str().unwrap().contains("no field \"body\"")),
            _ => assert_eq!(row["text"], texts[n]),
        }
    }
    let report: Value = serde_json::from_str(text(&output.stderr).lines().last().unwrap()).unwrap();
    assert_eq!(
        (&report["texts"], &report["errors"]),
        (&600.into(), &2.into())
    );
    assert_eq!(report["space"]["name"], "bert");
    assert_eq!(report["space"]["similarity"], "cosine");
    // The same text alone.
    let alone = rows(&desk.ok(&["embed", "dog 555", "--model", &bert]));
    assert_eq!(alone[0]["vector"], found[555]["vector"]);
}

#[test]
fn the_text_itself_is_the_nearest_to_a_text() {
    let desk = Desk::new();
    let bert = fixture("folders/bert");
    desk.write(
        "in.txt",
        "the quick dog\nlazy dog\nthe brown fox\n你好，世界\n",
    );
    let ask = |more: &[&str]| {
        let args = [
            "embed",
            "-i",
            "in.txt",
            "-m",
            &bert,
            "--similar",
            "lazy dog",
            "--top",
            "2",
        ];
        desk.ok(&[&args, more].concat())
    };
    let table = ask(&[]);
    assert_eq!(table.lines().count(), 2);
    assert_eq!(table.lines().next(), Some(" 1.0000  lazy dog"));
    let found = rows(&ask(&["--json"]));
    assert_eq!(
        (&found[0]["line"], &found[0]["text"]),
        (&2.into(), &"lazy dog".into())
    );
    assert!(found[1]["similarity"].as_f64().unwrap() < 1.0);
}

#[test]
fn any_model_gives_its_own_hidden_states() {
    let llama = fixture("tiny-llama.gguf");
    let desk = Desk::new();
    let vector = |pooling: &str| {
        let args = ["embed", "some text", "-m", &llama, "--pooling", pooling];
        rows(&desk.ok(&args)).remove(0)["vector"].clone()
    };
    assert_ne!(vector("mean"), vector("last"));
    assert_eq!(vector("mean").as_array().unwrap().len(), 32);
}

#[test]
fn other_commands_say_that_a_model_of_embeddings_does_not_write() {
    let (code, said) = Desk::new().fails(&["generate", "-p", "a", "-m", &fixture("folders/bert")]);
    assert_eq!(code, 2);
    assert!(
        said.contains("makes embeddings of texts and cannot write any"),
        "{said}"
    );
}

#[test]
fn a_quantised_model_embeds_as_the_one_that_it_was_made_of() {
    let desk = Desk::new();
    let bert = fixture("folders/bert");
    desk.ok(&["model", "quantize", &bert, "bert.gguf", "--type", "f16"]);
    let vector = |model: &str| -> Vec<f64> {
        let row = rows(&desk.ok(&["embed", "the Lazy dog 好", "-m", model])).remove(0);
        assert_eq!(row["tokens"], 6);
        serde_json::from_value(row["vector"].clone()).unwrap()
    };
    let pairs = vector(&bert).into_iter().zip(vector("bert.gguf"));
    let cosine: f64 = pairs.map(|(a, b)| a * b).sum();
    assert!(cosine > 0.9999, "{cosine}");
}

#[test]
fn the_default_model_finds_what_means_the_same() {
    let Some(model) = default_model("all-minilm-l6-v2") else {
        return;
    };
    let desk = Desk::new();
    let texts = [
        "The package never arrived.",
        "How do I bake bread?",
        "My order is still missing after two weeks.",
        "The battery lasts two days.",
    ];
    desk.write("in.txt", texts.join("\n"));
    let args = [
        "embed",
        "-i",
        "in.txt",
        "-m",
        &model,
        "-s",
        "Where is my delivery?",
        "--json",
    ];
    let found = rows(&desk.ok(&args));
    let nearest: Vec<&Value> = found[..2].iter().map(|row| &row["line"]).collect();
    assert!(
        nearest.contains(&&1.into()) && nearest.contains(&&3.into()),
        "{found:?}"
    );
    let info = desk.json(&["model", "info", &model, "--json"]);
    assert_eq!(info["architecture"], "bert");
}
