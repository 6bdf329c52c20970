//! Flags as values: what their operators do to bits and to fields; and as words: what is printed is
//! parsed, names are iterated, and each constant is found by its C name.

use rawmap::{
    Advice, MapFlags, MlockAllFlags, MlockFlags, MremapFlags, MsealFlags, MsyncFlags, Prot,
};
use static_assertions::{assert_impl_all, const_assert, const_assert_eq};

mod common;
#[path = "differential/source.rs"]
mod source;
use common::emulator;
use source::{Seeded, Source};

assert_impl_all!(rawmap::ParseFlagsError: Send, Sync, Copy, core::error::Error);

/// The two fields of MapFlags.
const FIELDS: [usize; 2] = [0xf, 0x3f << 26];

/// Integers that flags may hold: each of two bits, each value of each field alone and with
/// MAP_HUGETLB, and so many others.
fn integers(others: usize) -> Vec<usize> {
    let pairs = (0..64).flat_map(|a| (0..64).map(move |b| 1 << a | 1 << b));
    let sharings = 0..=0xf;
    let sizes = (0..=0x3f).flat_map(|log2| [0, 0x4_0000].map(|flag| log2 << 26 | flag | 2));
    let mut source = Seeded(1);
    let few = |source: &mut Seeded| source.next() & source.next() & source.next();
    let others = (0..others).map(|n| if n % 2 == 0 { source.next() } else { few(&mut source) });
    [0, usize::MAX]
        .into_iter()
        .chain(pairs)
        .chain(sharings)
        .chain(sizes)
        .chain(others.map(|n| n as usize))
        // An emulator is slow, and flags are numbers to it as well.
        .step_by(if emulator().is_some() { 16 } else { 1 })
        .collect()
}

/// Expands to a test that what is printed of a type's values is parsed to the same value, and that
/// the names that iterate are part of it, once each.
macro_rules! round_trip {
    ($($test:ident: $type:ident($int:ty))*) => {$(
        #[test]
        fn $test() {
            for bits in integers(3_000) {
                let flags = $type::from_bits(bits as $int);
                let text = flags.to_string();
                assert_eq!(format!("{flags:?}"), text);
                assert_eq!(text.parse(), Ok(flags), "{text}");
                let mut rest = flags;
                for (name, flag) in flags.iter_names() {
                    assert_eq!(name.parse(), Ok(flag), "{name}");
                    assert!(flags.contains(flag) && rest.contains(flag), "{name} in {text}");
                    rest -= flag;
                }
                assert_eq!(rest.iter_names().next(), None, "{text}");
                let none = $type::default();
                let named = flags.iter_names().fold(none, |all, (_, flag)| all | flag);
                assert_eq!(named | rest, flags, "{text}");
            }
        }
    )*};
}

round_trip! {
    prot_is_parsed_as_printed: Prot(usize)
    map_flags_are_parsed_as_printed: MapFlags(usize)
    mremap_flags_are_parsed_as_printed: MremapFlags(usize)
    mseal_flags_are_parsed_as_printed: MsealFlags(usize)
    msync_flags_are_parsed_as_printed: MsyncFlags(i32)
    mlock_flags_are_parsed_as_printed: MlockFlags(i32)
    mlockall_flags_are_parsed_as_printed: MlockAllFlags(i32)
}

#[test]
fn advice_is_parsed_as_printed() {
    for bits in (-70_000..70_000).chain([i32::MIN, i32::MAX]) {
        let advice = Advice::from_bits(bits);
        assert_eq!(advice.to_string().parse(), Ok(advice), "{advice}");
        assert_eq!(format!("{advice:?}"), advice.to_string());
    }
}

#[test]
fn flags_are_open_and_print_unknown_bits_in_hex() {
    assert_eq!(format!("{:?}", Prot::from_bits(0x8003)), "PROT_READ|PROT_WRITE|0x8000");
    assert_eq!(format!("{:?}", Prot::from_bits(1 << 63)), "0x8000000000000000");
    assert_eq!(format!("{:?}", MapFlags::from_bits(0x5)), "0x5");
    assert_eq!(format!("{:?}", MapFlags::from_bits(1 << 40 | 2)), "MAP_PRIVATE|0x10000000000");
    assert_eq!(format!("{:?}", MapFlags::from_bits(0x25)), "0x5|MAP_ANONYMOUS");
    // One bit, two meanings.
    assert_eq!(format!("{:?}", MapFlags::UNINITIALIZED), "MAP_UNINITIALIZED");
    assert_eq!(format!("{:?}", MapFlags::huge(1)), "MAP_HUGETLB|1<<MAP_HUGE_SHIFT");
    assert_eq!(format!("{:?}", MsyncFlags::from_bits(i32::MIN)), "0x80000000");
    assert_eq!(format!("{:?}", MsyncFlags::default()), "0");
    assert_eq!(format!("{:?}", Advice::from_bits(-1)), "0xffffffff");
    assert_eq!(Prot::from_bits(usize::MAX).bits(), usize::MAX);
}

#[test]
fn the_order_of_words_and_their_repetition_do_not_matter() {
    assert_eq!("PROT_WRITE|PROT_READ|PROT_WRITE".parse(), Ok(Prot::READ | Prot::WRITE));
    assert_eq!("PROT_NONE|PROT_EXEC|0".parse(), Ok(Prot::EXEC));
    assert_eq!(
        "MAP_HUGE_2MB|MAP_HUGETLB|MAP_FILE|21<<MAP_HUGE_SHIFT".parse(),
        Ok(MapFlags::huge(21))
    );
}

#[test]
fn what_cannot_be_parsed_is_named() {
    for (text, word) in [
        ("", ""),
        ("PROT_READ|", ""),
        ("PROT_READ |PROT_EXEC", "PROT_READ "),
        ("PROT_READ,PROT_EXEC", "PROT_READ,PROT_EXEC"),
        ("prot_read", "prot_read"),
        ("READ", "READ"),
        ("MAP_SHARED", "MAP_SHARED"),
        ("PROT_READ|1", "1"),
        ("PROT_READ|0x", "0x"),
        ("PROT_READ|0x+1", "0x+1"),
        ("PROT_READ|-0x1", "-0x1"),
        ("0x10000000000000000", "0x10000000000000000"),
        ("21<<MAP_HUGE_SHIFT", "21<<MAP_HUGE_SHIFT"),
    ] {
        assert_eq!(text.parse::<Prot>().unwrap_err().word(), word, "{text}");
    }
    for word in
        ["64<<MAP_HUGE_SHIFT", "<<MAP_HUGE_SHIFT", "+1<<MAP_HUGE_SHIFT", "0x5<<MAP_HUGE_SHIFT"]
    {
        assert_eq!(format!("MAP_SHARED|{word}").parse::<MapFlags>().unwrap_err().word(), word);
    }
    // An int has 32 bits.
    assert_eq!("0x100000000".parse::<MsyncFlags>().unwrap_err().word(), "0x100000000");
    assert_eq!("0x100000000".parse::<Advice>().unwrap_err().word(), "0x100000000");
    assert_eq!("MADV_FREE|MADV_COLD".parse::<Advice>().unwrap_err().word(), "MADV_FREE|MADV_COLD");
}

#[test]
fn a_long_word_is_named_by_its_first_whole_characters() {
    let long = format!("PROT_{}", "é".repeat(100));
    let error = long.parse::<Prot>().unwrap_err();
    assert_eq!(error.word(), format!("PROT_{}", "é".repeat(17)));
    assert_eq!(error.to_string(), format!("unknown word {:?} for Prot", error.word()));
    let error = "12".parse::<Advice>().unwrap_err();
    assert_eq!(error.to_string(), r#"unknown word "12" for Advice (a number is written as 0x…)"#);
    assert_eq!(format!("{error:?}"), format!("ParseFlagsError({error})"));
}

#[test]
fn words_that_contradict_each_other_are_no_flags() {
    for text in ["MAP_SHARED|MAP_PRIVATE", "MAP_SHARED|0x2", "MAP_HUGE_2MB|30<<MAP_HUGE_SHIFT"] {
        let error = text.parse::<MapFlags>().unwrap_err();
        assert_eq!(Some(error.word()), text.split('|').next_back());
        assert!(error.to_string().ends_with("for MapFlags contradicts one before it"), "{error}");
    }
}

#[test]
fn operators_of_independent_bits_are_those_of_integers() {
    let integers = integers(200);
    for (n, &a) in integers.iter().enumerate() {
        for &b in &integers[n % 7..].iter().step_by(7).collect::<Vec<_>>() {
            let (x, y) = (Prot::from_bits(a), Prot::from_bits(*b));
            assert_eq!((x | y).bits(), a | b);
            assert_eq!((x & y).bits(), a & b);
            assert_eq!((x ^ y).bits(), a ^ b);
            assert_eq!((x - y).bits(), a & !b);
            assert_eq!((!x).bits(), !a);
            assert_eq!((x.contains(y), x.intersects(y)), (a & b == *b, a & b != 0));
        }
    }
}

/// What the documentation of MapFlags says of a field's values.
fn field_model(a: usize, b: usize, all: usize) -> [usize; 3] {
    let union = |a, b| match (a, b) {
        (0, it) | (it, 0) => it,
        (a, b) if a == b => a,
        _ => all,
    };
    let minus = |a, b| if a == b || b == all { 0 } else { a };
    [union(a, b), minus(a, b), union(minus(a, b), minus(b, a))]
}

#[test]
fn operators_of_map_flags_take_each_field_whole_and_masks_as_bits() {
    let bits = !(FIELDS[0] | FIELDS[1]);
    let integers = integers(300);
    for (n, &a) in integers.iter().enumerate() {
        for &b in integers.iter().skip(n % 67).step_by(67) {
            let (x, y) = (MapFlags::from_bits(a), MapFlags::from_bits(b));
            let mut expected = [(a | b) & bits, a & !b & bits, (a ^ b) & bits];
            let (mut contains, mut intersects) = (a & b & bits == b & bits, a & b & bits != 0);
            for all in FIELDS {
                let (a, b) = (a & all, b & all);
                let parts = field_model(a, b, all);
                expected.iter_mut().zip(parts).for_each(|(whole, part)| *whole |= part);
                contains &= b == 0 || a == b;
                intersects |= a != 0 && (a == b || b == all);
            }
            assert_eq!([x | y, x - y, x ^ y].map(MapFlags::bits), expected, "{x} and {y}");
            assert_eq!((x.contains(y), x.intersects(y)), (contains, intersects), "{x} and {y}");
            assert_eq!([x & y, !x].map(MapFlags::bits), [a & b, !a]);
            // Unions are of sets: the order doesn't matter, and nothing is lost.
            assert_eq!((y | x, x | x), (x | y, x));
            assert_eq!((x | y) | !x, x | (y | !x));
        }
    }
}

#[test]
fn a_sharing_or_size_that_contradicts_another_is_one_that_no_kernel_has() {
    let both = MapFlags::SHARED | MapFlags::PRIVATE;
    assert_eq!(both.bits(), 0xf);
    assert_eq!(MapFlags::SHARED | MapFlags::SHARED_VALIDATE, both);
    assert!(!both.contains(MapFlags::SHARED) && !both.contains(MapFlags::SHARED_VALIDATE));
    assert_eq!(MapFlags::HUGE_2MB | MapFlags::HUGE_1GB, MapFlags::FILE.with_huge_log2(63));
    assert_eq!(MapFlags::huge(21) | MapFlags::huge(21), MapFlags::huge(21));
    assert_eq!(MapFlags::SHARED_VALIDATE - MapFlags::PRIVATE, MapFlags::SHARED_VALIDATE);
    assert_eq!((MapFlags::PRIVATE | MapFlags::FIXED) - MapFlags::TYPE, MapFlags::FIXED);
    assert!(MapFlags::DROPPABLE.intersects(MapFlags::TYPE));
    assert!(!MapFlags::SHARED_VALIDATE.intersects(MapFlags::SHARED));
}

#[test]
fn the_kernel_refuses_what_contradicts_itself() {
    let size = MapFlags::PRIVATE | MapFlags::huge(21) | MapFlags::huge(30);
    for flags in [MapFlags::SHARED | MapFlags::PRIVATE, size] {
        // SAFETY: nothing that exists is mapped over.
        let got = unsafe { rawmap::mmap_anonymous(core::ptr::null_mut(), 4096, Prot::READ, flags) };
        // Whether the system has a huge page to give is not told then, either.
        let not_passed_on = matches!(got, Ok(_) | Err(rawmap::Errno::ENOMEM));
        if flags == size && not_passed_on && emulator().is_some() {
            departure!("the size of huge pages is not passed on");
            continue;
        }
        assert_eq!(got, Err(rawmap::Errno::EINVAL), "{flags}");
    }
}

#[test]
fn fields_are_read_and_replaced() {
    for (n, bits) in integers(1000).into_iter().enumerate() {
        let flags = MapFlags::from_bits(bits);
        let log2 = n as u32 % 64;
        let sized = flags.with_huge_log2(log2);
        assert_eq!((sized.huge_log2(), sized.with_huge_log2(flags.huge_log2())), (log2, flags));
        let shared = flags.with_sharing(MapFlags::from_bits(n));
        assert_eq!(shared.sharing().bits(), n & 0xf);
        assert_eq!(shared.with_sharing(flags), flags);
    }
    assert_eq!([64, u32::MAX].map(MapFlags::huge), [MapFlags::huge(63); 2]);
}

#[test]
fn huge_pages_are_counted_in_bytes() {
    for log2 in 1..64 {
        assert_eq!(MapFlags::huge_pages(1 << log2), Some(MapFlags::huge(log2)));
        assert_eq!(MapFlags::huge_pages((1 << log2) + 1), None);
    }
    assert_eq!([0, 1, usize::MAX].map(MapFlags::huge_pages), [None; 3]);
}

#[test]
fn flags_are_set_and_taken_away_in_place() {
    let mut flags = Prot::READ;
    flags |= Prot::WRITE;
    flags ^= Prot::READ | Prot::EXEC;
    assert_eq!(flags, Prot::WRITE | Prot::EXEC);
    flags -= Prot::EXEC;
    flags &= !Prot::READ;
    assert_eq!(flags, Prot::WRITE);
    flags.set(Prot::EXEC, true);
    flags.set(Prot::WRITE, false);
    assert_eq!(flags, Prot::EXEC);
}

/// In const code by the same names as in others.
const RX: Prot = {
    let mut prot = Prot::READ.union(Prot::WRITE).difference(Prot::WRITE);
    prot.insert(Prot::EXEC);
    prot.toggle(Prot::SEM.union(Prot::WRITE));
    prot.remove(Prot::SEM);
    prot.toggle(Prot::WRITE);
    prot.set(Prot::GROWSUP, false);
    prot
};
const_assert_eq!(RX.bits(), 5);
const_assert_eq!(Prot::READ.symmetric_difference(RX).bits(), 4);
const_assert!(RX.intersects(Prot::EXEC.complement()) && !RX.is_empty());
const_assert!(MapFlags::huge_pages(2 << 20).is_some());

/// The constants of a source file whose documentation doesn't name what C calls them: what stands
/// behind `pub const`, or begins a row of a table of flags, without a `doc(alias)` above it or a C
/// name in the row. `MAP_32BIT` and the like are C names already.
fn without_a_c_name(source: &str) -> Vec<&str> {
    let upper = |name: &&str| name.bytes().all(|c| matches!(c, b'A'..=b'Z' | b'0'..=b'9' | b'_'));
    let mut alias = false;
    let mut without = Vec::new();
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[doc(alias") {
            alias = true;
        } else if !line.starts_with("///") && !line.starts_with("#[") {
            let constant = line.strip_prefix("pub const ").and_then(|rest| rest.split_once(':'));
            let constant = constant.map(|(name, _)| name).filter(upper);
            // EINVAL is what C calls it too.
            let constant = constant.filter(|it| !it.starts_with('E') && !it.starts_with("MAP_"));
            // The rows' names, where a row has no C name.
            let row = line.split_once(" = ").map(|(name, _)| name).filter(upper);
            without.extend(constant.filter(|_| !alias).or(row));
            alias = false;
        }
    }
    without
}

#[test]
fn every_constant_is_found_by_its_c_name() {
    let ours = ["NAMED", "FIXED", "ZERO", "FIXED_PAGE_SIZE", "MAX_ADDRESS_SPACE", "NO_FD"];
    for (file, source) in [
        ("src/errno.rs", include_str!("../src/errno.rs")),
        ("src/flags.rs", include_str!("../src/flags.rs")),
        ("src/page_size.rs", include_str!("../src/page_size.rs")),
        ("src/raw.rs", include_str!("../src/raw.rs")),
        ("src/word.rs", include_str!("../src/word.rs")),
        ("arch/aarch64.rs", include_str!("../arch/aarch64.rs")),
        ("arch/riscv64.rs", include_str!("../arch/riscv64.rs")),
        ("arch/x86_64.rs", include_str!("../arch/x86_64.rs")),
    ] {
        let mut without = without_a_c_name(source);
        without.retain(|name| !ours.contains(name));
        assert!(without.is_empty(), "{file}: no #[doc(alias = \"...\")] for {without:?}");
    }
}

#[test]
fn a_constant_without_a_c_name_is_seen() {
    let flags = include_str!("../src/flags.rs").replace(" \"MADV_FREE\"", "");
    assert_eq!(without_a_c_name(&flags), ["FREE"]);
    let flags = include_str!("../src/flags.rs").replace("#[doc(alias = \"MAP_TYPE\")]", "");
    assert_eq!(without_a_c_name(&flags), ["TYPE"]);
}
