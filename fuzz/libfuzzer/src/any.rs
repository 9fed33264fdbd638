#![no_main]

use demilune_fuzz::TARGETS;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Some((first, rest)) = data.split_first() {
        (TARGETS[usize::from(*first) % TARGETS.len()].run)(rest);
    }
});
