//! Figures as tables in Markdown. What is least in its row is bold.

use crate::figures::{Exact, Texts, Time, is_more, is_ours, is_peer};
use std::fmt::Write;

/// The different ones, in their order.
fn distinct<'a, T: PartialEq>(all: impl Iterator<Item = T> + 'a) -> Vec<T> {
    all.fold(Vec::new(), |mut found, it| {
        if !found.contains(&it) {
            found.push(it);
        }
        found
    })
}

/// 1234567 as 1,234,567.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub fn bytes(count: u64) -> String {
    let unit = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = unit.into_iter().find(|(log2, _)| count >> log2 > 0);
    unit.map_or(format!("{count} B"), |(log2, unit)| format!("{} {unit}", count >> log2))
}

pub fn duration(nanoseconds: f64) -> String {
    match nanoseconds {
        it if it < 1e4 => format!("{it:.0} ns"),
        it if it < 1e7 => format!("{:.1} µs", it / 1e3),
        it => format!("{:.1} ms", it / 1e6),
    }
}

fn bold(text: String, is_least: bool) -> String {
    if is_least { format!("**{text}**") } else { text }
}

/// A line for each peer of each row, a column for each measure of each build, and in how many it has the least.
pub fn exact(all: &[Exact], texts: &Texts) -> String {
    let builds = distinct(all.iter().map(|it| &*it.build));
    let columns = distinct(all.iter().map(|it| (&*it.build, &*it.measure)));
    let title = |(build, measure): &(&str, &str)| match builds.len() {
        1 => format!(" {measure} |"),
        _ => format!(" {build}: {measure} |"),
    };
    let mut text = String::new();
    for row in distinct(all.iter().map(|it| &*it.row)) {
        text += &texts.get(row).map_or(String::new(), |it| format!("- `{row}`: {it}\n"));
    }
    let titles: String = columns.iter().map(title).collect();
    write!(
        text,
        "\n| row | peer |{titles} least in |\n|---|---|{}\n",
        "--:|".repeat(columns.len() + 1)
    )
    .unwrap();
    for row in distinct(all.iter().map(|it| &*it.row)) {
        let mine: Vec<&Exact> = all.iter().filter(|it| it.row == row).collect();
        let peers = distinct(mine.iter().map(|it| &*it.peer));
        let row_peers = peers.len();
        for peer in &peers {
            let (mut cells, mut least, mut of) = (String::new(), 0, 0);
            for (build, measure) in &columns {
                let column =
                    mine.iter().filter(|it| (&*it.build, &*it.measure) == (*build, *measure));
                let Some(number) = column.clone().find(|it| it.peer == *peer).map(|it| it.number)
                else {
                    cells += " |";
                    continue;
                };
                let mut peers = column.clone().filter(|it| is_peer(&it.peer));
                let is_least =
                    is_peer(peer) && !peers.any(|it| is_more(measure, number, it.number));
                (least, of) = (least + usize::from(is_least), of + 1);
                write!(cells, " {} |", bold(grouped(number), is_least && row_peers > 1)).unwrap();
            }
            let least = if least == of { "all".into() } else { format!("{least} of {of}") };
            let least = if row_peers > 1 && is_peer(peer) { least } else { String::new() };
            writeln!(text, "| {row} | {} |{cells} {least} |", bold((*peer).into(), is_ours(peer)))
                .unwrap();
        }
    }
    text
}

/// A line for each peer of each row and size. Who is within the quartiles of the fastest is as fast.
pub fn times(all: &[Time], texts: &Texts) -> String {
    const SIZES: [&str; 5] = [
        "first_touch_time",
        "page_alloc_reuse_time",
        "page_alloc_aligned_time",
        "read_file",
        "publish_code",
    ];
    let mut text = String::new();
    for row in distinct(all.iter().map(|it| &*it.row)) {
        let what = texts.get(row).map_or("", String::as_str);
        write!(
            text,
            "\n### {row}\n\n{what}.\n\n| | peer | median | quartiles | to the best peer | fastest |\n|--:|---|--:|--:|--:|---|\n"
        )
        .unwrap();
        for x in distinct(all.iter().filter(|it| it.row == row).map(|it| it.x)) {
            let mine: Vec<&Time> =
                all.iter().filter(|it| it.row == row && it.x == x && is_peer(&it.peer)).collect();
            let Some(best) = mine.iter().min_by(|a, b| a.median.total_cmp(&b.median)) else {
                continue;
            };
            let theirs = mine.iter().filter(|it| !is_ours(&it.peer)).map(|it| it.median);
            let theirs = theirs.fold(f64::INFINITY, f64::min);
            for it in all.iter().filter(|it| it.row == row && it.x == x) {
                let shown = match x {
                    0 => String::new(),
                    _ if SIZES.contains(&row) || row == "reservation" => bytes(x),
                    _ => grouped(x),
                };
                let is_best = it.median == best.median;
                let fastest = match () {
                    () if !is_peer(&it.peer) => "",
                    () if is_best => "yes",
                    () if it.low <= best.high => "as fast",
                    () => "",
                };
                writeln!(
                    text,
                    "| {shown} | {} | {} | {} to {} | {:.2} | {fastest} |",
                    bold(it.peer.clone(), is_ours(&it.peer)),
                    bold(duration(it.median), is_best),
                    duration(it.low),
                    duration(it.high),
                    it.median / theirs,
                )
                .unwrap();
            }
        }
    }
    text
}

/// Processor time of each allocator, as parts of glibc's.
pub fn allocators(all: &[Time], texts: &Texts) -> String {
    let peers = distinct(all.iter().map(|it| &*it.peer));
    let mut text = String::new();
    for row in distinct(all.iter().map(|it| &*it.row)) {
        text += &texts.get(row).map_or(String::new(), |it| format!("- `{row}`: {it}\n"));
    }
    write!(text, "\n| | {} |\n|---|{}\n", peers.join(" | "), "--:|".repeat(peers.len())).unwrap();
    for row in distinct(all.iter().map(|it| &*it.row)) {
        let of = |peer: &str| all.iter().find(|it| it.row == row && it.peer == peer);
        let Some(base) = of("glibc").map(|it| it.median) else { continue };
        let mine = all.iter().filter(|it| it.row == row).map(|it| it.median);
        let least = mine.fold(f64::INFINITY, f64::min);
        write!(text, "| {row} |").unwrap();
        for peer in &peers {
            let cell = of(peer).map_or(String::new(), |it| {
                let median = bold(format!("{:.2}", it.median / base), it.median == least);
                format!("{median} ({:.2} to {:.2})", it.low / base, it.high / base)
            });
            write!(text, " {cell} |").unwrap();
        }
        text.push('\n');
    }
    text
}
