//! The raw functions seen from the kernel's side: what they pass, and how they read the result.
mod common;
#[path = "differential/laws.rs"]
mod laws;
#[path = "differential/source.rs"]
mod source;
#[path = "dispatch/mod.rs"]
mod trap;

#[test]
fn raw_functions_pass_the_words_of_their_call_and_read_any_result() {
    if let Err(error) = trap::arm() {
        return skip!("no syscall user dispatch here: {error}");
    }
    let mut source = source::Seeded(1);
    (0..200_000).for_each(|_| trap::hold(&mut source));
}
