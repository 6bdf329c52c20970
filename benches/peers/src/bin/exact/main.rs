//! What is exact about the crate and its peers, as lines `BUILD,ROW,PEER,MEASURE,NUMBER`; what a row is, as `#ROW,TEXT`.
//!
//! usage: exact BUILD [ROW]
//!
//! Of a build that is called "no LTO" only code is counted: the kernel's part is the same.

mod count;
mod rows;

use object::{Object, ObjectSymbol};
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What a job is given: a page of its own, which it may unmap, a file, and what is known of the kernel.
pub struct Given {
    pub page: *mut u8,
    pub file: File,
    pub kernel: rawmap::Kernel,
}

/// Does it, calls back, and drops what it has made.
pub type Job = fn(&Given, &mut dyn FnMut());

fn main() {
    const FIXED: &str = "EXACT_WITHOUT_RANDOM_ADDRESSES";
    let mut args = std::env::args().skip(1);
    let program = "/proc/self/exe";
    if std::env::var_os(FIXED).is_none() {
        // SAFETY: changes how the next program is laid out, and nothing else.
        let set = unsafe { libc::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong) };
        assert_ne!(set, -1, "personality");
        panic!("{}", Command::new(program).args(args).env(FIXED, "").exec());
    }
    let build = args.next().expect("a build's name");
    let wanted = args.next();
    let binary = std::fs::read(program).expect("this program");
    let binary = object::File::parse(&*binary).expect("an ELF file");
    let size = |name: &str| binary.symbols().find(|it| it.name() == Ok(name)).map(|it| it.size());
    let file = peers::file(3 * peers::PAGE);
    let kernel = rawmap::Kernel::find().expect("a kernel").version(6, 18);
    let mut last = "";
    for &(row, text, measures, peer, job) in rows::JOBS {
        if wanted.as_ref().is_some_and(|wanted| wanted != row)
            || (build == "no LTO" && measures != rows::CODE)
        {
            continue;
        }
        if row != last {
            eprintln!("{row}, {build}");
            println!("#{row},{text}");
            last = row;
        }
        for &measure in measures {
            let number = match measure {
                "bytes" => size(&format!("{row}.{peer}")).expect("a symbol"),
                _ => count::count(measure, job, &file, kernel),
            };
            println!("{build},{row},{},{measure},{number}", peer.replace('_', " "));
        }
    }
}
