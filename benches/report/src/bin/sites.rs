//! Bytes and instructions of call sites, from their machine code: lines `ARCH,call CALL,PEER,MEASURE,NUMBER`.
//!
//! usage: sites LIBRARY
//!
//! *bytes* are those of the function `CALL.PEER` of the static library; *instructions* those of it and of the functions
//! of the library that it calls, each counted once: there is no loop in them. What libc does when it is called is not in
//! the library, and not counted: it is in brackets, and no peer.

use object::read::archive::ArchiveFile;
use object::{
    Architecture, File, Object, ObjectSection, ObjectSymbol, RelocationTarget, SymbolKind,
};
use std::collections::HashMap;

type Function<'a> = (&'a [u8], Vec<&'a str>, Architecture);

/// How many instructions there are.
fn count(code: &[u8], architecture: Architecture) -> usize {
    match architecture {
        Architecture::Aarch64 => code.len() / 4,
        // Bits 0 and 1 say whether it has 2 bytes or 4 (the manual, "Base Instruction-Length Encoding").
        Architecture::Riscv64 => {
            let (mut at, mut count) = (0, 0);
            while at < code.len() {
                at += if code[at] & 3 == 3 { 4 } else { 2 };
                count += 1;
            }
            count
        }
        Architecture::X86_64 => iced_x86::Decoder::new(64, code, 0).iter().count(),
        other => panic!("{other:?}"),
    }
}

/// The functions of an object, and the names of those that each calls.
fn functions<'a>(file: &File<'a>, all: &mut HashMap<&'a str, Function<'a>>) {
    let functions = || file.symbols().filter(|it| it.kind() == SymbolKind::Text && it.size() > 0);
    // A relocation names the function or its section, which has one function; or one of another object.
    let called = |it: object::Relocation| {
        let RelocationTarget::Symbol(index) = it.target() else { return None };
        let target = file.symbol_by_index(index).ok()?;
        match target.section_index() {
            Some(section) => {
                functions().find(|it| it.section_index() == Some(section))?.name().ok()
            }
            None => target.name().ok(),
        }
    };
    for symbol in functions() {
        let section = file.section_by_index(symbol.section_index().unwrap()).unwrap();
        let range = symbol.address()..symbol.address() + symbol.size();
        let inside = section.relocations().filter(|it| range.contains(&it.0));
        let calls = inside.filter_map(|it| called(it.1)).collect();
        let code = section.data_range(range.start, symbol.size()).unwrap().unwrap();
        all.insert(symbol.name().unwrap(), (code, calls, file.architecture()));
    }
}

fn main() {
    let path = std::env::args().nth(1).expect("a library");
    let library = std::fs::read(path).expect("a library");
    let archive = ArchiveFile::parse(&*library).expect("an archive");
    let mut all = HashMap::new();
    for member in archive.members() {
        if let Ok(file) = File::parse(member.unwrap().data(&*library).unwrap()) {
            functions(&file, &mut all);
        }
    }
    let mut found: Vec<(&str, &str)> = all.keys().filter_map(|name| name.split_once('.')).collect();
    found.retain(|(_, peer)| ["rawmap", "rustix", "syscalls", "libc"].contains(peer));
    found.sort_unstable_by_key(|(call, peer)| (*call, *peer == "libc", *peer));
    assert!(!found.is_empty(), "no call site");
    for (call, peer) in found {
        let (code, calls, architecture) = &all[&*format!("{call}.{peer}")];
        let inner = calls.iter().filter_map(|it| all.get(it));
        let instructions: usize =
            count(code, *architecture) + inner.map(|it| count(it.0, it.2)).sum::<usize>();
        let build = format!("{architecture:?}").to_lowercase();
        let peer = if *peer == *"libc" { "(libc)" } else { peer };
        println!("{build},call {call},{peer},instructions,{instructions}");
        println!("{build},call {call},{peer},bytes,{}", code.len());
    }
}
