//! How long the crate and its peers take for the same: lines `ROW,X,PEER,LOW,MEDIAN,HIGH`, in nanoseconds.
//!
//! usage: times [ROW]
//!
//! X is the size or number that the row is about, and 0 where there is none. What this machine can't do is a line
//! `skipped: ROW X: WHY` on standard error.

mod growth;
mod race;
mod rows;

fn main() {
    let wanted = std::env::args().nth(1);
    for (row, text, run) in rows::ROWS.into_iter().chain(growth::ROWS) {
        if wanted.as_ref().is_none_or(|wanted| wanted == row) {
            println!("#{row},{text}");
            run(row);
        }
    }
}
