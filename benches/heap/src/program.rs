//! What programs do, with text that is the same each time.

use crate::{Map, Random};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::hint::black_box;

/// A word, of which the first ones are the most frequent.
fn word(random: &mut Random) -> String {
    let rank = random.below(20_000).min(random.below(20_000));
    let syllables = ["ka", "to", "mi", "ren", "sul", "o", "pa", "vek", "lin", "du"];
    rank.to_string().bytes().map(|digit| syllables[usize::from(digit - b'0')]).collect()
}

/// Lines of 10 words.
fn text(bytes: usize) -> String {
    let mut random = Random(11);
    let mut text = String::new();
    while text.len() < bytes {
        for _ in 0..10 {
            text.push_str(&word(&mut random));
            text.push(' ');
        }
        text.push('\n');
    }
    text
}

pub(crate) fn index() {
    let text = text(40 << 20);
    let mut found: Map<String, Vec<u32>> = Map::default();
    for (number, line) in text.lines().enumerate() {
        for word in line.split_whitespace() {
            found.entry(word.to_owned()).or_default().push(number as u32);
        }
    }
    let sorted: BTreeMap<String, Vec<u32>> = found.into_iter().collect();
    assert!(black_box(&sorted).len() > 10_000);
}

pub(crate) fn json() {
    let mut random = Random(13);
    let mut documents = Vec::new();
    let mut bytes = 0;
    while bytes < 20 << 20 {
        let names: Vec<String> = (0..8).map(|_| word(&mut random)).collect();
        let document = json!({
            "id": random.below(1 << 30),
            "names": names,
            "place": { "x": random.below(1000), "y": 0.5 + random.below(1000) as f64 },
            "next": null,
        });
        let text = document.to_string();
        bytes += text.len();
        documents.push(text);
    }
    let all = format!("[{}]", documents.join(","));
    let values: Value = serde_json::from_str(&all).expect("JSON");
    assert_eq!(serde_json::to_string(&values).expect("JSON").len(), all.len());
}
