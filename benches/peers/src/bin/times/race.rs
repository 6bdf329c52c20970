//! How times are taken.
//!
//! By turns, in one process: what else the machine does then falls on all peers alike. Benchmark libraries measure one
//! function after the other (criterion, divan), or two at most by turns (tango-bench).

use std::time::{Duration, Instant};

/// A peer's name, and what it does once.
pub type Peer<'a> = (&'a str, &'a mut dyn FnMut());

/// How long a turn is at least, so that the clock and the call cost nothing.
const TURN: Duration = Duration::from_micros(200);
/// How long a row takes, if `ROUNDS` are not more.
const ROW: Duration = Duration::from_millis(1200);
const ROUNDS: std::ops::RangeInclusive<usize> = 7..=301;

/// Prints a line `ROW,X,PEER,LOW,MEDIAN,HIGH` for each peer: quartiles of the nanoseconds that one job takes, of
/// which a peer does `parts`.
pub fn race(row: &str, x: usize, parts: usize, peers: &mut [Peer<'_>]) {
    eprintln!("{row} {x}");
    let counts: Vec<u32> = peers.iter_mut().map(|(_, job)| count(job)).collect();
    let mut times = vec![Vec::new(); peers.len()];
    let start = Instant::now();
    for round in 0..*ROUNDS.end() {
        for turn in 0..peers.len() {
            let n = (turn + round) % peers.len();
            let start = Instant::now();
            (0..counts[n]).for_each(|_| peers[n].1());
            times[n].push(start.elapsed().as_nanos() as f64 / f64::from(counts[n]));
        }
        if round >= *ROUNDS.start() && start.elapsed() > ROW {
            break;
        }
    }
    for ((peer, _), times) in peers.iter().zip(&mut times) {
        times.sort_by(f64::total_cmp);
        let quartile = |n| times[(times.len() - 1) * n / 4] / parts as f64;
        println!("{row},{x},{peer},{:.1},{:.1},{:.1}", quartile(1), quartile(2), quartile(3));
    }
}

/// How often the job is done in a turn. What is done only once is done here.
fn count(job: &mut dyn FnMut()) -> u32 {
    job();
    let start = Instant::now();
    job();
    (TURN.as_nanos() / start.elapsed().as_nanos().max(1)).clamp(1, 100_000) as u32
}
