//! Decoding: every error, both edges, and a sweep over the whole word, against a plain model.

use rawmap::{Errno, PageSize, Word};

/// What a result word says, by the manual: -4095 to -1 is an error, all else a success.
fn model(bits: usize) -> Result<usize, i32> {
    match bits as isize {
        number @ -4095..=-1 => Err(-number as i32),
        _ => Ok(bits),
    }
}

fn decode(bits: usize) -> Result<usize, i32> {
    Errno::decode(Word::int(bits)).map(Word::bits).map_err(Errno::raw)
}

#[test]
fn each_of_the_4095_errors_decodes_to_itself() {
    for number in 1..=4095 {
        let errno = Errno::from_raw(number).unwrap();
        assert_eq!(errno.raw(), number);
        assert_eq!(errno.encode(), Word::signed(-number));
        assert_eq!(Errno::decode(Word::signed(-number)), Err(errno));
    }
}

#[test]
fn both_edges_are_successes() {
    assert_eq!(decode(0), Ok(0));
    assert_eq!(decode(-4096_isize as usize), Ok(-4096_isize as usize));
    assert_eq!(decode(-4095_isize as usize), Err(4095));
    assert_eq!(decode(usize::MAX), Err(1));
    assert_eq!(decode(isize::MIN as usize), Ok(isize::MIN as usize));
    // -1 in 32 bits is an address like any other.
    assert_eq!(decode(u32::MAX as usize), Ok(u32::MAX as usize));
}

#[test]
fn a_sweep_of_words_decodes_as_the_model_says() {
    for shift in 0..64 {
        for near in -4100..=4100_isize {
            let bits = (1_usize << shift).wrapping_add(near as usize);
            assert_eq!(decode(bits), model(bits), "{bits:#x}");
            assert_eq!(decode(!bits), model(!bits), "{:#x}", !bits);
        }
    }
}

#[test]
fn decoding_is_const() {
    const DENIED: Result<Word, Errno> = Errno::decode(Errno::EACCES.encode());
    assert_eq!(DENIED, Err(Errno::EACCES));
}

#[test]
fn from_raw_takes_1_to_4095_and_nothing_else() {
    for number in [0, -1, 4096, i32::MAX, i32::MIN, -4095] {
        assert_eq!(Errno::from_raw(number), None);
    }
    assert_eq!(Errno::from_raw(4095).unwrap().raw(), 4095);
}

#[test]
fn errors_print_name_and_message() {
    assert_eq!(Errno::ENOMEM.to_string(), "ENOMEM: cannot allocate memory");
    assert_eq!(format!("{:?}", Errno::ENOMEM), "ENOMEM");
    let unnamed = Errno::from_raw(200).unwrap();
    assert_eq!((unnamed.name(), format!("{unnamed:?}")), (None, "Errno(200)".into()));
    assert_eq!(unnamed.to_string(), "Errno(200): unknown error");
    for errno in Errno::NAMED {
        let message = errno.message();
        assert!(!message.is_empty() && !message.ends_with('.') && message != "unknown error");
    }
}

#[test]
fn page_sizes_are_powers_of_two_from_4096_on() {
    for bytes in [0, 1, 2048, 4095, 4097, 12288, usize::MAX] {
        assert_eq!(PageSize::new(bytes), None, "{bytes}");
    }
    for log2 in 12..64 {
        let page = PageSize::new(1 << log2).unwrap();
        assert_eq!((page.bytes(), page.log2()), (1 << log2, log2));
        assert_eq!((page.round_up(0), page.round_up(1)), (Some(0), Some(page.bytes())));
        assert_eq!(page.round_up(page.bytes()), Some(page.bytes()));
        assert_eq!(page.round_up(page.bytes() - 1), Some(page.bytes()));
        assert_eq!(page.round_up(usize::MAX), None);
        assert_eq!(page.round_up(page.round_down(usize::MAX)), Some(page.round_down(usize::MAX)));
        assert_eq!(page.round_down(page.bytes() + page.bytes() / 2), page.bytes());
        assert!(page.is_aligned(0) && page.is_aligned(page.bytes()) && !page.is_aligned(1));
    }
}

#[test]
fn the_page_size_found_is_the_kernels() {
    // SAFETY: a plain call.
    let theirs = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    assert_eq!(PageSize::find().unwrap().bytes(), theirs);
    // SAFETY: as above.
    let auxiliary = unsafe { libc::getauxval(libc::AT_PAGESZ) } as usize;
    assert_eq!(PageSize::new(auxiliary), PageSize::find().ok());
}
