//! Functions that cranelift compiles into this crate's memory: [`memory::Memory`] is the page to copy from.
//!
//! `cargo run --manifest-path examples/cranelift/Cargo.toml`

mod memory;

use cranelift_codegen::ir::{AbiParam, InstBuilder, MemFlags, types::I64};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{DataDescription, Linkage, Module, default_libcall_names};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let mut flags = settings::builder();
    flags.set("use_colocated_libcalls", "false")?;
    flags.set("is_pic", "false")?;
    let isa = cranelift_native::builder()?.finish(settings::Flags::new(flags))?;
    let mut builder = JITBuilder::with_isa(isa, default_libcall_names());
    builder.memory_provider(Box::new(memory::Memory::reserve(64 << 20)?));
    let mut module = JITModule::new(builder);

    // A counter that can be written, and a constant.
    let mut words = Vec::new();
    for (name, writable, value) in [("count", true, 40_i64), ("step", false, 2)] {
        let id = module.declare_data(name, Linkage::Local, writable, false)?;
        let mut data = DataDescription::new();
        data.define(value.to_ne_bytes().into());
        data.set_align(8);
        module.define_data(id, &data)?;
        words.push(id);
    }

    // Enough functions to fill several pieces; each adds the step and its own number to the counter, and calls
    // the one before it.
    let mut functions = Vec::new();
    let mut context = module.make_context();
    let mut shared = FunctionBuilderContext::new();
    for n in 0..2000 {
        context.func.signature.returns.push(AbiParam::new(I64));
        let signature = context.func.signature.clone();
        let id = module.declare_function(&format!("f{n}"), Linkage::Local, &signature)?;
        let mut body = FunctionBuilder::new(&mut context.func, &mut shared);
        let block = body.create_block();
        body.switch_to_block(block);
        body.seal_block(block);
        if let Some(before) = functions.last() {
            let before = module.declare_func_in_func(*before, body.func);
            body.ins().call(before, &[]);
        }
        let [count, step] = [0, 1].map(|word| {
            let word = module.declare_data_in_func(words[word], body.func);
            body.ins().symbol_value(I64, word)
        });
        let old = body.ins().load(I64, MemFlags::trusted(), count, 0);
        let step = body.ins().load(I64, MemFlags::trusted(), step, 0);
        let more = body.ins().iadd(old, step);
        let new = body.ins().iadd_imm(more, n);
        body.ins().store(MemFlags::trusted(), new, count, 0);
        body.ins().return_(&[new]);
        body.finalize();
        module.define_function(id, &mut context)?;
        module.clear_context(&mut context);
        functions.push(id);
        // What is finalized is run, and what comes later is compiled into other pieces.
        if n == 0 || n == 999 {
            module.finalize_definitions()?;
            let compiled = module.get_finalized_function(id);
            // SAFETY: a function without arguments that returns an i64, compiled for this machine.
            let compiled: extern "C" fn() -> i64 = unsafe { std::mem::transmute(compiled) };
            println!("f{n}() = {}", compiled());
        }
    }
    module.finalize_definitions()?;
    let last = module.get_finalized_function(functions[1999]);
    // SAFETY: as above.
    let last: extern "C" fn() -> i64 = unsafe { std::mem::transmute(last) };
    let sum = |n: i64| 2 * n + n * (n - 1) / 2;
    let expected = 40 + sum(1) + sum(1000) + sum(2000);
    let got = last();
    println!("f1999() = {got}");
    assert_eq!(got, expected);
    // SAFETY: none of the functions is called any more.
    unsafe { module.free_memory() };
    println!("cranelift: passed");
    Ok(())
}
