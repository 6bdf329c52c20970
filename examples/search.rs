//! Compares mapping a file with reading it: searches a large file from end to end, and looks up records at
//! random, in both ways. Prints time, calls and page faults, and says which way was better here.
//!
//! `cargo run --release --features std --example search [MiB]`: 256 MiB unless told otherwise.
//!
//! The file is in the page cache; from a disk, both ways would wait for the disk. A mapping saves the copy and
//! the calls, but costs page tables and page faults (one for each 64 KiB or more, since the kernel also maps
//! cached pages around the fault). Reading into one buffer of moderate size copies every byte, but into memory
//! that stays in the processor's cache.

use rawmap::{MapOptions, Mapping, ReadOnly};
use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

const NEEDLE: &[u8] = b"a needle in the haystack";
const BUFFER: usize = 256 << 10;
const RECORD: usize = 64;

/// What one way of doing it gave and cost.
struct Cost {
    found: u64,
    time: Duration,
    calls: usize,
    faults: i64,
}

/// The fastest of five times, since the machine may have other things to do.
fn measured(what: &str, mut work: impl FnMut() -> Result<(u64, usize), Box<dyn Error>>) -> Cost {
    let mut once = || {
        let (faults, start) = (page_faults(), Instant::now());
        let (found, calls) = work().expect(what);
        Cost { found, time: start.elapsed(), calls, faults: page_faults() - faults }
    };
    let cost = (0..5).map(|_| once()).min_by_key(|cost| cost.time).expect("five");
    let time = format!("{:.1} ms", cost.time.as_secs_f64() * 1e3);
    println!("  {what:<44} {time:>11} {:>9} {:>9}", cost.calls, cost.faults);
    cost
}

/// Page faults of this process up to now.
fn page_faults() -> i64 {
    // SAFETY: getrusage fills in the structure, which is valid as zeroes.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        (usage.ru_minflt + usage.ru_majflt) as i64
    }
}

/// How often the needle is there; the same function for both ways, as fast as libc's.
fn occurrences(mut haystack: &[u8]) -> u64 {
    let mut count = 0;
    loop {
        let (start, len) = (haystack.as_ptr(), haystack.len());
        // SAFETY: memmem reads both slices.
        let found = unsafe {
            libc::memmem(start.cast(), len, NEEDLE.as_ptr().cast(), NEEDLE.len()).cast::<u8>()
        };
        if found.is_null() {
            return count;
        }
        count += 1;
        haystack = &haystack[found.addr() - start.addr() + NEEDLE.len()..];
    }
}

/// A file of so many bytes without a name, the needle in it now and then.
fn haystack(len: usize) -> Result<(File, u64), Box<dyn Error>> {
    let path = std::env::temp_dir().join(format!("rawmap-search-{}", std::process::id()));
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    let (mut needles, mut seed) = (0, 1u32);
    let mut block = vec![0u8; 1 << 20];
    for _ in 0..len / block.len() {
        for byte in &mut block {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = b'a' + (seed >> 27) as u8 % 26;
        }
        for at in (1000..block.len() - NEEDLE.len()).step_by(300_007) {
            block[at..at + NEEDLE.len()].copy_from_slice(NEEDLE);
            needles += 1;
        }
        (&file).write_all(&block)?;
    }
    Ok((file, needles))
}

/// Reads into one buffer again and again; what may be the first part of a needle is kept.
fn by_reading(file: &File) -> Result<(u64, usize), Box<dyn Error>> {
    let (mut buffer, mut kept, mut at) = (vec![0; BUFFER], 0, 0);
    let (mut count, mut calls) = (0, 0);
    loop {
        let read = file.read_at(&mut buffer[kept..], at)?;
        calls += 1;
        if read == 0 {
            return Ok((count, calls));
        }
        at += read as u64;
        let filled = kept + read;
        count += occurrences(&buffer[..filled]);
        // No whole needle fits in it, so none is counted twice.
        kept = (NEEDLE.len() - 1).min(filled);
        buffer.copy_within(filled - kept..filled, 0);
    }
}

/// A mapping of the whole file.
fn map(file: &File) -> Result<Mapping<ReadOnly>, rawmap::Error> {
    // SAFETY: the file has no name, and only this program has it, which does not write it any more.
    unsafe { MapOptions::whole().file(file, 0) }
}

fn by_mapping(file: &File, populate: bool) -> Result<(u64, usize), Box<dyn Error>> {
    let map = map(file)?;
    if populate {
        map.populate_read(..)?;
    }
    // Three to ask for the file's length, to map it, and to unmap it.
    Ok((occurrences(&map), 3 + usize::from(populate)))
}

/// How many records are looked up in a file of so many bytes.
fn lookups(len: usize) -> usize {
    (len / 1024).min(200_000)
}

/// The records to look up.
fn places(len: usize) -> impl Iterator<Item = usize> {
    let mut seed = 7u64;
    (0..lookups(len)).map(move |_| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as usize % (len / RECORD) * RECORD
    })
}

fn sum(record: &[u8]) -> u64 {
    record.iter().map(|byte| u64::from(*byte)).sum()
}

fn verdict(what: &str, reading: &Cost, mapping: &Cost) {
    let ratio = reading.time.as_secs_f64() / mapping.time.as_secs_f64();
    match ratio {
        1.1.. => println!("  {what}: mapping was {ratio:.1} times as fast as reading"),
        ..0.9 => println!("  {what}: reading was {:.1} times as fast as mapping", 1.0 / ratio),
        _ => println!("  {what}: no difference worth the name"),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mib: usize = std::env::args().nth(1).map_or(Ok(256), |arg| arg.parse())?;
    let len = mib << 20;
    let (file, needles) = haystack(len)?;
    println!("A file of {mib} MiB with {needles} needles, in the page cache\n");

    println!("  {:<44} {:>11} {:>9} {:>9}", "from end to end", "time", "calls", "faults");
    let reading = measured("read, a buffer of 256 KiB", || by_reading(&file));
    let mapping = measured("mapped", || by_mapping(&file, false));
    // Linux 5.14; the kernel says if it has it.
    let populated = by_mapping(&file, true)
        .is_ok()
        .then(|| measured("mapped, MADV_POPULATE_READ first", || by_mapping(&file, true)));

    println!("\n  {:<44} {:>11} {:>9} {:>9}", "records at random", "time", "calls", "faults");
    let record_reading = measured("pread of 64 bytes", || {
        let (mut record, mut total) = ([0; RECORD], 0);
        for place in places(len) {
            file.read_exact_at(&mut record, place as u64)?;
            total += sum(&record);
        }
        Ok((total, lookups(len)))
    });
    let look_up =
        |file: &[u8]| -> u64 { places(len).map(|place| sum(&file[place..place + RECORD])).sum() };
    let record_mapping = measured("mapped for it", || Ok((look_up(&map(&file)?), 3)));
    let kept = map(&file)?;
    let record_again = measured("mapped before", || Ok((look_up(&kept), 0)));

    println!();
    verdict("once through", &reading, &mapping);
    if let Some(populated) = &populated {
        verdict("once through, populated", &reading, populated);
    }
    verdict("random records, new mapping", &record_reading, &record_mapping);
    verdict("random records, mapping kept", &record_reading, &record_again);
    println!(
        "
Map: what is looked at again, at random, in small pieces, or by many processes at once; what other
code wants as one slice. Read: what is gone through once; small files; files that another may truncate,
or whose errors must come as values: a mapping answers both with SIGBUS."
    );

    for cost in [Some(&reading), Some(&mapping), populated.as_ref()].into_iter().flatten() {
        assert_eq!(cost.found, needles, "needles found");
    }
    assert_eq!(record_reading.found, record_mapping.found);
    assert_eq!(record_reading.found, record_again.found);
    Ok(())
}
