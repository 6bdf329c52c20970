//! What was measured: how it is read, and which of two is the better.

use std::collections::BTreeMap;

/// A number that is the same each time. A line `BUILD,ROW,PEER,MEASURE,NUMBER`.
#[derive(Clone, PartialEq, Debug)]
pub struct Exact {
    pub build: String,
    pub row: String,
    pub peer: String,
    pub measure: String,
    pub number: u64,
}

/// Quartiles of nanoseconds. A line `ROW,X,PEER,LOW,MEDIAN,HIGH`.
#[derive(Clone, Debug)]
pub struct Time {
    pub row: String,
    pub x: u64,
    pub peer: String,
    pub low: f64,
    pub median: f64,
    pub high: f64,
}

/// Lines `#NAME,TEXT`: what a row is, and on what machine it was measured.
pub type Texts = BTreeMap<String, String>;

pub fn texts(csv: &str) -> Texts {
    let lines = csv.lines().filter_map(|it| it.strip_prefix('#')?.split_once(','));
    lines.map(|(name, text)| (name.into(), text.into())).collect()
}

/// The fields of each line that is no text.
fn fields<const N: usize>(csv: &str) -> impl Iterator<Item = [&str; N]> {
    csv.lines().filter(|it| !it.starts_with('#')).map(|line| {
        let fields: Vec<_> = line.split(',').collect();
        fields.try_into().unwrap_or_else(|_| panic!("not {N} fields: {line}"))
    })
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("no number: {text}"))
}

pub fn exact(csv: &str) -> Vec<Exact> {
    let of = |[build, row, peer, measure, it]: [&str; 5]| Exact {
        build: build.into(),
        row: row.into(),
        peer: peer.into(),
        measure: measure.into(),
        number: number(it),
    };
    fields(csv).map(of).collect()
}

pub fn times(csv: &str) -> Vec<Time> {
    let of = |[row, x, peer, low, median, high]: [&str; 6]| Time {
        row: row.into(),
        x: number(x),
        peer: peer.into(),
        low: number(low),
        median: number(median),
        high: number(high),
    };
    fields(csv).map(of).collect()
}

/// The crate's own, or one of its ways to do it.
pub fn is_ours(peer: &str) -> bool {
    peer.starts_with("rawmap")
}

/// Whether one number is more than another. The kernel counts memory by processor, and rounds.
pub fn is_more(measure: &str, one: u64, other: u64) -> bool {
    let slack = match measure {
        "peak KiB" => 256 + other / 100 * 8,
        "faults" => 16 + other / 50,
        _ => 0,
    };
    one > other + slack
}

/// What is in brackets is shown beside the peers, and is none.
pub fn is_peer(peer: &str) -> bool {
    !peer.starts_with('(')
}

/// A place where a peer has less.
#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Loss {
    pub build: String,
    pub row: String,
    pub measure: String,
    pub ours: u64,
    pub peer: String,
    pub theirs: u64,
}

/// The places where a peer has less than the crate: than what is called `rawmap`, or else the least of its ways.
pub fn losses(all: &[Exact]) -> Vec<Loss> {
    let mut groups: BTreeMap<(&str, &str, &str), Vec<&Exact>> = BTreeMap::new();
    for it in all.iter().filter(|it| is_peer(&it.peer)) {
        groups.entry((&it.build, &it.row, &it.measure)).or_default().push(it);
    }
    let mut losses = Vec::new();
    for ((build, row, measure), group) in groups {
        let (ours, theirs): (Vec<&&Exact>, _) = group.iter().partition(|it| is_ours(&it.peer));
        let plain = ours.iter().find(|it| it.peer == "rawmap").map(|it| it.number);
        let ours = plain.or_else(|| ours.iter().map(|it| it.number).min());
        let theirs = theirs.into_iter().min_by_key(|it| it.number);
        if let (Some(ours), Some(theirs)) = (ours, theirs)
            && is_more(measure, ours, theirs.number)
        {
            losses.push(Loss {
                build: build.into(),
                row: row.into(),
                measure: measure.into(),
                ours,
                peer: theirs.peer.clone(),
                theirs: theirs.number,
            });
        }
    }
    losses
}
