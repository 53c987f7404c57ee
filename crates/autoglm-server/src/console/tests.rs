use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::*;

/// The text of a file.
fn text(name: &str) -> &'static str {
    let found = FILES.iter().find(|file| file.name == name);
    found.unwrap_or_else(|| panic!("there is no {name}")).text
}

/// The words of the page by their keys.
fn words() -> Map<String, Value> {
    let (_, words) = text("strings.js").split_once("STRINGS = ").unwrap();
    serde_json::from_str(words.trim().trim_end_matches(';')).unwrap()
}

fn scripts() -> impl Iterator<Item = &'static File> {
    let is_script = |file: &&File| {
        file.media_type().starts_with("text/javascript") && file.name != "strings.js"
    };
    FILES.iter().filter(is_script)
}

#[test]
fn all_words_are_there_in_both_languages() {
    let is_chinese = |char: char| ('\u{4e00}'..='\u{9fff}').contains(&char);
    for (key, told) in words() {
        let told = told.as_array().unwrap();
        let [english, chinese] = told.as_slice() else {
            panic!("{key} has {} languages", told.len());
        };
        let (english, chinese) = (english.as_str().unwrap(), chinese.as_str().unwrap());
        assert!(!english.is_empty() && !chinese.is_empty(), "{key}");
        assert_eq!(blanks(english), blanks(chinese), "{key}");
        // What switches the language is named in the other one.
        if !key.starts_with("language.") {
            assert!(!english.chars().any(is_chinese), "{key}");
        }
    }
}

/// The names of what is filled in.
fn blanks(text: &str) -> BTreeSet<&str> {
    let parts = text.split('{').skip(1);
    parts
        .filter_map(|part| Some(part.split_once('}')?.0))
        .collect()
}

/// What stands in quotes or backticks in a script.
fn quoted(script: &str) -> Vec<&str> {
    let quotes = ['"', '`'];
    script.split(quotes).skip(1).collect()
}

#[test]
fn all_words_are_used_and_no_others() {
    let words = words();
    let said: Vec<&str> = scripts().flat_map(|file| quoted(file.text)).collect();
    for key in words.keys() {
        // Some keys are put together: `stage.${name}`.
        let is_made = |said: &&str| {
            said.split_once("${").is_some_and(|(start, rest)| {
                let end = rest.rsplit_once('}').map_or("", |(_, end)| end);
                start.ends_with('.') && key.starts_with(start) && key.ends_with(end)
            }) || (said.starts_with("${") && said.ends_with(key.rsplit('.').next().unwrap()))
        };
        assert!(
            said.iter().any(|said| said == key || is_made(said)),
            "nothing says {key}"
        );
    }
    for file in scripts() {
        for (before, key) in calls(file.text) {
            let is_of_a_longer_name = before.ends_with(|char: char| char.is_alphanumeric());
            assert!(
                is_of_a_longer_name || words.contains_key(key),
                "{} says {key}",
                file.name
            );
        }
    }
}

/// What is called with a text by a name that ends in `t` or `w`: what stands before, and the text.
fn calls(script: &str) -> Vec<(&str, &str)> {
    let found = script
        .match_indices("t(\"")
        .chain(script.match_indices("w(\""));
    let call = |(at, call): (usize, &str)| {
        let key = script[at + call.len()..].split('"').next();
        (&script[..at], key.unwrap_or_default())
    };
    found.map(call).collect()
}

#[test]
fn the_page_loads_its_own_files_only_and_all_of_them() {
    let mut loaded: BTreeSet<&str> = BTreeSet::from(["index.html"]);
    for part in text("index.html").split("console/").skip(1) {
        loaded.insert(part.split('"').next().unwrap());
    }
    for file in scripts() {
        for part in file.text.split("from \"./").skip(1) {
            loaded.insert(part.split('"').next().unwrap());
        }
    }
    let embedded: BTreeSet<&str> = FILES.iter().map(|file| file.name).collect();
    assert_eq!(loaded, embedded);
    for file in FILES.iter() {
        // The names of XML's own vocabularies are no addresses.
        let text = file.text.replace("http://www.w3.org/2000/svg", "");
        assert!(
            !text.contains("://") || file.name == "markdown.js",
            "{}",
            file.name
        );
    }
}

#[test]
fn nothing_is_put_in_as_markup() {
    for file in scripts() {
        for way in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
        ] {
            assert!(!file.text.contains(way), "{}: {way}", file.name);
        }
    }
    let page = text("index.html");
    assert!(!page.contains("style=") && !page.contains("<style") && !page.contains("onclick"));
}

#[test]
fn a_copy_that_is_still_right_is_not_sent_again() {
    let file = &FILES[0];
    let asked = |tags: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, HeaderValue::from_str(tags).unwrap());
        file.response(&headers).status()
    };
    assert_eq!(file.response(&HeaderMap::new()).status(), StatusCode::OK);
    assert_eq!(asked(&file.tag), StatusCode::NOT_MODIFIED);
    assert_eq!(
        asked(&format!("\"other\", W/{}", file.tag)),
        StatusCode::NOT_MODIFIED
    );
    assert_eq!(asked("\"other\""), StatusCode::OK);
}
